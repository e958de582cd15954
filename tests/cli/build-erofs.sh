#!/bin/sh
# check() calls functions by name.
# shellcheck disable=SC2317
# EROFS images held against the tree by fsck.erofs, dump.erofs and the kernel's own mount.
. "$(dirname "$0")/lib.sh"
need fsck.erofs dump.erofs python3 setfattr setfacl
cd "$scratch" || exit 1
manifest=$SOURCE_ROOT/tests/tools/manifest
mkdir mnt
at_exit() { if mountpoint -q "$scratch/mnt"; then umount "$scratch/mnt"; fi; }
sound() { fsck.erofs "$1" && "$TREE_DUMP" erofs "$1" > dump; }

# mounted IMAGE TREE: what the kernel, and our reader, see in the image is the tree.
can_mount=""
mkdir probe && "$RAMET" build probe probe.erofs > out && mount -t erofs -o loop,ro probe.erofs mnt 2> out &&
  umount mnt && can_mount=yes
mounted() {
  "$manifest" "$2" > expected && mount -t erofs -o loop,ro "$1" mnt || return 1
  "$manifest" mnt > found
  "$TREE_DUMP" dir mnt > by-kernel 2> out
  umount mnt
  "$TREE_DUMP" erofs "$1" > by-reader
  diff expected found && { grep -q 'too long' out || cmp by-kernel by-reader; }
}
same_by_kernel() {
  if [ "$can_mount" ]; then
    check "$1" mounted "$2" "$3"
  else
    skip "$1" "this machine mounts no EROFS, or not for this user"
  fi
}

if "$SOURCE_ROOT/tests/torture-tree" tree 5000; then
  check "the torture tree becomes an erofs, by the image's name" "$RAMET" build tree tree.erofs
  check "fsck.erofs finds no fault, and our reader none" sound tree.erofs
  same_by_kernel "the kernel reads it as the tree is: times, owners, attributes, ACLs, links, holes" tree.erofs tree
  check "holes are not stored" sh -c '[ "$(stat -c %s tree.erofs)" -lt 16777216 ]'
  check "all attributes have a place" sh -c '! "$RAMET" build tree x.erofs 2>&1 | grep -q "left out"'
  check "with --dedupe it is sound too" sh -c '"$RAMET" build tree dedupe.erofs --dedupe && fsck.erofs dedupe.erofs'
  same_by_kernel "the kernel reads that as the tree is" dedupe.erofs tree
  check "and it is smaller" sh -c '[ "$(stat -c %s dedupe.erofs)" -lt "$(stat -c %s tree.erofs)" ]'
  check "an image without chunks asks for no feature that Linux 5.4 lacks" sh -c \
    '"$RAMET" build tree/modes x.erofs && ! dump.erofs x.erofs | grep "features:" | grep -v "sb_csum mtime *$"'
  check "an image with holes asks for what Linux 5.15 has" sh -c \
    'dump.erofs tree.erofs | grep -q "features: *sb_csum mtime chunked_file *$"'
  # fsck.erofs 1.5 unpacks holes as nothing, drops attributes, set-id bits and hard links, and its paths
  # end at PATH_MAX.
  mkdir shallow unpacked && cp -a tree/plain tree/names tree/modes tree/links tree/times tree/large-directory shallow
  plain() { find "$1" ! -type d ! -type l -exec stat -c '%n %F %U:%G %s %Y' {} + | sort; }
  unpacks() {
    rm -rf unpacked && "$RAMET" build shallow shallow.erofs && fsck.erofs --extract=unpacked shallow.erofs || return 1
    diff -r --no-dereference shallow unpacked && (cd shallow && plain .) > expected && (cd unpacked && plain .) > found &&
      diff expected found
  }
  check "fsck.erofs --extract unpacks what went in" unpacks
else
  skip "the torture tree is held against the image" "no torture tree can be made here"
fi

# Every size about the edges: of a block, of what fits behind an inode, of what has no tail there.
mkdir edges
for size in 0 1 31 32 33 4031 4032 4033 4063 4064 4065 4095 4096 4097 8191 8192 8193 65535 65536 65537 69632 1048577; do
  head -c "$size" /dev/urandom > "edges/$size"
