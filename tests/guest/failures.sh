#!/bin/sh
# Whatever is wrong, the guest says one sentence and ends; nothing hangs and nothing panics.
. "$(dirname "$0")/lib.sh"
need mksquashfs
image squashfs "$scratch/base"
initramfs "$initrd"
base=$scratch/base,readonly=on
volume=$scratch/volume

# fails NAME SENTENCE ARGUMENTS DRIVE...
fails() {
  fails_name=$1 fails_sentence=$2
  shift 2
  boot out "$@"
  check "$fails_name" failed_with out "$fails_sentence"
}

fails "a volume that is not attached" \
  "there is no device /dev/vdx: its drive is not attached, or the kernel lacks the drivers (virtio_blk and virtio_mmio; ramet run --modules brings them)" \
  "overlay_root=vdx ramet.exec=true" "$base"

truncate -s 16M "$volume"
fails "a volume without a filesystem" "the volume /dev/vdb holds no ext4 filesystem; make it with" \
  "overlay_root=vdb ramet.exec=true" "$base" "$volume"

volume "$volume"
dd if=/dev/urandom of="$volume" bs=1k seek=2 count=64 conv=notrunc 2> /dev/null
fails "a volume with damaged group descriptors" \
  "the volume /dev/vdb could not be mounted: it is damaged" \
  "overlay_root=vdb ramet.exec=true" "$base" "$volume"

# The root directory's inode is gone: the superblock and the groups are fine.
volume "$volume"
debugfs -w -R 'clri <2>' "$volume" > /dev/null 2>&1
fails "a volume without a root directory" "the volume /dev/vdb could not be mounted: " \
  "overlay_root=vdb ramet.exec=true" "$base" "$volume"

# Every inode is taken: the smallest volume that mke2fs makes has sixteen.
rm -f "$volume"
truncate -s 4M "$volume"
mkfs.ext4 -q -F -N 16 "$volume"
echo x > "$scratch/filling"
for number in $(seq 100); do echo "write $scratch/filling $number"; done |
  debugfs -w "$volume" > /dev/null 2>&1
fails "a volume that is full before anything was written" \
  "the volume's folders could not be made: No space left on device" \
  "overlay_root=vdb ramet.exec=true" "$base" "$volume"

volume "$volume" 4M
boot out "overlay_root=vdb ramet.exec=scene,fill,3" "$base" "$volume"
check "a command that fills its volume is told so" facts out "fill full"
check "and its status comes back" said out "ramet-exit:N:3"
check "and the full volume is clean" is_clean "$volume"
boot out "overlay_root=vdb ramet.exec=sh,-c,rm%20/big%20%26%26%20scene%20write%20look" "$base" "$volume"
check "and boots again, so that it can be emptied" facts out "motd changed"

volume "$volume"
fails "a volume on a read-only drive" \
  "the volume /dev/vdb could not be mounted: its drive is read-only" \
  "overlay_root=vdb ramet.exec=true" "$base" "$volume,readonly=on"

fails "an argument that is not known" \
  "the kernel argument ramet.colour is not known to this init" \
  "ramet.colour=red ramet.exec=true" "$base"
truncate -s 1M "$scratch/blank"
fails "a base that is no image" "the base /dev/vdb holds no squashfs, ext4 or EROFS image" \
  "ramet.layers=vdb ramet.exec=true" "$base" "$scratch/blank"
head -c 4096 "$scratch/base" > "$scratch/truncated"
fails "a base that was cut short" "the base /dev/vda (squashfs) could not be mounted: it is damaged" \
  "ramet.exec=true" "$scratch/truncated,readonly=on"
fails "clone mode on a squashfs" \
  "ramet.mode=clone needs an ext4 filesystem on /dev/vda, and there is squashfs" \
  "ramet.mode=clone ramet.exec=true" "$base"
fails "a folder to start in that can be none" \
  "the command cannot start in /etc/motd/x: Not a directory" \
  "ramet.cwd=/etc/motd/x ramet.exec=true" "$base"
fails "a read-only path that is not there" \
  "this path of the image could not be made read-only: /nowhere: No such file or directory" \
  "ramet.ro=/data,/nowhere ramet.exec=true" "$base"
fails "an init that is not there" \
  "the init /nowhere of the image could not be run: No such file or directory" \
  "ramet.init=/nowhere" "$base"
fails "a program to hand over to that is not there" \
  "the program /nowhere of the base could not be run: No such file or directory; build" \
  "ramet.handover=/nowhere" "$base"

boot out "ramet.exec=no-such-command,x" "$base"
check "a command that is not there has status 127" said out "ramet-exit:N:127"
check "and is named" said out "ramet-init: no-such-command was not found"
boot out "ramet.exec=not-a-program" "$base"
check "a command that is no program has status 126" said out "ramet-exit:N:126"
check "and is named too" said out "ramet-init: not-a-program cannot be executed: "

cp -r "$scratch/root" "$scratch/root-bare"
rm "$scratch/root-bare/sbin/init" "$scratch/root-bare/usr/sbin/init"
image squashfs "$scratch/bare" "$scratch/root-bare"
fails "an image without any init" "the image has no init (looked for /sbin/init, " "" \
  "$scratch/bare,readonly=on"

"$BUILD_ROOT/tests/guest/write-initramfs" "$initrd" "$MODULES" virtio_mmio virtio_blk squashfs
fails "a kernel without overlayfs" "the overlay could not be mounted: the kernel has no such" \
  "ramet.exec=true" "$base"

check "an init that is not PID 1 says what it is" sh -c \
  "'$BUILD_ROOT/init/ramet-init' 2>&1 | grep -q 'the first program of a virtual machine'"
finish
