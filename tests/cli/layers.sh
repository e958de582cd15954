#!/bin/sh
# --layer: folders with the whiteouts of container layers, held against umoci; what is on top of what;
# layers that are damaged or cannot be read.
. "$(dirname "$0")/lib.sh"
need unsquashfs setfattr python3
cd "$scratch" || exit 1
manifest=$SOURCE_ROOT/tests/tools/manifest
fresh() { rm -rf low mid top && mkdir low mid top; }
# Paths in an image, a line each.
names() { unsquashfs -l "$1" | sed -n 's,^squashfs-root/,,p'; }
# holds IMAGE PATH...: these and no others.
holds() {
  names "$1" > found
  shift
  printf '%s\n' "$@" | LC_ALL=C sort > expected
  LC_ALL=C sort found | diff expected -
}

fresh
mkdir -p low/dir/sub low/old top/dir top/new top/dir/sub
echo a > low/dir/a && echo b > low/dir/sub/b && echo same > low/old/kept
touch top/dir/.wh.a top/dir/sub/.wh..wh..opq top/dir/sub/c top/.wh.old top/.wh.nothing top/.wh..wh.aufs
check "container whiteouts" sh -c '"$RAMET" build --layer low --layer top x.squashfs'
check "they hide, and are not in the image" holds x.squashfs dir dir/sub dir/sub/c new
mkdir -p top/old && touch top/old/fresh
check "a whiteout hides what is below, not what its own layer has" sh -c '"$RAMET" build --layer low --layer top x.squashfs'
check "a folder beside its whiteout is not merged" holds x.squashfs dir dir/sub dir/sub/c new old old/fresh

if [ "$(id -u)" = 0 ] && command -v umoci > /dev/null; then
  fresh
  mkdir -p low/a/b/c low/d low/e/f mid/a/b mid/g mid/e top/a top/d/n
  for file in low/a/1 low/a/b/2 low/a/b/c/3 low/d/4 low/e/f/5 low/6 mid/a/b/7 mid/g/8 top/a/9 top/d/n/10; do
    echo $file > $file
  done
  ln low/6 low/d/hard && ln -s a low/link && mkfifo low/d/pipe
  touch mid/a/b/.wh.c mid/e/.wh..wh..opq mid/.wh.6 mid/e/own top/.wh.g top/d/.wh.4 top/.wh.link
  mkdir top/link && chmod 700 top/link && chown 3:4 top/link
  find low mid top -exec touch -hd @1600000000 {} +
  umoci init --layout oci > out 2>&1 && umoci new --image oci:x > out 2>&1
  for layer in low mid top; do
    tar --numeric-owner --format=pax --sort=name -C $layer -cf $layer.tar . &&
      umoci raw add-layer --image oci:x $layer.tar > out 2>&1
  done
  check "umoci unpacks the same as an image" umoci unpack --image oci:x bundle
  "$RAMET" build --layer low --layer mid --layer top x.squashfs > out 2>&1
  unsquashfs -no-progress -d unpacked x.squashfs > out 2>&1
  "$manifest" --squashfs --count-names bundle/rootfs > expected
  "$manifest" --squashfs --count-names unpacked > found
  check "the merged tree is what umoci makes of the same layers" diff expected found
else
  skip "the merged tree is what umoci makes of the same layers" "umoci or root is missing"
fi

fresh
mkdir -p low/dir/sub mid/dir top/dir
echo low > low/dir/file && echo low > low/dir/sub/file && echo mid > mid/dir/file && echo top > top/dir/other
check "the first layer is the lowest" sh -c '"$RAMET" build --layer low --layer mid x.squashfs && [ "$(unsquashfs -cat x.squashfs dir/file)" = mid ]'
check "a source lies below the layers" sh -c '"$RAMET" build mid x.squashfs --layer low && [ "$(unsquashfs -cat x.squashfs dir/file)" = low ]'
check "it is the same tree as the source as a layer" sh -c '"$RAMET" build --layer mid --layer low y.squashfs && cmp x.squashfs y.squashfs'
mkdir -p bound && echo bound > bound/file
check "what is bound lies above all" sh -c '"$RAMET" build low x.squashfs --layer mid --bind ./bound:/dir && [ "$(unsquashfs -cat x.squashfs dir/file)" = bound ]'
for format in ext4 squashfs; do
  check "layers become an image of format $format" "$RAMET" build low x.$format --layer mid --layer top --format $format
done
check "the answer counts the merged tree" sh -c '"$RAMET" build --json low x.squashfs --layer mid --layer top | python3 -c "import json, sys; sys.exit(json.load(sys.stdin)[\"entries\"] != 6)"'

