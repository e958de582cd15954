#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every format that is written here, mounted by a kernel of today: entry by entry what it was made
# of. `images.sh prepare DIR` makes tree and images outside, where that is not emulated; the test
# finds them in $PREPARED.
# check() calls functions by name.
# shellcheck disable=SC2317
# shellcheck source=tests/cli/lib.sh
. "$SOURCE_ROOT/tests/cli/lib.sh"
formats="squashfs erofs ext4"
if [ "${1:-}" = prepare ]; then
  cd "$2" || exit 1
  "$SOURCE_ROOT/tests/torture-tree" tree 50 || exit 1
  # Emulated, a gigabyte of zeros takes minutes to read; and the way to what is very deep is no name.
  rm -r tree/sparse/all-hole tree/sparse/end tree/deep
  for format in $formats; do
    "$RAMET" build --format "$format" tree "$format" > "$format.log" 2>&1 || exit 1
    "$TREE_DUMP" "$format" "$format" > "$format.expected" || exit 1
  done
  exit 0
fi
[ "$(id -u)" = 0 ] || { echo "1..0 # SKIP mounting needs root"; exit 0; }
at_exit() { umount "$scratch/mnt" 2> /dev/null; }
mkdir "$scratch/mnt"
same() {
  mount -o loop,ro -t "$1" "$PREPARED/$1" "$scratch/mnt" || return 1
  "$TREE_DUMP" dir "$scratch/mnt" > "$scratch/found"
  umount "$scratch/mnt"
  diff "$PREPARED/$1.expected" "$scratch/found"
}
for format in $formats; do
  check "Linux $(uname -r) reads a $format as ramet does" same "$format"
done
finish