done
for length in 1 4000 4032 4064 4095; do
  ln -s "$(printf '%0*d' "$length" 0)" "edges/to-$length"
done
check "files of every size about the edges are sound" sh -c '"$RAMET" build edges edges.erofs && fsck.erofs edges.erofs'
same_by_kernel "and they are whole" edges.erofs edges
check "the same with --dedupe" sh -c '"$RAMET" build edges edges.erofs --dedupe && fsck.erofs edges.erofs'
same_by_kernel "and they are whole with --dedupe" edges.erofs edges

mkdir many
(cd many && seq -f 'entry-%.0f' 1 100000 | xargs touch)
: > "many/$(printf '%0255d' 0)" && : > 'many/!first' && : > many/...
check "a directory of 100,000 entries is sound" sh -c '"$RAMET" build many many.erofs && fsck.erofs many.erofs'
same_by_kernel "every one of them is found" many.erofs many

# More links than 16 bits count. tmpfs lets a file have so many names.
memory=$(mktemp -d /dev/shm/ramet-test.XXXXXX 2> /dev/null) && python3 - "$memory" << 'END' && links=yes || links=""
import os, sys
os.chdir(sys.argv[1])
open("file", "w").write("x")
for number in range(70000):
    os.link("file", "link-%d" % number)
END
if [ "$links" ]; then
  check "70,001 names of one file are sound" sh -c '"$RAMET" build "$0" links.erofs && fsck.erofs links.erofs' "$memory"
  check "it has one inode" sh -c 'dump.erofs links.erofs | grep -q "inode count: *2$"'
  same_by_kernel "the kernel counts them all" links.erofs "$memory"
else
  skip "70,001 names of one file are sound" "no filesystem here holds so many links"
fi
rm -rf "$memory"

# Attributes: the same on many files once, more than an inode's header counts, larger than a block.
mkdir attributes
attributes() {
  python3 - << 'END'
import os
for number in range(300):
    name = "attributes/file-%d" % number
    open(name, "w").write("x" * number * 20)
    os.setxattr(name, "user.shared", b"s" * 200)
    os.setxattr(name, "user.own", b"%d" % number)
    if number % 3 == 0:
        os.setxattr(name, "trusted.third", b"")
for name in "attributes/full", "attributes/full-again":
    open(name, "w").write("tail")
    for number in range(60):
        os.setxattr(name, "user.%d" % number, b"v" * number)
os.symlink("t" * 3000, "attributes/link")
os.setxattr("attributes/link", "trusted.large", b"l" * 1500, follow_symlinks=False)
END
}
if attributes 2> out; then
  check "shared attributes are sound" sh -c '"$RAMET" build attributes attributes.erofs && fsck.erofs attributes.erofs'
  same_by_kernel "each file has its own" attributes.erofs attributes
  check "what many have is stored once" sh -c '[ "$(grep -c "$(printf %0200d 0 | tr 0 s)" -a attributes.erofs)" = 1 ]'
else
  skip "shared attributes are sound" "this filesystem holds no such attributes, or not for this user"
fi
# On tmpfs and XFS values may be of 64 KiB, and there may be many.
memory=$(mktemp -d /dev/shm/ramet-test.XXXXXX 2> /dev/null) && python3 - "$memory" 2> out << 'END' && large=yes || large=""
import os, sys
os.chdir(sys.argv[1])
open("file", "w").write("x" * 5000)
os.setxattr("file", "trusted.large", b"l" * 65535)
for number in range(300):
    for name in "one", "two":
        open(name, "w").write("y" * 100)
for number in range(300):
    for name in "one", "two":
        os.setxattr(name, "trusted.number-%d" % number, b"%d" % number)
