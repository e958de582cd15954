#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The export ublk: a block device of a real kernel, mounted, written to, and its server killed.
# `prepare DIR` makes the images outside, where that is not emulated.
# check() calls functions by name.
# shellcheck disable=SC2317
# shellcheck source=tests/cli/lib.sh
. "$SOURCE_ROOT/tests/cli/lib.sh"
SERVE=$BUILD_ROOT/tests/tools/serve
if [ "${1:-}" = prepare ]; then
  cd "$2" || exit 1
  "$SOURCE_ROOT/tests/torture-tree" tree 20 || exit 1
  rm -r tree/sparse/all-hole tree/sparse/end tree/deep
  "$RAMET" build tree base > log 2>&1 || exit 1
  truncate -s %512 base
  "$TREE_DUMP" squashfs base > expected || exit 1
  head -c 8M /dev/urandom > disk
  mkdir folder && cp disk folder/ || exit 1
  truncate -s 24M volume && mke2fs -q -F volume || exit 1
  exit 0
fi
[ "$(id -u)" = 0 ] || { echo "1..0 # SKIP ublk devices need root"; exit 0; }
modprobe -n ublk_drv 2> /dev/null || { echo "1..0 # SKIP there is no module ublk_drv"; exit 0; }
at_exit() { umount "$scratch/mnt" 2> /dev/null; }
cd "$scratch" || exit 1
mkdir mnt
cp "$PREPARED/disk" "$PREPARED/volume" .

rmmod ublk_drv 2> /dev/null
refused "a kernel without ublk is told" 1 \
  "no ublk devices \(/dev/ublk-control\): it needs CONFIG_BLK_DEV_UBLK, and its module, ublk_drv, loaded" \
  "$SERVE" ublk - disk
modprobe ublk_drv

# serve OPTION... FILE: sets $device and $server.
serve() {
  env ${preload:+"LD_PRELOAD=$preload"} "$SERVE" "$@" > ready 2> log &
  server=$!
  for _ in $(seq 200); do grep -q ^ready ready && break; sleep 0.05; done
  device=$(sed -n 's/^ready //p' ready)
  [ -b "$device" ] || { cat log; return 1; }
}
end() { kill "$server" && wait "$server"; }
gone() {
  for _ in $(seq 50); do
    [ ! -e "$device" ] && [ ! -e "$(echo "$device" | sed s/ublkb/ublkc/)" ] && return
    sleep 0.1
  done
  ls -l /dev/ublk*
  return 1
}
pss() { awk '/^Pss:/ {print $2}' "/proc/$server/smaps_rollup"; }

serve -r ublk - "$PREPARED/base"
mounted_same() {
  mount -t squashfs -o ro "$device" mnt && "$TREE_DUMP" dir mnt > found
  umount mnt
  diff "$PREPARED/expected" found
}
check "a squashfs mounted from $device is what was built" mounted_same
check "a device of what is read-only is read-only" grep -qx 1 "/sys/block/${device#/dev/}/ro"
idle() { sleep 2.5; echo "$(pss) KiB"; [ "$(pss)" -le 2048 ]; }
check "its idle server takes less than 2 MiB" idle
check "it ends when it is told to" end
check "and its device is gone" gone

