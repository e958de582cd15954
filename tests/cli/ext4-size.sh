#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check() calls functions by name.
# shellcheck disable=SC2317
# How large an ext4 image is, what features it has, and that it can be grown and shrunk by
# resize2fs: after each the same files are in it, by tests/tools/tree-dump.
. "$(dirname "$0")/lib.sh"
need e2fsck resize2fs dumpe2fs python3
cd "$scratch" || exit 1
export LC_ALL=C

# field NAME IMAGE: a number that dumpe2fs prints
field() {
  dumpe2fs -h "$2" 2> /dev/null | sed -n "s/^$1: *//p"
}
# Files of many sizes, none with a block of zeros, and folders that need an index.
mkdir tree tree/many
python3 - << 'PYTHON'
for i in range(2500):
    with open("tree/many/file-%d" % i, "wb") as file:
        file.write(b"%d content " % i * (i * 7 % 3000))
PYTHON
"$RAMET" build tree small.ext4 > out 2>&1 || { cat out; exit 1; }

blocks=$(field 'Block count' small.ext4)
free=$(field 'Free blocks' small.ext4)
check "without --size at most 1 % and 256 KiB are free" [ "$free" -le $((blocks / 100 + 64)) ]
echo "# $free of $blocks blocks are free"
check "nothing is reserved for root" [ "$(field 'Reserved block count' small.ext4)" = 0 ]
check "the file is as long as the filesystem" [ "$(stat -c %s small.ext4)" = $((blocks * 4096)) ]
check "e2fsck finds no fault in the smallest image" e2fsck -fn small.ext4
enough() {
  [ "$(stat -c %s least.ext4)" = $((blocks * 4096)) ] && e2fsck -fn least.ext4
}
"$RAMET" build tree least.ext4 --size $((blocks * 4096)) > out 2>&1
check "the smallest size may be asked for too" enough
refused "a size too small for the content is refused with the least one" 1 \
  'too small for the content: it needs at least [0-9]+K' "$RAMET" build tree x.ext4 --size 4M
check "a refused image leaves nothing" [ ! -e x.ext4 ]
least() {
  size=$("$RAMET" build tree x.ext4 --size 4M 2>&1 | sed -n 's/.*at least \([0-9]*K\).*/\1/p')
  [ "$size" ] && "$RAMET" build tree x.ext4 --size "$size" && e2fsck -fn x.ext4
}
check "the least size that is told is enough" least

for size in 64 1024 20480; do
  room() {
    rm -f x.ext4
    "$RAMET" build tree x.ext4 --size "${size}M" && e2fsck -fn x.ext4 &&
      [ "$(stat -c %s x.ext4)" = $((size * 1048576)) ]
  }
  check "with --size ${size}M the device has that length and is sound" room
  # What is no room for files: inode tables, a journal, bitmaps; besides what is used already.
  used=$((blocks - free)) total=$((size * 256)) free_large=$(field 'Free blocks' x.ext4)
  check "with --size ${size}M all but 5 % of the rest is free" \
    [ $((free_large * 100)) -ge $(((total - used) * 95)) ]
  echo "# $free_large of $total blocks are free"
done
check "20 GiB take at most 8 MiB more on the host than the smallest image" \
  [ "$(stat -c %b x.ext4)" -lt $(($(stat -c %b small.ext4) + 16384)) ]

# Every one of these is known to Linux 5.10 (fs/ext4/ext4.h), and so to 6.12.
known="has_journal ext_attr resize_inode dir_index sparse_super2 filetype extent 64bit meta_bg mmp
  flex_bg ea_inode metadata_csum_seed large_dir inline_data encrypt casefold fast_commit
  stable_inodes sparse_super large_file huge_file uninit_bg dir_nlink extra_isize quota bigalloc
  metadata_csum project verity read-only"
for image in small.ext4 x.ext4; do
  unknown=
  for feature in $(field 'Filesystem features' $image); do
    case " $(echo $known) " in
      *" $feature "*) ;;
      *) unknown="$unknown $feature" ;;
    esac
  done
  check "$image has no feature that Linux 5.10 does not know" [ -z "$unknown" ]
done
check "the features are those that docs/formats.md tells" [ "$(field 'Filesystem features' small.ext4)" = \
  "has_journal ext_attr resize_inode dir_index filetype extent 64bit flex_bg metadata_csum_seed sparse_super large_file huge_file dir_nlink extra_isize metadata_csum" ]

# resized IMAGE ARGUMENT...: a copy is resized; it is sound and holds the same
resized() {
  from=$1
  shift
  cp --sparse=always "$from" copy.ext4
  "$TREE_DUMP" ext4 "$from" > before
  # -M goes before the device, a size behind it.
  if [ "$1" = -M ]; then resize2fs -M copy.ext4; else resize2fs copy.ext4 "$1"; fi || return 1
  e2fsck -fn copy.ext4 || return 1
  "$TREE_DUMP" ext4 copy.ext4 > after
  cmp before after
}
"$SOURCE_ROOT/tests/torture-tree" torture 500 > out 2>&1 && "$RAMET" build torture torture.ext4 > out 2>&1
for image in small.ext4 torture.ext4; do
  if [ ! -e $image ]; then
    skip "$image is resized" "no torture tree can be made here"
    continue
  fi
  large=$((2 * $(field 'Block count' $image)))
  check "$image grows to twice its size and holds the same" resized $image "$large"
  check "... which is what it has then" [ "$(field 'Block count' copy.ext4)" = "$large" ]
  check "$image shrinks as far as it goes and holds the same" resized $image -M
  check "... to no more than it had" \
    [ "$(field 'Block count' copy.ext4)" -le "$(field 'Block count' $image)" ]
done
check "an image with room grows to twice its size and holds the same" resized x.ext4 40G
check "an image with room shrinks to little more than its content and holds the same" resized x.ext4 -M
shrunk=$(field 'Block count' copy.ext4)
echo "# 20 GiB shrink to $shrunk blocks; the smallest image has $blocks"
finish
