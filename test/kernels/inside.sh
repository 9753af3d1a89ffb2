#!/bin/bash
# Process 1 of the machine, once it has the host's root: `inside.sh NODE FOLDER`. Runs the test files that FOLDER/files
# names, says on the console how it goes, writes vitest's report to the second serial port and switches off.
export HOME=/root LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TMPDIR=/run/tmp
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -m 1777 /run/tmp
mkdir /run/netns /dev/pts /dev/shm
mount -t devpts -o ptmxmode=0666 devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up
# Makes /dev/net/tun, which elsewhere is there before it.
modprobe tun
# Each byte of a machine that is computed costs many of this one's instructions.
export KNOCKIFY_SLOWNESS=12
export KNOCKIFY_WORKER=$2/compiled/test/engine/worker.js

uname -r >/run/report
uname -v >>/run/report
mapfile -t files <"$2/files"
"$1" node_modules/vitest/vitest.mjs run --project suite --project inside --no-file-parallelism --no-cache \
  --reporter=verbose --reporter=json --outputFile.json=/run/vitest.json "${files[@]}" 2>&1 | cat
cat /run/vitest.json >>/run/report
stty -F /dev/ttyS1 raw
cat /run/report >/dev/ttyS1
echo o >/proc/sysrq-trigger
sleep 60
