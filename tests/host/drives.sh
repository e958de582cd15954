#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Guests under KVM whose drives a server of ours has: by vhost-user-blk, and mapped as memory from a
# file on FUSE. With QEMU, and with a real Firecracker where one is in PATH. `drives.sh prepare DIR`
# makes what they boot outside, where that is not emulated.
# check() calls functions by name.
# shellcheck disable=SC2317
# shellcheck source=tests/cli/lib.sh
. "$SOURCE_ROOT/tests/cli/lib.sh"
tools=$BUILD_ROOT/tests/tools
if [ "${1:-}" = prepare ]; then
  cd "$2" || exit 1
  "$SOURCE_ROOT/scripts/guest-kernel" > kernel || exit 1
  sh "$SOURCE_ROOT/tests/guest/make-root" root "$BUILD_ROOT/init/ramet-init" || exit 1
  head -c 3000001 /dev/urandom > root/data/content
  for format in squashfs erofs; do
    "$RAMET" build --format "$format" root "$format" > /dev/null && truncate -s %2M "$format" || exit 1
  done
  "$RAMET" fork squashfs vm --size 64M > /dev/null
  mv "$RAMET_ROOT/forks/vm/volume" volume
  # Firecracker wants the kernel unpacked.
  "$RAMET" fork squashfs kernel --size 64M > /dev/null
  "$RAMET" config kernel --kernel "$(sed -n s/^KERNEL=//p kernel)" > /dev/null || exit 1
  mv "$RAMET_ROOT"/kernels/* vmlinux
  exit 0
fi
[ -e /dev/kvm ] || { echo "1..0 # SKIP there is no /dev/kvm"; exit 0; }
MODULES=$(sed -n s/^MODULES=//p "$PREPARED/kernel")
want=$(md5sum < "$PREPARED/root/data/content" | cut -d ' ' -f 1)
mkdir "$scratch/vm" "$scratch/fuse"
cp "$PREPARED/volume" "$scratch/volume"
at_exit() {
  for pid in $servers; do kill "$pid" 2> /dev/null; done
  wait
}
servers=
serve() {
  : > "$scratch/ready"
  "$tools/serve" "$@" > "$scratch/ready" &
  servers="$servers $!"
  until grep -q '^ready' "$scratch/ready"; do sleep 0.1; done
}
# boots VMM DRIVE...: the guest reads what is in the image, and is ended as it should be.
boots() {
  vmm=$1
  shift
  got=0
  RAMET_ACCEL=kvm "$tools/boot" "$vmm" "$scratch/vm" "$PREPARED/vmlinux" "$MODULES" "$@" \
    "file,volume,rw,$scratch/volume" -- sh -c 'busybox md5sum /data/content; exit 7' > "$scratch/guest" || got=$?
  [ "$got" = 7 ] && grep -q "^$want " "$scratch/guest" && return
  echo "status $got"
  tail -n 5 "$scratch/guest" "$scratch"/vm/*.log
  return 1
}
serve -r vhost-user-blk "$scratch/vhost.sock" "$PREPARED/squashfs"
serve -r fuse "$scratch/fuse" "$PREPARED/erofs"
vhost="vhost-user,base,ro,$scratch/vhost.sock" pmem="pmem,base,ro,$scratch/fuse/disk.raw"
check 'QEMU with KVM boots a base over vhost-user-blk' boots qemu "$vhost"
check 'QEMU with KVM boots a base that is mapped from FUSE' boots qemu "$pmem"
if command -v firecracker > /dev/null; then
  check 'Firecracker boots a base over vhost-user-blk' boots firecracker "$vhost"
  check 'Firecracker boots a base that is mapped from FUSE' boots firecracker "$pmem"
else
  skip 'Firecracker boots a base over vhost-user-blk' 'firecracker is missing'
  skip 'Firecracker boots a base that is mapped from FUSE' 'firecracker is missing'
fi
finish
