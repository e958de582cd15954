# shellcheck shell=sh
# For the guest tests: booting by hand, without ramet run, and looking at what a guest left.
# Under software emulation a guest takes a few seconds. Its clock counts instructions (-icount):
# with the host's clock the kernel's timer calibration hangs now and then on a busy machine.
# shellcheck source=tests/cli/lib.sh
. "${SOURCE_ROOT:=$(cd "$(dirname "$0")/../.." && pwd)}/tests/cli/lib.sh"
: "${BUILD_ROOT:=$SOURCE_ROOT/build}"
bail_out() {
  echo "Bail out! $1"
  exit 1
}
need qemu-system-x86_64 busybox mkfs.ext4 debugfs e2fsck dumpe2fs
case $(uname -m) in
  x86_64) ;;
  *) echo "1..0 # SKIP the guest tests know x86_64 only"; exit 0 ;;
esac
if ! "$SOURCE_ROOT/scripts/guest-kernel" > "$scratch/kernel" 2> "$scratch/kernel.err"; then
  echo "1..0 # SKIP no guest kernel: $(tail -n 1 "$scratch/kernel.err")"
  exit 0
fi
KERNEL=$(sed -n 's/^KERNEL=//p' "$scratch/kernel")
MODULES=$(sed -n 's/^MODULES=//p' "$scratch/kernel")
sh "$SOURCE_ROOT/tests/guest/make-root" "$scratch/root" "$BUILD_ROOT/init/ramet-init" ||
  bail_out "the test's root could not be made"

# initramfs FILE: ramet's, with the modules that the guest kernel needs.
initramfs() {
  "$BUILD_ROOT/tests/guest/write-initramfs" "$1" "$MODULES" virtio_mmio virtio_blk squashfs erofs \
    ext4 overlay || bail_out "the initramfs could not be written"
}
# image FORMAT FILE [ROOT]: the tree as a base.
image() {
  if [ "$1" = squashfs ]; then
    mksquashfs "${3:-$scratch/root}" "$2" -quiet -no-progress -all-root -comp zstd \
      -Xcompression-level 3 > /dev/null
  elif [ "$1" = erofs ]; then
    RAMET_ROOT=$scratch/store "$RAMET" build "${3:-$scratch/root}" "$2" --format erofs > /dev/null
  else
    mke2fs -q -t ext4 -E root_owner=0:0 -d "${3:-$scratch/root}" "$2" 16M > /dev/null
  fi || bail_out "the base could not be made"
}
volume() {
  rm -f "$1"
  truncate -s "${2:-64M}" "$1"
  mkfs.ext4 -q -F "$1"
}

# qemu OUTPUT ARGUMENTS DRIVE...: run a guest with $initrd until it ends; input from $input.
# A drive is FILE or FILE,readonly=on.
initrd=$scratch/initramfs
input=/dev/null
qemu() {
  qemu_output=$1 qemu_arguments=$2
  shift 2
  set -- "$@" --
  while [ "$1" != -- ]; do
    drive=$1
    shift
    number=$(echo "$drive" | cksum | cut -d ' ' -f 1)
    set -- "$@" -drive "id=d$number,if=none,format=raw,file=$drive" \
      -device "virtio-blk-device,drive=d$number"
  done
  shift
  exec timeout -k 1 "${LIMIT:-90}" qemu-system-x86_64 -accel tcg -icount "${ICOUNT:-shift=3,sleep=off}" \
    -cpu qemu64 -M microvm -m 128 -nodefaults -no-user-config -no-reboot -display none \
    -serial stdio -global virtio-mmio.force-legacy=off "$@" -kernel "$KERNEL" -initrd "$initrd" \
    -append "console=ttyS0 panic=-1 reboot=t loglevel=${LOGLEVEL:-0} ramet.nonce=N $qemu_arguments" \
    < "$input" > "$qemu_output" 2>&1
}
# boot OUTPUT ARGUMENTS DRIVE...: the same, to its end; what it said is in $scratch/OUTPUT. A guest
# that hung before it said anything is booted once more: that is the emulator.
boot() {
  boot_output=$scratch/$1
  shift
  (qemu "$boot_output" "$@") && return
  if ! grep -aqE '^(ramet-|fact )' "$boot_output"; then
    echo "# booted a second time: $1"
    (qemu "$boot_output" "$@") || :
  fi
}
# boot_and_kill OUTPUT ARGUMENTS DRIVE...: kill -9 once the guest has said "ready".
boot_and_kill() {
  boot_output=$scratch/$1
  shift
  : > "$boot_output"
  qemu "$boot_output" "$@" &
  boot_pid=$!
  await_ready
  # timeout is the parent; its child must not live on.
  pkill -9 -P "$boot_pid" 2> /dev/null
  kill -9 "$boot_pid" 2> /dev/null
  wait "$boot_pid" 2> /dev/null
}
await_ready() {
  for _ in $(seq 450); do
    grep -q '^ready' "$boot_output" && return
    kill -0 "$boot_pid" 2> /dev/null || return
    sleep 0.2
  done
}

