#!/bin/sh
# The store under pressure: many processes, full disks, read-only disks, other file systems.
. "$(dirname "$0")/lib.sh"
need e2fsck
at_exit() {
  for mnt in "$scratch"/mnt-*; do umount "$mnt" 2> /dev/null; done
}

mkdir "$scratch/tree"
echo hello > "$scratch/tree/file"
base=$scratch/base.squashfs
"$RAMET" build "$scratch/tree" "$base" > /dev/null 2>&1
"$RAMET" build "$scratch/tree" "$scratch/base.ext4" --format ext4 > /dev/null 2>&1

# Ten at once.
for i in 1 2 3 4 5 6 7 8 9 10; do
  "$RAMET" fork "$base" "own$i" --count 5 --size 64M > "$scratch/own$i" 2>&1 &
  "$RAMET" fork "$base" same --count 5 --size 64M > "$scratch/same$i" 2>&1 &
done
wait
[ "$("$RAMET" ls --names | grep -c own)" = 50 ] && ok "ten processes make forks at once" ||
  not_ok "ten processes make forks at once" "$(cat "$scratch"/own?)"
winners=$(grep -l "5 forks of" "$scratch"/same* | wc -l)
losers=$(grep -l "exists already" "$scratch"/same* | wc -l)
[ "$winners/$losers" = 1/9 ] && ok "of ten that want one name, one wins and nine are told" ||
  not_ok "of ten that want one name, one wins and nine are told" "$winners/$losers" "$(cat "$scratch"/same*)"
rm -rf "$scratch/new"
for i in 1 2 3 4 5 6 7 8 9 10; do
  "$RAMET" ls --root "$scratch/new" > "$scratch/new$i" 2>&1 || echo "status $?" >> "$scratch/new$i" &
done
wait
check "ten processes open a new store at once" sh -c '! grep -h . "$0"/new[0-9]* | grep -v ^NAME' "$scratch"
for i in 1 2 3 4 5 6 7 8 9 10; do "$RAMET" rm own1-1 own2-2 2>> "$scratch/rms" & done
wait
check "of ten that remove one fork, one does" sh -c \
  '[ "$(grep -c own1-1 "$0/rms")" = 9 ] && ! "$RAMET" ls --names | grep -x own1-1' "$scratch"
check "every fork is whole afterwards" sh -c \
  'for v in "$RAMET_ROOT"/forks/*/volume; do e2fsck -fn "$v" || exit 1; done'

# Where no file may be read or made.
if [ "$(id -u)" = 0 ] && mkdir "$scratch/mnt-small" &&
  mount -t tmpfs -o size=2m none "$scratch/mnt-small" 2> /dev/null; then
  small=$scratch/mnt-small/store
  check "a store on a small disk is made" "$RAMET" fork "$base" first --size 64M --root "$small"
  refused "a full disk is told in one sentence" 1 "No space left|no space" \
    "$RAMET" fork "$base" vm --count 1000 --size 10G --root "$small"
  check "and nothing half made is left" sh -c \
    '[ "$("$RAMET" ls --names --root "$0")" = first ] && [ "$(ls "$0/forks")" = first ]' "$small"
  check "then a fork that fits is made" "$RAMET" fork "$base" vm --count 2 --size 64M --root "$small"
  head -c 4M /dev/zero > "$scratch/mnt-small/fill" 2> /dev/null
  check "forks are listed on a full disk" "$RAMET" ls --root "$small"
  check "and removed" "$RAMET" rm vm-1 --root "$small"
  rm "$scratch/mnt-small/fill"
  mount -o remount,ro "$scratch/mnt-small"
  refused "a read-only store is told in one sentence" 1 "read-only|Read-only" \
    "$RAMET" fork "$base" x --root "$small"
  umount "$scratch/mnt-small"
else
  skip "a full disk is told in one sentence" "mounting a tmpfs (root)"
fi
refused "a store that is a file is refused" 1 "cannot open the store's folder .*base.squashfs: Not a directory" "$RAMET" ls --root "$base"

# Cloning, on the file systems that can.
refused "reflink is refused where the file system has none, or serves" "$(
  cp --reflink=always "$scratch/base.ext4" "$scratch/probe" 2> /dev/null && echo 0 || echo 1)" \
  "cannot share blocks|^$" sh -c '"$RAMET" fork "$0/base.ext4" r --provider reflink || exit 1; echo >&2' "$scratch"

