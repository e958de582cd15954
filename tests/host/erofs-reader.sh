#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check() calls functions by name.
# shellcheck disable=SC2317
# The kernel is the oracle of the EROFS reader: what mkfs.erofs makes of the torture tree with each of
# its options, and what a builder of our own makes of the forms that mkfs.erofs 1.5 does not know.
# shellcheck source=tests/cli/lib.sh
. "$SOURCE_ROOT/tests/cli/lib.sh"
need mkfs.erofs python3 setfattr setfacl
[ "$(id -u)" = 0 ] || { echo "1..0 # SKIP mounting needs root"; exit 0; }
mnt=$scratch/mnt tree=$scratch/tree
at_exit() { if mountpoint -q "$mnt"; then umount "$mnt"; fi; }
mkdir "$mnt" "$scratch/probe"
mkfs.erofs --quiet "$scratch/image" "$scratch/probe" > "$scratch/log" 2>&1
mount -t erofs -o loop,ro "$scratch/image" "$mnt" 2> /dev/null ||
  { echo "1..0 # SKIP this machine mounts no EROFS"; exit 0; }
umount "$mnt"

"$SOURCE_ROOT/tests/torture-tree" "$tree" 2000 > "$scratch/log" 2>&1 ||
  { echo "1..0 # SKIP no torture tree can be made here"; exit 0; }
# Beyond PATH_MAX tree-dump does not see a folder.
rm -rf "$tree/deep"
python3 - "$tree" << 'PYTHON'
import os, sys
os.chdir(sys.argv[1])
for i in range(60):
    os.mkdir("attributes/many-%d" % i)
    os.setxattr("attributes/many-%d" % i, "user.same-on-all", b"s" * 40)
    os.setxattr("attributes/many-%d" % i, "trusted.of-its-own", b"%d" % i)
with open("attributes/full", "w") as file:
    file.write("x" * 4000)
for i in range(40):
    os.setxattr("attributes/full", "user.name-%d" % i, b"v" * i)
PYTHON

# same_as_mounted: our view of $scratch/image and the kernel's are the same, line by line
same_as_mounted() {
  mount -t erofs -o loop,ro "$scratch/image" "$mnt" || return 1
  "$TREE_DUMP" dir "$mnt" > "$scratch/kernel"
  umount "$mnt"
  "$TREE_DUMP" erofs "$scratch/image" > "$scratch/ours" && cmp "$scratch/kernel" "$scratch/ours"
}
# theirs OPTION...: as mkfs.erofs makes it of $from
theirs() {
  rm -f "$scratch/image"
  mkfs.erofs --quiet "$@" "$scratch/image" "$from" > "$scratch/log" 2>&1 || return 1
  same_as_mounted
}
# Of our own writer; it is what the tree is, too.
ours() {
  rm -f "$scratch/image"
  "$RAMET" build "$tree" "$scratch/image" --format erofs "$@" && same_as_mounted &&
    "$TREE_DUMP" dir "$tree" | cmp - "$scratch/ours"
}
check "what ramet build makes is read as the kernel reads it, and as the tree is" ours
check "... with equal chunks stored once" ours --dedupe

# What mkfs.erofs 1.5 cannot take is left out: names of 255 bytes. It writes holes out, so that large
# ones go too.
rm -rf "$tree/sparse/all-hole" "$tree/sparse/end"
find "$tree/names" -name '?????????????????????????*' -type f -delete
truncate -s 3M "$tree/sparse/hole"
from=$tree
check "the tree is read as the kernel reads it" theirs
check "... which is as the tree was" sh -c '"$TREE_DUMP" dir "$0/tree" | cmp - "$0/ours"' "$scratch"
check "... with extended inodes" theirs -Eforce-inode-extended
check "... with no content behind inodes" theirs -Enoinline_data
check "... with chunks of a block" theirs --chunksize=4096
check "... with chunk indexes" theirs -Eforce-chunk-indexes --chunksize=4096
check "... with large chunks" theirs -Eforce-chunk-indexes --chunksize=1048576
check "... with every attribute shared" theirs -x1
check "... with none shared" theirs -x10000
check "... without attributes" theirs -x-1
check "... with all times and owners the same" theirs -T1000 --all-root
check "... without a checksum" theirs -Enosbcrc
rm -rf "$tree/owners"
check "... with compact inodes" theirs -Eforce-inode-compact

made() {
  python3 -B "$SOURCE_ROOT/tests/fuzz/erofs_image.py" "$1" "$scratch/image" && same_as_mounted
}
for kind in b512 b1024 b2048 b4096 b512+compact b4096+compact b4096+nosum; do
  check "an image of $kind is read as the kernel reads it" made "$kind"
done
# Forms that came with later kernels: skipped where this one does not know them.
for kind in b4096+packed b512+packed b4096+plain b4096+wide b1024+wide+dotless+compact; do
  python3 -B "$SOURCE_ROOT/tests/fuzz/erofs_image.py" "$kind" "$scratch/image"
  if mount -t erofs -o loop,ro "$scratch/image" "$mnt" 2> /dev/null; then
    umount "$mnt"
    check "an image of $kind is read as the kernel reads it" made "$kind"
  else
    skip "an image of $kind is read as the kernel reads it" "this kernel does not know the form"
  fi
done
large_blocks() {
  made b4096 && python3 -B "$SOURCE_ROOT/tests/fuzz/erofs_image.py" b65536 "$scratch/image" &&
    "$TREE_DUMP" erofs "$scratch/image" | cmp "$scratch/ours" -
}
check "blocks of 64 KiB hold the same tree" large_blocks

# Compressed content is refused, and all else of such an image is there to be read.
mkdir "$scratch/text" && seq 1 20000 > "$scratch/text/numbers" && ln -s numbers "$scratch/text/link"
echo small > "$scratch/text/small"
compressed() {
  rm -f "$scratch/image"
  mkfs.erofs --quiet -zlz4hc "$scratch/image" "$scratch/text" > "$scratch/log" 2>&1 || return 1
  "$TREE_DUMP" --no-content erofs "$scratch/image" > "$scratch/ours" || return 1
  grep -q "^/numbers.*size=108894 " "$scratch/ours" && grep -q "^/link.*-> numbers" "$scratch/ours"
}
check "a compressed image is listed" compressed
refused "compressed content is refused by name, with what to do" 1 \
  'inode [0-9]+: its content is compressed.*mount -t erofs' "$TREE_DUMP" erofs "$scratch/image"
finish
