#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Guests under KVM that boot from a folder, over vhost-user-blk, mapped as memory, and from a block device
# of the kernel: with QEMU, and with a real Firecracker where one is in PATH. `drives.sh prepare DIR` makes
# the folder, and unpacks the kernel, outside, where that is not emulated.
# check() calls functions by name.
# shellcheck disable=SC2317
# shellcheck source=tests/cli/lib.sh
. "$SOURCE_ROOT/tests/cli/lib.sh"
if [ "${1:-}" = prepare ]; then
  cd "$2" || exit 1
  "$SOURCE_ROOT/scripts/guest-kernel" > kernel || exit 1
  sh "$SOURCE_ROOT/tests/guest/make-root" root "$BUILD_ROOT/init/ramet-init" || exit 1
  head -c 3000001 /dev/urandom > root/data/content
  "$RAMET" build root image > /dev/null && "$RAMET" fork image kernel --size 64M > /dev/null &&
    "$RAMET" config kernel --kernel "$(sed -n s/^KERNEL=//p kernel)" > /dev/null || exit 1
  mv "$RAMET_ROOT"/kernels/* vmlinux
  exit 0
fi
[ -e /dev/kvm ] || { echo "1..0 # SKIP there is no /dev/kvm"; exit 0; }
MODULES=$(sed -n s/^MODULES=//p "$PREPARED/kernel")
sum=$(md5sum < "$PREPARED/root/data/content" | cut -d ' ' -f 1)
"$RAMET" fork "$PREPARED/root" vm --size 64M > /dev/null
"$RAMET" build --lazy --format erofs "$PREPARED/root" "$scratch/lazy" > /dev/null
"$RAMET" fork "$scratch/lazy" erofs --size 64M > /dev/null
# boots FORK OPTION...: the guest reads what is in the folder, and its status comes back.
boots() {
  got=0
  timeout 100 "$RAMET" run --accel kvm --kernel "$PREPARED/vmlinux" --modules "$MODULES" --memory 128 \
    "$@" -- sh -c 'busybox md5sum /data/content; exit 7' > "$scratch/out" 2> "$scratch/err" < /dev/null || got=$?
  [ "$got" = 7 ] && grep -q "^$sum " "$scratch/out" && return
  echo "status $got"
  tail -n 5 "$scratch/out" "$scratch/err"
  return 1
}
check 'QEMU with KVM boots a folder over vhost-user-blk' boots vm --vmm qemu
check 'QEMU with KVM boots a folder that is mapped as memory' boots erofs --vmm qemu --via pmem
# By hand: attached, and a Firecracker that ramet knows nothing of, or QEMU by lib/vmm alone.
from_nbd() {
  modprobe nbd && "$RAMET" attach vm --via nbd-device > "$scratch/address" || return
  grep -q '^base  */dev/nbd' "$scratch/address" || return
  mkdir -p "$scratch/vm"
  set -- sh -c 'busybox md5sum /data/content'
  if command -v firecracker > /dev/null; then
    "$RAMET" config vm --kernel "$PREPARED/vmlinux" --modules "$MODULES" --memory 128 -- "$@" > "$scratch/vm.json" &&
      timeout 100 firecracker --no-api --config-file "$scratch/vm.json" --level Error > "$scratch/out" < /dev/null
  else
    RAMET_ACCEL=kvm "$BUILD_ROOT/tests/tools/boot" qemu "$scratch/vm" "$PREPARED/vmlinux" "$MODULES" \
      "file,base,ro,$(awk '{ print $2 }' "$scratch/address")" -- "$@" > "$scratch/out"
  fi
  "$RAMET" detach vm || return
  grep -q "^$sum " "$scratch/out" && return
  cat "$scratch/address"
  tail -n 5 "$scratch/out"
  return 1
}
check 'a guest boots a folder from a block device over NBD, by hand' from_nbd
if command -v firecracker > /dev/null; then
  check 'Firecracker boots a folder over vhost-user-blk' boots vm --vmm firecracker
  check 'and says what it does' grep -q '^ramet run: vm on firecracker with KVM; .*via vhost-user-blk' "$scratch/err"
  check 'Firecracker boots a folder that is mapped as memory' boots erofs --vmm firecracker --via pmem
else
  skip 'Firecracker boots a folder over vhost-user-blk' 'firecracker is missing'
  skip 'Firecracker boots a folder that is mapped as memory' 'firecracker is missing'
fi
finish