# What is asked of a guest's output.
said() {
  grep -aqF -- "$2" "$scratch/$1" && return
  echo "not said: $2"
  tail -n 30 "$scratch/$1"
  return 1
}
# said_once OUTPUT TEXT: that line, and no other of the init's failures or notes.
failed_with() {
  said "$1" "ramet-fail:N:$2" || return
  [ "$(grep -ac '^ramet-' "$scratch/$1")" = 1 ] && return
  grep -a '^ramet-' "$scratch/$1"
  return 1
}
facts() {
  facts_output=$1
  shift
  for wanted; do said "$facts_output" "fact $wanted" || return; done
}

# upper VOLUME [PATH]: "MODE PATH" of everything in the upper folder, sorted.
upper() {
  debugfs -R "ls -p /root${2:-}" "$1" 2> /dev/null | tr -d '\r' |
    awk -F / '$6 != "." && $6 != ".." && $6 != "" { print $3, $6 }' |
    while read -r mode name; do
      echo "$mode ${2:-}/$name"
      case $mode in 04*) upper "$1" "${2:-}/$name" ;; esac
    done | sort -k 2
}
# What `scene write` leaves: a modified, an added and a deleted file, and a new folder.
written='040755 /etc
020000 /etc/gone
100644 /etc/motd
100644 /etc/new
040755 /srv
040755 /srv/deep
100644 /srv/deep/file'
has_exactly_the_change() {
  [ "$(upper "$1")" = "$written" ] && return
  upper "$1"
  return 1
}
# Unmounted: nothing for the journal to do, nothing for e2fsck to find.
is_clean() {
  dumpe2fs -h "$1" 2> /dev/null > "$scratch/.dump"
  grep -q '^Filesystem state: *clean$' "$scratch/.dump" || { cat "$scratch/.dump"; return 1; }
  grep -q needs_recovery "$scratch/.dump" && { echo "its journal was left"; return 1; }
  e2fsck -fn "$1"
}
needs_replay_and_has_the_change() {
  dumpe2fs -h "$1" 2> /dev/null | grep -q needs_recovery || { echo "no journal was left"; return 1; }
  cp --sparse=always "$1" "$scratch/replayed"
  e2fsck -fy "$scratch/replayed"
  [ $? -le 1 ] && e2fsck -fn "$scratch/replayed" && has_exactly_the_change "$scratch/replayed"
}
digest() {
  sha256sum < "$1"
}
# After an image's own init, which cannot unmount its root: replaying the journal, where there is
# something to replay, gives exactly the change.
needs_replay_or_is_clean() {
  cp --sparse=always "$1" "$scratch/replayed"
  e2fsck -fy "$scratch/replayed"
  [ $? -le 1 ] && e2fsck -fn "$scratch/replayed" && has_exactly_the_change "$scratch/replayed"
}
# Give the root the overlay-init script of firecracker-containerd: not its text, but the same steps
# with the same names; and what it needs.
shell_init() {
  mkdir -p "$scratch/root/overlay" "$scratch/root/rom" "$scratch/root/mnt"
  cat > "$scratch/root/sbin/shell-overlay-init" << 'END'
#!/bin/sh
PATH=/bin:/sbin
if [ -n "$overlay_root" ] && [ "$overlay_root" != ram ] && [ ! -b "/dev/$overlay_root" ]; then
  echo "no device /dev/$overlay_root"
  exit 1
fi
if [ -z "$overlay_root" ] || [ "$overlay_root" = ram ]; then
  mount -t tmpfs -o noatime,mode=0755 tmpfs /overlay
else
  mount -t ext4 "/dev/$overlay_root" /overlay
fi
mkdir -p /overlay/root /overlay/work
mount -o noatime,lowerdir=/,upperdir=/overlay/root,workdir=/overlay/work -t overlay \
  overlayfs:/overlay/root /mnt
pivot_root /mnt /mnt/rom
mount -t devtmpfs dev /dev
exec /usr/sbin/init "$@"
END
  chmod 755 "$scratch/root/sbin/shell-overlay-init"
}