END
if [ "$large" ]; then
  check "attributes of 64 KiB, and 300 shared by two files, are sound" sh -c \
    '"$RAMET" build "$0" large.erofs && fsck.erofs large.erofs' "$memory"
  same_by_kernel "and they are whole" large.erofs "$memory"
  python3 -c 'import os, sys; os.setxattr(sys.argv[1] + "/file", "trusted.large", b"l" * 65536)' "$memory"
  refused "an attribute of 65,536 bytes is refused with its file" 1 \
    'extended attributes of /file are too large for erofs' "$RAMET" build "$memory" x.erofs
else
  skip "attributes of 64 KiB are sound" "no filesystem here holds them, or not for this user"
fi
rm -rf "$memory"

# Equal chunks once; and chunks that are nearly equal not.
mkdir chunks
head -c 3000000 /dev/urandom > chunks/a
cp chunks/a chunks/b
{ head -c 1000000 chunks/a; printf x; tail -c +1000002 chunks/a; } > chunks/c
{ printf y; cat chunks/a; } > chunks/shifted
"$RAMET" build chunks plain.erofs > out
"$RAMET" build chunks dedupe.erofs --dedupe > out
same_by_kernel "files of equal chunks are whole" dedupe.erofs chunks
check "equal chunks are stored once" sh -c '[ "$(stat -c %s plain.erofs)" -ge 12000000 ] && [ "$(stat -c %s dedupe.erofs)" -lt 6040000 ]'

# Trees of chance.
seed=${SEED:-$(date +%s)}
echo "# SEED=$seed"
random_tree() {
  python3 - "$1" "$2" << 'END'
import os, random, sys
top, chance = sys.argv[1], random.Random(int(sys.argv[2]))
folders, files = [top], []
os.mkdir(top)
blocks = [chance.randbytes(4096) for _ in range(8)] + [bytes(4096)]
for number in range(400):
    name = "".join(chance.choice("ab.!-~") for _ in range(chance.choice((1, 3, 9, 250)))) + "%d" % number
    path = os.path.join(chance.choice(folders), name)
    kind = chance.random()
    if kind < 0.15 and len(path) < 1500:
        os.mkdir(path)
        folders.append(path)
    elif kind < 0.25:
        os.symlink("x" * chance.randint(1, 4000), path)
    elif kind < 0.3 and files:
        os.link(chance.choice(files), path)
    else:
        with open(path, "wb") as file:
            for _ in range(chance.choice((0, 0, 1, 3, 20))):
                if chance.random() < 0.2:
                    file.seek(4096 * chance.randint(0, 40), 1)
                file.write(chance.choice(blocks))
            file.write(chance.randbytes(chance.randint(0, 5000)))
        files.append(path)
    os.utime(path, ns=(chance.randint(-10**18, 5 * 10**18),) * 2, follow_symlinks=False)
    os.chown(path, chance.choice((0, 7, 70000)), 0, follow_symlinks=False)
END
}
random_trees() {
  for round in 0 1 2; do
    rm -rf random && random_tree random $((seed + round)) || return 1
    for way in "" --dedupe; do
      # shellcheck disable=SC2086 # nothing, or one word
      "$RAMET" build random random.erofs $way && fsck.erofs random.erofs && mounted random.erofs random || return 1
    done
  done
}
if [ "$can_mount" ]; then
  check "trees of chance are what they were (SEED=$seed)" random_trees
else
  skip "trees of chance are what they were" "this machine mounts no EROFS, or not for this user"
fi

