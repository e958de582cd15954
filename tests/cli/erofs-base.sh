#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# An EROFS image as the base of forks: found out, forked, listed, compared with what a guest did; and
# what becomes of one that is compressed, cut short or spread over devices.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/volume.sh"
. "$(dirname "$0")/edits.sh"
need mkfs.erofs jq
need_overlay
base=$scratch/base.erofs
base_tree "$scratch/tree"
# theirs FILE OPTION...
theirs() {
  theirs_file=$1
  shift
  mkfs.erofs --quiet "$@" "$theirs_file" "$scratch/tree" > "$scratch/log" 2>&1
}
theirs "$base"
mount -o loop,ro -t erofs "$base" "$scratch/lower" 2> /dev/null ||
  { echo "1..0 # SKIP this machine mounts no EROFS"; exit 0; }
umount "$scratch/lower"

same() { diff "$1" "$2"; }
check "forks are made of it, in overlay mode" sh -c \
  '"$RAMET" fork "$0" vm --count 2 --size 200M | grep -q "overlay on file volumes"' "$base"
check "ls --images tells the format" sh -c '"$RAMET" ls --images | grep -qE "^erofs +.* 2 +unchanged"'
check "show tells the format" sh -c '"$RAMET" show vm-1 --json | jq -e ".format == \"erofs\""'
"$RAMET" diff vm-1 > "$scratch/none" 2>&1
check "a fork that never ran has no change" test ! -s "$scratch/none"
vm_mount vm-1 "$base"
guest_edits "$vm"
"$TREE_DIFF" "$scratch/lower" "$vm" > "$scratch/truth"
vm_umount
umount "$scratch/lower"
"$RAMET" diff vm-1 > "$scratch/list"
check "the list is what a walk of both trees finds" same "$scratch/truth" "$scratch/list"
"$RAMET" diff vm-1 --tar "$scratch/layer.tar"
check "the tar holds what was changed" sh -c \
  'tar -tf "$0/layer.tar" | grep -qx "etc/.wh.gone" && tar -xOf "$0/layer.tar" etc/hosts | grep -qx seventy-seven' \
  "$scratch"
check "a patch has the old text" sh -c '"$RAMET" diff vm-1 --patch -- /etc/hosts | grep -qx -- "-77"'

for options in "-Eforce-inode-compact" "--chunksize=4096" "-Eforce-chunk-indexes --chunksize=65536" "-x-1"; do
  name=$(echo "vm$options" | tr -dc 'a-z0-9-')
  # shellcheck disable=SC2086
  if theirs "$scratch/$name" $options; then
    "$RAMET" fork "$scratch/$name" "$name" --size 200M > /dev/null
    vm_mount "$name" "$scratch/$name"
    guest_edits "$vm"
    "$TREE_DIFF" "$scratch/lower" "$vm" > "$scratch/truth"
    vm_umount
    umount "$scratch/lower"
    "$RAMET" diff "$name" > "$scratch/list"
    check "mkfs.erofs $options: the list is the truth" same "$scratch/truth" "$scratch/list"
  else
    not_ok "mkfs.erofs $options" "$(cat "$scratch/log")"
  fi
done

# Compressed: a base like any other for a guest. What changed is told as long as no old content is
# needed for it.
theirs "$scratch/compressed" -zlz4hc
"$RAMET" fork "$scratch/compressed" packed --size 200M > /dev/null
vm_mount packed "$scratch/compressed"
echo new > "$vm/new" && rm "$vm/etc/motd" && echo more >> "$vm/etc/large"
vm_umount
"$RAMET" diff packed > "$scratch/list"
printf 'M /etc/large\nD /etc/motd\nA /new\n' > "$scratch/truth"
check "a compressed base is compared by its inodes" same "$scratch/truth" "$scratch/list"
refused "a patch needs old content, which is compressed: it is told what to do" 1 \
  'its content is compressed.*mount -t erofs' "$RAMET" diff packed --patch
vm_mount packed "$scratch/compressed"
printf X | dd of="$vm/etc/large" bs=1 seek=200000 conv=notrunc status=none
truncate -s "$(stat -c %s "$scratch/tree/etc/large")" "$vm/etc/large"
vm_umount
umount "$scratch/lower"
refused "so is a list for which old content would have to be read" 1 \
  'its content is compressed' "$RAMET" diff packed

head -c $(($(stat -c %s "$base") - 4096)) "$base" > "$scratch/cut"
refused "an image that was cut short is told apart" 1 \
  'is a truncated erofs image: it should have [0-9]+ bytes' "$RAMET" fork "$scratch/cut" x
printf '\037' | dd of="$scratch/cut" bs=1 seek=$((1024 + 12)) conv=notrunc status=none
refused "so is one whose superblock makes no sense" 1 \
  'is not a whole erofs image: the superblock is damaged' "$RAMET" fork "$scratch/cut" x
head -c 100000 /dev/zero > "$scratch/zeros"
refused "what is no image is told all formats there are" 1 \
  'is not an image: neither squashfs.*erofs.*ext4' "$RAMET" fork "$scratch/zeros" x
finish
