#!/bin/sh
# The same tree gives the same bytes: on every run, from a copy, whatever the number of CPUs.
. "$(dirname "$0")/lib.sh"
need taskset python3 setfattr setfacl sha256sum
[ "$(id -u)" = 0 ] || { echo "1..0 # SKIP only root makes the tree with its owners and devices"; exit 0; }
cd "$scratch" || exit 1
"$SOURCE_ROOT/tests/torture-tree" tree 3000
rm -rf tree/deep tree/sparse/all-hole # cp cannot copy the one; the other, without holes, takes long
touch -d @1600000000.123456789 tree/sparse tree
mkdir other && touch other/a other/b # inode numbers differ in the copy
cp -a tree other/copy

digest() { sha256sum < "$1" | cut -c1-64; }
for format in squashfs erofs ext4; do
  "$RAMET" build tree "first.$format" > out 2>&1
  "$RAMET" build tree "again.$format" > out 2>&1
  taskset -c 0 "$RAMET" build tree "one.$format" > out 2>&1
  "$RAMET" build other/copy "copy.$format" > out 2>&1
  check "$format: two runs give the same bytes" cmp "first.$format" "again.$format"
  check "$format: one CPU gives the same bytes" cmp "first.$format" "one.$format"
  check "$format: a copy of the tree gives the same bytes" cmp "first.$format" "copy.$format"
  SOURCE_DATE_EPOCH=1234567890 "$RAMET" build tree "epoch.$format" > out 2>&1
  check "$format: SOURCE_DATE_EPOCH changes the bytes" sh -c '! cmp -s "$0" "$1"' "first.$format" "epoch.$format"
done
cp -a --sparse=never tree other/full
check "squashfs: holes filled with zeros give the same bytes" sh -c \
  '"$RAMET" build other/full full.squashfs 2> /dev/null && cmp first.squashfs full.squashfs'
unsquashfs -s epoch.squashfs | grep -q '2009' && ok "SOURCE_DATE_EPOCH is the squashfs's time" ||
  not_ok "SOURCE_DATE_EPOCH is the squashfs's time" "$(unsquashfs -s epoch.squashfs)"
check "SOURCE_DATE_EPOCH is the ext4's time" sh -c 'dumpe2fs -h epoch.ext4 2> /dev/null | grep -q "created: .*2009"'

# Golden digests: of a tree that depends on nothing around. Other versions of the libraries may
# compress or lay out differently, so they are held to the versions the digests were made with.
python3 - << 'END'
import os
os.makedirs("golden/folder")
for number in range(300):
    with open("golden/folder/file-%d" % number, "wb") as file:
        file.write(b"%d\n" % number * number)
os.symlink("folder/file-1", "golden/link")
os.link("golden/folder/file-2", "golden/hard")
for top, folders, files in os.walk("golden", topdown=False):
    for name in files + folders:
        path = os.path.join(top, name)
        if not os.path.islink(path):
            os.chmod(path, 0o755)
        os.chown(path, 7, 70000, follow_symlinks=False)
        os.utime(path, ns=(10**18, 10**18), follow_symlinks=False)
os.chmod("golden", 0o755)
os.chown("golden", 0, 0)
os.utime("golden", ns=(10**18, 10**18))
END
golden() {
  format=$1 expected=$2 package=$3 version=$4
  found=$(dpkg-query -W -f '${Version}' "$package" 2> /dev/null)
  case $found in
    "$version"*) ;;
    *) skip "golden digest of $format" "the digest is for $package $version, not ${found:-none}"; return ;;
  esac
  "$RAMET" build golden "golden.$format" > out
  [ "$(digest "golden.$format")" = "$expected" ] && ok "golden digest of $format" ||
    not_ok "golden digest of $format" "found $(digest "golden.$format")"
}
# The erofs depends on no library.
"$RAMET" build golden golden.erofs > out
[ "$(digest golden.erofs)" = c101d450bfb63275fcf46fa8a06833fac977783012fca6bf80a609219f600185 ] && ok "golden digest of erofs" ||
  not_ok "golden digest of erofs" "found $(digest golden.erofs)"
golden squashfs ad161b132c469c982580c0453dd9ada24c377d9adc3a8bd51e87fc6d98428c82 libsquashfs1 1.2.0
golden ext4 4c04352abdbc4aad2ec8da9c8a18a8853fb8df414c7b748f8281de6252654581 libext2fs2 1.47.0
finish
