#!/usr/bin/env bash
# Boots systemd on a copy of this machine's file system: `machine.sh FOLDER NAMESPACE`, in a mount namespace of its own.
# Everything that it changes is in memory, under FOLDER/memory/changes as this process sees it, and gone when it ends.
set -euo pipefail
folder=$1 namespace=$2

mount --make-rprivate /
mkdir -p "$folder/memory" "$folder/cgroup"
mount -t tmpfs -o mode=755 machine "$folder/memory"
mount -t cgroup2 cgroup2 "$folder/cgroup"
# The path may be gone before this process is.
cd "$folder/cgroup"
mkdir "$namespace"

boot() {
  cd "$1/memory"
  mkdir changes work root
  mount -t overlay overlay -o lowerdir=/,upperdir=changes,workdir=work root
  cd root
  # Images for containers forbid services with it; a machine that is administered has none.
  rm -f usr/sbin/policy-rc.d
  mount -t proc proc proc
  mount -t sysfs sysfs sys
  mount -t cgroup2 cgroup2 sys/fs/cgroup
  mount -t bpf bpf sys/fs/bpf
  mount -t tmpfs -o mode=755 tmpfs run
  mount -t tmpfs tmpfs tmp
  mount -t tmpfs -o mode=755 tmpfs dev
  local device
  for device in null zero full random urandom tty; do
    touch "dev/$device"
    mount --bind "/dev/$device" "dev/$device"
  done
  mkdir dev/pts dev/shm
  mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
  ln -s pts/ptmx dev/ptmx
  ln -s /proc/self/fd dev/fd
  # What is said before the journal runs.
  touch dev/console
  mkdir run/outside
  pivot_root . run/outside
  umount -l /run/outside
  rmdir /run/outside
  # As systemd does itself where it is not in a container; credentials need it.
  mount --make-rshared /
  exec env -i container=knockify PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=basic.target
}
export -f boot

# Whoever read what this says may be dead, and this still has to clear away.
trap '' PIPE
# unshare --cgroup comes after the process is where it belongs: that is then the root of its hierarchy.
(
  trap - PIPE
  echo "$BASHPID" >"$namespace/cgroup.procs"
  exec ip netns exec "$namespace" unshare --mount --pid --fork --kill-child --uts --ipc --cgroup \
    bash -euo pipefail -c 'boot "$1"' boot "$folder"
) || true
echo 1 >"$namespace/cgroup.kill"
while grep -q 'populated 1' "$namespace/cgroup.events"; do sleep 0.05; done
find "$namespace" -depth -type d -exec rmdir {} \;
