#!/usr/bin/env bash
# Fetches and unpacks Debian's newest stock kernel of each series, makes ready to boot, installs nothing:
# `fetch.sh FOLDER SERIES...`, as in `fetch.sh ~/.cache/kernels 6.1 6.12`. Does nothing where that is there already.
# Leaves in FOLDER/SERIES: boot/, lib/modules/, `package` (name and version), `release` and the initramfs that init.sh describes.
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
folder=$1
shift
mkdir -p "$folder"
cd "$folder"

# The newest by Debian's reckoning of those whose name fits.
newest() {
  apt-cache search --names-only "$1" | awk '{ print $1 }' | sort --version-sort | tail -n 1
}

# Unpacks a package into a folder, whole or not at all.
unpack() {
  local package=$1 into=$2 version
  version=$(apt-cache policy "$package" | awk '$1 == "Candidate:" { print $2 }')
  [[ -n $version ]] || { echo "fetch: apt knows no package $package; try apt-get update" >&2; exit 1; }
  [[ "$package $version" != "$(cat "$into/package" 2>/dev/null)" ]] || return 0
  echo "fetch: $package $version"
  rm -rf "$into" "$into.new"
  mkdir "$into.new"
  # Where apt's own user may not write, apt says so and carries on.
  (cd "$into.new" && apt-get download -qq "$package" 2>&1 | grep -v unsandboxed || true)
  dpkg -x "$into.new"/*.deb "$into.new"
  rm "$into.new"/*.deb
  echo "$package $version" >"$into.new/package"
  mv "$into.new" "$into"
}

# What the kernel runs first, with the modules without which it does not see the shared file system, in loading order.
make_initramfs() {
  local release file image=$1/image
  release=$(ls "$1/lib/modules")
  echo "$release" >"$1/release"
  depmod -b "$1" "$release"
  rm -rf "$image"
  mkdir -p "$image"/{bin,modules,dev,proc,sys}
  cp "$BUSYBOX" "$image/bin/busybox"
  install -m 755 "$here/init.sh" "$image/init"
  while read -r file; do
    case $file in
      *.xz) xz -dc "$file" >"$image/modules/$(basename "$file" .xz)" ;;
      *) cp "$file" "$image/modules/" ;;
    esac
    basename "$file" .xz >>"$image/modules/order"
  done < <(modprobe -d "$(realpath "$1")" -S "$release" --show-depends -a virtio_pci virtiofs overlay |
    awk '$1 == "insmod" && !seen[$2]++ { print $2 }')
  (cd "$image" && find . | "$BUSYBOX" cpio -o -H newc 2>/dev/null) | gzip -1 >"$1/initramfs"
  rm -r "$image"
}

BUSYBOX=$PWD/busybox/bin/busybox
unpack busybox-static busybox
for series in "$@"; do
  # 6.1 kernels are called linux-image-6.1.0-NN, later ones linux-image-6.12.NN+deb.
  package=$(newest "^linux-image-${series//./\\.}\\.[^-]*(-[0-9]+)?-cloud-amd64\$")
  [[ -n $package ]] || { echo "fetch: apt offers no cloud kernel $series; Debian 12 has 6.1 and 6.12" >&2; exit 1; }
  unpack "$package" "$series"
  [[ $series/initramfs -nt $series/package && $series/initramfs -nt $here/init.sh ]] || make_initramfs "$series"
done
