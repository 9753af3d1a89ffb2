#!/bin/busybox sh
# Process 1 of the initramfs: `init MODULES COMMAND...`. The host's root comes over virtiofs, to be read only; what is
# written goes to memory. MODULES is the kernel's own folder of modules on that root.
set -e
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
while read -r module; do insmod "/modules/$module"; done </modules/order

mkdir /below /memory /whole
mount -t virtiofs -o ro root /below
mount -t tmpfs -o mode=755,size=80% memory /memory
mkdir /memory/upper /memory/work
mount -t overlay -o lowerdir=/below,upperdir=/memory/upper,workdir=/memory/work root /whole
mkdir -p /whole/usr/lib/modules
mount --bind "/below$1" /whole/usr/lib/modules
shift
for name in proc sys dev; do mount --move "/$name" "/whole/$name"; done
exec switch_root /whole "$@"
