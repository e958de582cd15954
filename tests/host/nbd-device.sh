#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The export nbd-device: /dev/nbdN of a real kernel, mounted, written, killed, taken over, detached.
# `prepare DIR` makes the images outside, where that is not emulated.
# check() calls functions by name; pid_NAME is set by serve().
# shellcheck disable=SC2317,SC2154
# shellcheck source=tests/cli/lib.sh
. "$SOURCE_ROOT/tests/cli/lib.sh"
SERVE=$BUILD_ROOT/tests/tools/serve
if [ "${1:-}" = prepare ]; then
  cd "$2" || exit 1
  "$SOURCE_ROOT/tests/torture-tree" tree 20 || exit 1
  rm -r tree/sparse/all-hole tree/sparse/end tree/deep
  "$RAMET" build tree base > log 2>&1 || exit 1
  "$TREE_DUMP" squashfs base > expected || exit 1
  head -c 8M /dev/urandom > disk
  head -c 8M /dev/urandom > other
  exit 0
fi
[ "$(id -u)" = 0 ] || { echo "1..0 # SKIP network block devices need root"; exit 0; }
modprobe -n nbd 2> /dev/null || { echo "1..0 # SKIP there is no nbd module"; exit 0; }
at_exit() { umount "$scratch/mnt" 2> /dev/null; }
mkdir "$scratch/mnt"
cd "$scratch" || exit 1
cp "$PREPARED/disk" "$PREPARED/other" .
now() { date +%s; }

# serve NAME OPTION... FILE: sets $device and pid_NAME.
serve() {
  name=$1
  shift
  rm -f "ready.$name"
  "$SERVE" "$@" > "ready.$name" 2> "log.$name" &
  eval "pid_$name=$!"
  for _ in $(seq 100); do grep -q ^ready "ready.$name" && break; sleep 0.05; done
  device=$(sed -n 's/^ready //p' "ready.$name")
  [ -b "$device" ] || { cat "log.$name"; return 1; }
}
end() {
  eval "kill \$pid_$1; wait \$pid_$1"
}
sectors() { cat "/sys/block/${device#/dev/}/size"; }

serve base -r nbd-device base-of-test "$PREPARED/base"
base=$device
echo "# $base"
mounted_same() {
  mount -t squashfs -o ro "$base" mnt && "$TREE_DUMP" dir mnt > found && diff "$PREPARED/expected" found
}
check "a squashfs mounted from $base is what was built" mounted_same
check "a device of what is read-only is read-only" grep -qx 1 "/sys/block/${base#/dev/}/ro"
refused_twice() {
  ! "$SERVE" -r nbd-device base-of-test "$PREPARED/base" 2> twice && grep -q "served by process $pid_base" twice
}
check "the same attachment is not made twice" refused_twice

serve disk nbd-device disk-of-test disk
disk=$device
check "a second one gets a device of its own" test "$disk" != "$base"
check "the device reads as the file" cmp "$disk" "$PREPARED/disk"
writes() {
  dd if="$PREPARED/other" of="$disk" bs=64k count=16 seek=8 oflag=direct conv=fsync 2> /dev/null &&
    blkdiscard -o 4194304 -l 1048576 "$disk" && blkdiscard -z -o 6291456 -l 65536 "$disk" &&
    dd if="$PREPARED/other" bs=64k count=16 2> /dev/null | cmp - "$disk" -n 1048576 -i 0:524288 &&
    cmp "$disk" disk && cmp -n 1048576 -i 4194304:0 "$disk" /dev/zero && cmp -n 65536 -i 6291456:0 "$disk" /dev/zero
}
check "what is written, flushed, discarded and zeroed is so in the file" writes

# A killed server: errors, and no hang; then another that takes over.
kill -9 "$pid_base"
wait "$pid_base" 2> /dev/null
start=$(now)
fails_soon() {
  ! timeout 60 dd if="$base" of=/dev/null bs=4k count=1 skip=20 iflag=direct 2> dd.err &&
    grep -qi 'input/output error' dd.err && [ $(($(now) - start)) -lt 40 ]
}
check "reads of a killed server's device end in I/O errors, soon" fails_soon
serve again -r nbd-device base-of-test "$PREPARED/base"
check "a server started again takes the same device over" test "$device" = "$base"
reads_again() {
  echo 3 > /proc/sys/vm/drop_caches
  "$TREE_DUMP" dir mnt > found && diff "$PREPARED/expected" found
}
check "what was mounted from it works again" reads_again
umount mnt
kill -9 "$pid_again"
wait "$pid_again" 2> /dev/null
exec 7< "$base"
serve short -r nbd-device base-of-test "$PREPARED/base"
dd bs=4k count=1 <&7 > /dev/null 2>&1
end short
exec 7<&-
device=$base
detached() { [ "$(sectors)" = 0 ] && [ ! -e "/sys/block/${base#/dev/}/pid" ]; }
check "detach leaves no device" detached

# The next disk on the same device, while its pages were cached for the one before.
end disk
serve next -r nbd-device next "$PREPARED/other"
no_stale() { cmp "$device" "$PREPARED/other"; }
check "a device that is used again has none of the last disk's bytes ($device)" no_stale
end next
# The same by ramet itself, from its sandbox.
"$RAMET" fork "$PREPARED/base" vm > fork.log 2>&1 || cat fork.log
attach() { "$RAMET" attach vm --all --via nbd-device > attached && base=$(sed -n 's/^base *\([^ ]*\).*/\1/p' attached) && [ -b "$base" ]; }
check "ramet attach makes devices" attach
attached_same() { mounted_same && umount mnt; }
check "which are the fork's drives" attached_same
check "ramet detach takes them away" "$RAMET" detach vm
left() { ! grep -qs . /sys/block/nbd*/pid; }
check "all of them" left
attach
kill -9 "$(cat "/sys/block/${base#/dev/}/pid")"
check "detaching what a killed server left works too" "$RAMET" detach vm
left() { ! grep -qs . /sys/block/nbd*/pid; }
check "in the end no device is connected" left
dmesg | grep -iE 'BUG:|hung task|WARNING:' | head -5 | sed 's/^/# /'
finish