# Compression is mkfs.erofs's.
if command -v mkfs.erofs > /dev/null && mkfs.erofs --help 2>&1 | grep -q lz4hc; then
  mkdir text && seq 1 100000 > text/numbers && ln text/numbers text/link && ln -s numbers text/symlink
  setfattr -n user.name -v value text/numbers 2> out
  check "an erofs is compressed by mkfs.erofs, and that is said" sh -c \
    '"$RAMET" build text lz4.erofs --compress lz4hc:9 | grep -q "lz4hc:9 by mkfs.erofs [0-9]"'
  check "and in JSON" sh -c '"$RAMET" build text json.erofs --compress lz4 --json | grep -q "\"written_by\": \"mkfs.erofs [0-9]"'
  check "fsck.erofs unpacks what went in" sh -c \
    'rm -rf unpacked && fsck.erofs --extract=unpacked lz4.erofs && diff -r text unpacked'
  check "it is compressed" sh -c '[ "$(stat -c %s lz4.erofs)" -lt 500000 ]'
  "$RAMET" build text again.erofs --compress lz4hc:9 > out
  check "two runs give the same bytes" cmp lz4.erofs again.erofs
  if [ "$can_mount" ]; then
    kernel_reads() {
      "$manifest" text > expected && mount -t erofs -o loop,ro lz4.erofs mnt || return 1
      "$manifest" mnt > found
      umount mnt
      diff expected found
    }
    check "the kernel reads it as the tree is" kernel_reads
  else
    skip "the kernel reads it as the tree is" "this machine mounts no EROFS, or not for this user"
  fi
  refused "a compressor that it does not have is refused with those it has" 1 \
    "cannot compress with 'lz5'; it has .*lz4" "$RAMET" build text refused.erofs --compress lz5
  refused "a level that is none" 1 'not a compressor and a level' "$RAMET" build text refused.erofs --compress lz4:x
  refused "what mkfs.erofs says when it fails is told" 1 'mkfs.erofs .*failed: failed to' \
    "$RAMET" build text refused.erofs --compress lz4hc:99
  refused "binds are refused with it" 1 'takes one folder' "$RAMET" build text refused.erofs --compress lz4 --bind "$scratch/edges:/e"
  refused "--init is refused with it" 1 'takes one folder' "$RAMET" build text refused.erofs --compress lz4 --init
  refused "a layer is refused with it" 1 'takes one folder' "$RAMET" build --layer text refused.erofs --compress lz4
  refused "--dedupe is refused with it" 1 'not compressed' "$RAMET" build text refused.erofs --compress lz4 --dedupe
  (cd text && tar cf ../text.tar .)
  refused "a tar archive is refused with it" 1 'takes one folder' "$RAMET" build text.tar refused.erofs --compress lz4
else
  skip "an erofs is compressed by mkfs.erofs" "there is none with lz4hc"
fi
mkdir liar && printf '#!/bin/sh\nexec /usr/bin/mkfs.erofs "$@" --exclude-path=numbers\n' > liar/mkfs.erofs && chmod 755 liar/mkfs.erofs
if [ -d text ]; then
  refused "an entry that mkfs.erofs leaves out is found" 1 'did not store /(link|numbers) as it is' \
    env PATH="$scratch/liar:$PATH" "$RAMET" build text refused.erofs --compress lz4
fi
refused "without mkfs.erofs compression is refused, with what to do" 1 'install erofs-utils' \
  env PATH=/nonexistent "$RAMET" build edges refused.erofs --compress lz4

refused "--size is refused" 1 'an erofs is as large as its content' "$RAMET" build edges refused.erofs --size 1G
refused "--dedupe is refused for squashfs, by name" 1 'squashfs.*--dedupe' "$RAMET" build edges refused.squashfs --dedupe
refused "--dedupe is refused for ext4, by name" 1 'ext4.*--dedupe' "$RAMET" build edges refused.ext4 --dedupe
check "nothing was left by what was refused" sh -c '[ ! -e refused.erofs ] && [ ! -e refused.squashfs ] && [ ! -e refused.ext4 ]'
# A file size limit in blocks of 512 bytes (POSIX), wherever it falls.
for limit in 128 2000 12000; do
  refused "a file size limit of $limit blocks ends in a sentence" 1 'cannot (write the image|make the image)' \
    sh -c "ulimit -f $limit; exec \"\$RAMET\" build chunks limited.erofs"
done
if [ "$(id -u)" = 0 ] && mkdir small && mount -t tmpfs -o size=1M none small 2> out; then
  refused "a full disk ends in a sentence" 1 'No space left' "$RAMET" build chunks small/full.erofs
  check "nothing is left on it" sh -c '[ -z "$(ls -A small)" ]'
  umount small
else
  skip "a full disk ends in a sentence" "no small filesystem can be mounted here"
fi
finish
