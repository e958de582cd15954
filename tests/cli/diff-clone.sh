#!/bin/sh
# ramet diff in clone mode: two ext4 filesystems, one a copy-on-write clone of the other.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/volume.sh"
. "$(dirname "$0")/edits.sh"
need mkfs.xfs
need_overlay
mkdir "$scratch/host"
truncate -s 1G "$scratch/xfs"
at_exit() {
  for mounted in "$vm" "$scratch/lower" "$scratch/host"; do
    ! mountpoint -q "$mounted" || umount "$mounted" || umount -l "$mounted"
  done
}
mkfs.xfs -q "$scratch/xfs" && mount -o loop "$scratch/xfs" "$scratch/host" 2> /dev/null ||
  { echo "1..0 # SKIP XFS cannot be mounted here"; exit 0; }
RAMET_ROOT=$scratch/host/store
base=$scratch/host/base.ext4
base_tree "$scratch/tree"
"$RAMET" build "$scratch/tree" "$base" --format ext4 --size 200M > /dev/null
"$RAMET" fork "$base" vm --count 2 --provider reflink > /dev/null
mount -o loop,ro,noload "$base" "$scratch/lower"

same() { diff "$1" "$2"; }
"$RAMET" diff vm-1 > "$scratch/list"
check "a clone that never ran has no change" test ! -s "$scratch/list"
mount -o loop "$(volume_of vm-1)" "$vm"
find "$vm" -type f -exec cat {} + > /dev/null
umount "$vm"
"$RAMET" diff vm-1 > "$scratch/list"
check "a clone that was only read has no change" test ! -s "$scratch/list"

mount -o loop "$(volume_of vm-1)" "$vm"
guest_edits "$vm"
"$TREE_DIFF" "$scratch/lower" "$vm" > "$scratch/truth"
sync -f "$vm"
cp --reflink=always "$(volume_of vm-1)" "$scratch/host/killed"
umount "$vm"
"$RAMET" diff vm-1 > "$scratch/list" 2> "$scratch/note"
check "the list is what a walk of both trees finds" same "$scratch/truth" "$scratch/list"
check "after a clean end there is no note" test ! -s "$scratch/note"
cp --reflink=always "$scratch/host/killed" "$(volume_of vm-1)"
"$RAMET" diff vm-1 > "$scratch/list" 2> "$scratch/note"
check "a killed VM's journal is read" same "$scratch/truth" "$scratch/list"
check "and that is said" grep -q "journal was replayed" "$scratch/note"
check "JSON says it too" sh -c "'$RAMET' diff vm-1 --json | grep -q '\"journal_replayed\": true'"
finish