# reflinks FSTYPE MKFS...: the whole of cloning on a fresh file system.
reflinks() {
  type=$1
  shift
  mnt=$scratch/mnt-$type
  mkdir "$mnt"
  truncate -s 400M "$scratch/$type.img"
  if ! [ "$(id -u)" = 0 ] || ! "$@" "$scratch/$type.img" > /dev/null 2>&1 ||
    ! mount -o loop "$scratch/$type.img" "$mnt" 2> /dev/null; then
    skip "$type: clones" "root, $1 or $type in the kernel"
    return
  fi
  "$RAMET" build "$scratch/tree" "$mnt/base.ext4" --format ext4 --size 64M > /dev/null 2>&1
  RAMET_ROOT=$mnt/store
  "$RAMET" fork "$mnt/base.ext4" vm --count 3 > "$scratch/said"
  check "$type: auto takes reflink for a clean ext4 base, and says why" grep -qE \
    "3 forks of base.ext4, clone by reflink of 64.0 MiB \(auto: the base is a clean ext4 and $mnt \($type\) shares" "$scratch/said"
  check "$type: every clone passes e2fsck" sh -c \
    'for i in 1 2 3; do e2fsck -fn "$RAMET_ROOT/forks/vm-$i/volume" || exit 1; done'
  uuids=$(for volume in "$mnt/base.ext4" "$RAMET_ROOT"/forks/vm-*/volume; do
    od -An -tx1 -j1128 -N16 "$volume"
  done | sort -u | wc -l)
  [ "$uuids" = 4 ] && ok "$type: every clone has a UUID of its own" ||
    not_ok "$type: every clone has a UUID of its own" "$uuids"
  check "$type: a clone mounts and holds the base's tree" sh -c \
    'mkdir -p "$0/m" && mount -o loop "$RAMET_ROOT/forks/vm-1/volume" "$0/m" && cat "$0/m/file"; s=$?; umount "$0/m"; exit $s' "$scratch"
  check "$type: a larger size makes the device longer" sh -c \
    '"$RAMET" fork "$0/base.ext4" big --size 1G && [ "$(stat -c %s "$RAMET_ROOT/forks/big/volume")" = 1073741824 ] && e2fsck -fn "$RAMET_ROOT/forks/big/volume"' "$mnt"
  refused "$type: a size below the base's is refused" 1 "a clone has at least the base's size" \
    "$RAMET" fork "$mnt/base.ext4" x --size 16M --provider reflink
  "$RAMET" fork "$mnt/base.ext4" less --size 16M > "$scratch/said"
  check "$type: and auto takes file then" grep -q "overlay on file .*auto: no reflink, as a clone has at least" "$scratch/said"
  refused "$type: a base on another file system is refused, both are named" 1 \
    "the base is on .* and the store on $mnt \($type\)" \
    "$RAMET" fork "$scratch/base.ext4" x --provider reflink
  cp "$mnt/base.ext4" "$mnt/dirty.ext4"
  # needs_recovery, as a killed machine leaves it.
  debugfs -w -R "feature +needs_recovery" "$mnt/dirty.ext4" > /dev/null 2>&1
  refused "$type: a base that was not unmounted is refused" 1 "journal has to be replayed" \
    "$RAMET" fork "$mnt/dirty.ext4" x --provider reflink
  # An older ext4: metadata_csum without metadata_csum_seed, and without any checksum.
  for features in metadata_csum,^metadata_csum_seed ^metadata_csum,^uninit_bg; do
    rm -f "$mnt/old.ext4"
    mkfs.ext4 -q -O "$features" -d "$scratch/tree" "$mnt/old.ext4" 32M > /dev/null 2>&1
    check "$type: a base with $features is cloned right" sh -c \
      '"$RAMET" fork "$0/old.ext4" old && e2fsck -fn "$RAMET_ROOT/forks/old/volume" && "$RAMET" rm old' "$mnt"
  done
  check "$type: a base with uninit_bg alone goes to file" sh -c \
    'rm "$0/old.ext4"; mkfs.ext4 -q -O ^metadata_csum,uninit_bg "$0/old.ext4" 32M > /dev/null 2>&1 && "$RAMET" fork "$0/old.ext4" old | grep -q "no reflink, as the base cannot be cloned: its group checksums"' "$mnt"
  check "$type: doctor recommends reflink" sh -c '"$RAMET" doctor | grep -q "auto takes reflink"'
  RAMET_ROOT=$scratch/store
  umount "$mnt"
}
PATH=$PATH:/usr/sbin:/sbin
reflinks xfs mkfs.xfs -q -m reflink=1
reflinks btrfs mkfs.btrfs -q
finish