check "a hard link of a tar to a file of the folder below" sh -c 'python3 - <<END && "$RAMET" build low x.squashfs --layer link.tar && [ "$(unsquashfs -cat x.squashfs a/second)" = low ] && [ "$(unsquashfs -cat x.squashfs dir/file)" = new ]
import io, tarfile
with tarfile.open("link.tar", "w") as tar:
    link = tarfile.TarInfo("a/second")
    link.type, link.linkname = tarfile.LNKTYPE, "dir/file"
    tar.addfile(link)
    file = tarfile.TarInfo("dir/file")
    file.size = 4
    tar.addfile(file, io.BytesIO(b"new\n"))
END'
check "a folder on a tar on a folder" sh -c '"$RAMET" build low x.squashfs --layer link.tar --layer mid --layer link.tar && [ "$(unsquashfs -cat x.squashfs a/second)" = mid ] && [ "$(unsquashfs -cat x.squashfs dir/sub/file)" = low ]'

setfattr -n user.overlay.redirect -v /dir/sub top/dir
rm -r top/dir/other && mkdir -p top/dir/inside
check "content is found where a moved folder of a source stood" sh -c '"$RAMET" build low x.squashfs --layer top && [ "$(unsquashfs -cat x.squashfs dir/file)" = low ]'
check "and where the moved folder itself stood" holds x.squashfs dir dir/file dir/inside

# Bad layers: one line each, and no image.
bad() {
  bad_name=$1 bad_pattern=$2
  shift 2
  rm -f bad.squashfs
  refused "$bad_name" 1 "$bad_pattern" "$RAMET" build bad.squashfs "$@"
  [ ! -e bad.squashfs ] || not_ok "$bad_name: there is no image"
}
fresh
mkdir -p low/a low/b top/x top/y
for redirect in ../etc /a/../../etc /a//b a/b /a/ / . .. ""; do
  setfattr -n user.overlay.redirect -v "$redirect" top/x
  bad "a redirect '$redirect' leads nowhere" 'top/x has a redirect that is no path' --layer low --layer top
done
setfattr -n user.overlay.redirect -v /a top/x && setfattr -n user.overlay.redirect -v /a top/y
bad "two redirects to one folder" 'top/y is merged with a directory that another' --layer low --layer top
setfattr -x user.overlay.redirect top/y
bad "a redirect to what is still in its place" 'top/x has a redirect to a directory that is still' --layer low --layer top
rmdir top/y && mkdir -p top/a/loop && setfattr -n user.overlay.redirect -v /a top/a/loop && setfattr -n user.overlay.opaque -v n top/a && setfattr -x user.overlay.redirect top/x
bad "a redirect that goes round" 'top/a/loop is merged with a directory that another' --layer low --layer top
fresh
echo four > low/data && echo longer > top/data && setfattr -n user.overlay.metacopy -v y top/data
bad "a metacopy of another size" 'top/data has its content in a file of the layers below' --layer low --layer top
rm low/data && mkdir low/data
bad "a metacopy of a folder" 'top/data has its content' --layer low --layer top
bad "a metacopy of nothing" 'top/data has its content' --layer top
bad "a layer that is not there" 'cannot open nowhere: No such file' --layer low --layer nowhere
fresh
bad "the folder of the image among the layers" 'the image would be written into' --layer low --layer .
refused "neither source nor layer" 2 'a SOURCE and an IMAGE are needed' "$RAMET" build x.squashfs
if [ "$(id -u)" = 0 ] && command -v setpriv > /dev/null; then
  chmod 755 . && chmod 700 top && mkdir -m 777 out-of && chmod 1777 "$scratch"
  bad_as() { setpriv --reuid=65534 --clear-groups env RAMET_ROOT="$scratch/out-of/store" "$@"; }
  refused "a layer that cannot be read" 1 'cannot open top: Permission denied' bad_as "$RAMET" build out-of/x.squashfs --layer low --layer top
  chmod 755 top && mknod top/gone c 0 0
  touch low/gone && tar -cf low.tar -C low gone && "$RAMET" build low low.squashfs > /dev/null
  for below in low.tar low.squashfs; do
    check "a 0/0 device on $below, which is read in a sandbox" sh -c '"$RAMET" build "$0" x.squashfs --layer top && [ -z "$(unsquashfs -l x.squashfs | grep gone)" ]' $below
  done
  check "who cannot see the marks of root is told" sh -c 'setpriv --reuid=65534 --clear-groups env RAMET_ROOT="$0/out-of/store" "$RAMET" build out-of/x.squashfs --layer low --layer top 2>&1 | grep -q "can be read by root alone"' "$scratch"
else
  skip "a layer that cannot be read" "only root can become somebody else"
fi

fresh
python3 - <<'END'
import os
for layer, leaf in (("low", "low"), ("top", "top")):
    fd = os.open(layer, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d" * 9, dir_fd=fd)
        below = os.open("d" * 9, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open(leaf, os.O_CREAT | os.O_WRONLY, dir_fd=fd))
END
check "1,500 folders one in the other, in both layers" sh -c '"$RAMET" build --json --layer low --layer top x.ext4 | python3 -c "import json, sys; sys.exit(json.load(sys.stdin)[\"entries\"] != 1503)"'
finish
