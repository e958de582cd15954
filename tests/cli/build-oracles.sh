#!/bin/sh
# Images of the torture tree, held against the tree by other people's tools: unsquashfs, e2fsck,
# debugfs and the kernel's own mounts.
. "$(dirname "$0")/lib.sh"
need unsquashfs e2fsck debugfs python3 setfattr setfacl
cd "$scratch" || exit 1
manifest=$SOURCE_ROOT/tests/tools/manifest
"$SOURCE_ROOT/tests/torture-tree" tree 5000 || { echo "1..0 # SKIP no torture tree can be made here"; exit 0; }

check "the torture tree becomes a squashfs" "$RAMET" build tree tree.squashfs
check "the torture tree becomes an ext4" "$RAMET" build tree tree.ext4
check "what squashfs cannot hold is counted" sh -c '"$RAMET" build tree x.squashfs 2>&1 | grep -q "extended attributes were left out"'
check "e2fsck finds no fault" e2fsck -fn tree.ext4
check "a larger device is sound too" sh -c '"$RAMET" build tree large.ext4 --size 3G && e2fsck -fn large.ext4 && [ "$(stat -c %s large.ext4)" = 3221225472 ]'
check "the large device takes little more room" sh -c '[ "$(stat -c %b large.ext4)" -lt $(($(stat -c %b tree.ext4) + 2048)) ]'
check "holes are not stored in ext4" sh -c '[ "$(stat -c %b tree.ext4)" -lt 131072 ]'
check "holes are not stored in squashfs" sh -c '[ "$(stat -c %s tree.squashfs)" -lt 16777216 ]'
check "a file in many pieces is whole" sh -c 'debugfs -R "cat /sparse/comb" tree.ext4 2> /dev/null | cmp - tree/sparse/comb'

mkdir many
(cd many && seq -f 'entry-%.0f' 1 100000 | xargs touch)
check "a directory of 100,000 entries is sound" sh -c '"$RAMET" build many many.ext4 && e2fsck -fn many.ext4'
check "a name in it is found" sh -c 'debugfs -R "stat entry-77777" many.ext4 2> /dev/null | grep -q "Type: regular"'
check "its squashfs has them all" sh -c '"$RAMET" build many many.squashfs && [ "$(unsquashfs -l many.squashfs | wc -l)" = 100001 ]'

if [ "$(id -u)" = 0 ]; then
  # The way unsquashfs names files ends at PATH_MAX, so it is spared the deep folder.
  "$manifest" --squashfs --no-deep tree > expected
  rm -rf tree-shallow && mkdir shallow && mv tree/deep shallow/deep
  touch -d @1600000000.123456789 tree
  "$RAMET" build tree shallow.squashfs > out 2>&1
  mksquashfs tree theirs.squashfs -comp zstd -noappend -quiet -no-progress > out 2>&1
  mv shallow/deep tree/deep
  touch -d @1600000000.123456789 tree
  if unsquashfs -no-progress -d unpacked shallow.squashfs > out 2>&1; then
    "$manifest" --squashfs --no-deep unpacked > found
    check "unsquashfs unpacks what went in, entry by entry" diff expected found
  else
    not_ok "unsquashfs unpacks what went in, entry by entry" "$(tail -n 5 out)"
  fi
  if command -v sqfsdiff > /dev/null; then
    # Which of two kinds of inode a file of zeros has is no content.
    sqfsdiff -a shallow.squashfs -b theirs.squashfs > out 2>&1
    check "sqfsdiff finds it equal to mksquashfs's own" sh -c \
      '[ $0 -lt 2 ] && ! grep -v "zeros-written has a basic type" out' $?
  else
    skip "sqfsdiff finds it equal to mksquashfs's own" "sqfsdiff is missing"
  fi
  mkdir mnt
  at_exit() { umount "$scratch/mnt" 2> /dev/null; }
  if mount -o loop,ro tree.squashfs mnt 2> /dev/null; then
    "$manifest" --squashfs tree > expected
    "$manifest" --squashfs mnt > found
    umount mnt
    check "the kernel reads the squashfs as the tree is" diff expected found
  else
    skip "the kernel reads the squashfs as the tree is" "this machine mounts no squashfs"
  fi
  if mount -o loop,ro tree.ext4 mnt 2> /dev/null; then
    "$manifest" tree > expected
    "$manifest" mnt > found
    umount mnt
    check "the kernel reads the ext4 as the tree is: times, owners, ACLs, links" diff expected found
  else
    skip "the kernel reads the ext4 as the tree is: times, owners, ACLs, links" "this machine mounts no ext4"
  fi
  if mount -o loop large.ext4 mnt 2> /dev/null; then
    rm -rf mnt/large-directory/entry-4* && touch mnt/large-directory/new && rm -rf mnt/deep &&
      cp -a tree/plain mnt/copy
    wrote=$?
    umount mnt
    [ $wrote = 0 ] && e2fsck -fn large.ext4 > out 2>&1 && ok "the kernel writes into the ext4, hash trees too" ||
      not_ok "the kernel writes into the ext4, hash trees too" "$(tail -n 5 out)"
    "$RAMET" build tree/plain small.ext4 > out && truncate -s 8G small.ext4 && mount -o loop small.ext4 mnt
    device=$(findmnt -n -o SOURCE mnt)
    resize2fs "$device" > out 2>&1
    [ "$(df --output=size -k mnt | tail -n 1)" -gt 7000000 ]
    grown=$?
    umount mnt
    if grep -q 'Permission denied to resize' out; then
      skip "a mounted clone grows to 8 GiB" "resizing needs CAP_SYS_RESOURCE"
    elif [ $grown = 0 ] && e2fsck -fn small.ext4 > out 2>&1; then
      ok "a mounted clone grows to 8 GiB"
    else
      not_ok "a mounted clone grows to 8 GiB" "$(tail -n 5 out)"
    fi
  else
    skip "the kernel writes into the ext4, hash trees too" "this machine mounts no ext4"
    skip "a mounted clone grows to 8 GiB" "this machine mounts no ext4"
  fi
else
  skip "images equal the tree, by the kernel" "only root mounts, and unpacks devices and owners"
fi

if setfattr -n user.huge -v "$(printf '%03900d' 0)" tree/plain/file 2> /dev/null &&
  setfattr -n user.more -v "$(printf '%0900d' 0)" tree/plain/file 2> /dev/null; then
  refused "attributes too large for ext4 are named with their file" 1 \
    'extended attributes of /plain/file are too large' "$RAMET" build tree x.ext4
else
  skip "attributes too large for ext4 are named with their file" "this filesystem holds no such attributes"
fi
finish