serve ublk - disk
check "the device reads as the file" cmp "$device" "$PREPARED/disk"
written() {
  head -c 3M /dev/urandom > new
  dd if=new of="$device" bs=1M seek=2 conv=notrunc,fsync status=none &&
    dd if=disk bs=1M skip=2 count=3 status=none | cmp new - &&
    echo 3 > /proc/sys/vm/drop_caches &&
    dd if="$device" bs=1M skip=2 count=3 iflag=direct status=none | cmp new - &&
    dd if=new of="$device" bs=4k count=1 seek=1 oflag=direct,dsync conv=notrunc status=none &&
    cmp -n 4096 -i 0:4096 new disk
}
check "what is written and flushed is in the file, and read again" written
scattered() {
  python3 - "$device" << 'END'
import mmap, os, random, sys
seed = random.randrange(1 << 32)
print("seed", seed)
random.seed(seed)
fd = os.open(sys.argv[1], os.O_RDWR | os.O_DIRECT)
truth = bytearray(open("disk", "rb").read())
for step in range(300):
    size = 512 * random.choice((1, 7, 8, 129, 700))
    at = 512 * random.randrange((len(truth) - size) // 512)
    memory = mmap.mmap(-1, size)
    if random.random() < 0.5:
        data = random.randbytes(size)
        memory.write(data)
        os.pwritev(fd, [memory], at)
        truth[at:at + size] = data
    else:
        os.preadv(fd, [memory], at)
        if memory[:] != truth[at:at + size]:
            sys.exit("other bytes at %d" % at)
os.fsync(fd)
if open("disk", "rb").read() != truth:
    sys.exit("the file has other bytes")
END
}
check "random reads and writes past the page cache" scattered
freed() {
  before=$(stat -c %b disk)
  blkdiscard -o 1048576 -l 2097152 "$device" && blkdiscard -z -o 4194304 -l 1048576 "$device" || return 1
  cmp -n 2097152 -i 1048576:0 disk /dev/zero && cmp -n 1048576 -i 4194304:0 "$device" /dev/zero || return 1
  echo "$before blocks, then $(stat -c %b disk)"
  [ "$(stat -c %b disk)" -le $((before - 6144 + 64)) ]
}
check "space that is given back is free, and reads as zeros" freed
check "the server ends while the device is not in use" end
check "and leaves none" gone

serve ublk - volume
dirty() {
  mount -t ext4 "$device" mnt && cp "$PREPARED/disk" mnt/disk && umount mnt || return 1
  dd if=/dev/urandom of="$device" bs=4k seek=6000 count=100 conv=notrunc status=none
  end && gone && e2fsck -fn volume > fsck.log 2>&1 && debugfs -R "dump disk found" volume 2>> fsck.log &&
    cmp found "$PREPARED/disk" && ! cmp -s -n 409600 -i 24576000:0 volume /dev/zero
}
check "a filesystem is written to; stopping waits for what the kernel has not written yet" dirty

serve ublk - volume
killed() {
  mount -t ext4 "$device" mnt || return 1
  kill -KILL "$server"
  wait "$server" 2> said
  echo 3 > /proc/sys/vm/drop_caches
  ! timeout 10 cat mnt/disk > /dev/null 2> said
  status=$?
  umount mnt
  [ $status = 0 ] && grep -q "Input/output error" said
}
check "a killed server ends in I/O errors, not in waiting" killed
dead=$device
again() {
  serve -r ublk - volume || return 1
  [ "$dead" = "$device" ] || [ ! -e "$dead" ] || return 1
  mount -t ext4 -o ro,noload "$device" mnt && cmp mnt/disk "$PREPARED/disk" && umount mnt && end && gone
}
check "the next one takes its device away, and serves again" again

# The kernel reads while the device is made, and what it reads is in no cache: threads do that.
lazily() {
  "$RAMET" fork "$PREPARED/folder" lazy > log || return 1
  echo 3 > /proc/sys/vm/drop_caches
  "$RAMET" attach lazy --via ublk --json > attached || return 1
  server=$(sed -n 's/.*"pid": \([0-9]*\).*/\1/p' attached)
  device=$(grep -o '/dev/ublkb[0-9]*' attached | head -n 1)
  mount -t squashfs -o ro "$device" mnt && cmp mnt/disk "$PREPARED/disk" && umount mnt
}
# Its own threads, that is; those of the kernel's io_uring are listed beside them.
shut_in() {
  for task in "/proc/$server"/task/*; do
    grep -q ^iou- "$task/comm" || grep ^Seccomp: "$task/status"
  done > threads
  cat threads
  [ "$(wc -l < threads)" -gt 1 ] && ! grep -v '2$' threads
}
check "ramet attach --via ublk serves a folder" lazily
check "no thread of the server is outside of its sandbox" shut_in
"$RAMET" detach lazy

# As on Linux 6.0 to 6.3.
older() {
  serve ublk - disk && cmp "$device" disk &&
    dd if=new of="$device" bs=1M seek=4 conv=notrunc,fsync status=none &&
    dd if=disk bs=1M skip=4 count=3 status=none | cmp new - && end && gone
}
preload=$BUILD_ROOT/tests/tools/old-ublk.so
if timeout 5 env LD_PRELOAD="$preload" "$SERVE" ublk - disk 2>&1 | grep -q "not supported"; then
  skip "commands by their older numbers" "this kernel has them no more"
else
  check "commands by their older numbers" older
fi
preload=

attached() {
  "$RAMET" attach vm --via ublk --all --json > attached || return 1
  server=$(sed -n 's/.*"pid": \([0-9]*\).*/\1/p' attached)
  device=$(grep -o '/dev/ublkb[0-9]*' attached | head -n 1)
  mounted_same
}
"$RAMET" fork "$PREPARED/base" vm > log
check "ramet attach --via ublk serves a fork's base" attached
detached() { "$RAMET" detach vm && gone; }
check "detaching it takes its devices away" detached
attached_killed() {
  attached && kill -KILL "$server" && sleep 0.5 && "$RAMET" detach vm && gone && ! ls /dev/ublkc* 2> said
}
check "and so it does when its server was killed" attached_killed
finish
