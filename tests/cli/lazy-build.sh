#!/bin/sh
# `ramet build --lazy`: no content is read; what is in a lazy image is what is in the folder, layers and
# binds included; what cannot be lazy is refused; sources that changed are named, by whoever meets them.
# That the bytes are those of a plain image is lazy-same.sh's business.
. "$(dirname "$0")/lib.sh"
need python3 cmp getfattr
cd "$scratch" || exit 1
at_exit() { [ -z "${mounted:-}" ] || { kill "$mounted"; wait "$mounted"; } 2> /dev/null; }

mkdir -p tree/d/e other
echo one > tree/one
seq 1 100000 > tree/d/long
ln tree/one tree/d/e/link
ln -s one tree/symlink
: > tree/empty
truncate -s 5M tree/sparse
printf middle | dd of=tree/sparse bs=1 seek=2000000 conv=notrunc status=none
printf end | dd of=tree/sparse bs=1 seek=5000000 conv=notrunc status=none
new=$(printf 'tree/a\nline')
echo odd > "$new"
echo more > other/more

# same IMAGE[+LAYER] FOLDER: all of the image is all of the folder.
same() {
  rm -rf out && mkdir out && "$RAMET" cat "$1:/." | tar -x -C out && rm -rf out/lost+found && "$SOURCE_ROOT/tests/tools/tree-diff" "$2" out > differ &&
    [ ! -s differ ] || { cat differ; return 1; }
}
# json IMAGE EXPRESSION: of what inspect says, i.
json() { "$RAMET" inspect --json "$1" | python3 -c "import json, sys; i = json.load(sys.stdin); assert $2, i"; }

# A list of its blocks, of 16 MiB in a squashfs, is more than a stack has.
mkdir large
truncate -s 500G large/file 2> /dev/null && printf end | dd of=large/file bs=1 seek=400000000000 conv=notrunc status=none
large() {
  "$RAMET" build --lazy --format "$1" large large.lazy && "$RAMET" materialize large.lazy large.image && rm large.lazy &&
    "$RAMET" verify large.image | grep -q "500 GiB in 1 file" && rm large.image
}
for format in squashfs erofs ext4; do
  "$RAMET" build --lazy --format $format tree $format.lazy > said
  check "$format: build says what the lazy image takes, and that nothing was read" \
    grep -qE "^[0-9.]+ MiB -> lazy $format of .* metadata, .* tables, no content read, " said
  [ ! -s large/file ] || check "$format: a file of 500 GiB that is nearly all hole is laid out, written and read" large "$format"
  check "$format: cat gives the folder" same $format.lazy tree
  check "$format: ls lists it" sh -c "'$RAMET' ls -R $format.lazy:/ | grep -v '^/lost+found$' > a
    [ \$(wc -l < a) = 10 ] && grep -qx /d/e/link a"
  check "$format: inspect tells of both" json $format.lazy \
    "i['format'] == '$format' and i['lazy']['roots'] == ['$(realpath tree)'] and i['lazy']['files'] == 4 and i['lazy']['image_bytes'] > 600000 > i['file_bytes']"
  check "$format: verify finds it good" sh -c "'$RAMET' verify $format.lazy | grep -q ': good: $format, .* digest right'"
  check "$format: the catalogue knows its format" sh -c "'$RAMET' ls --images | grep -q '^$format .*$format.lazy'"
  check "$format: another build gives the same bytes" sh -c "'$RAMET' build --lazy --format $format tree again > said && cmp again $format.lazy"
  check "$format: an image is made of it" sh -c "'$RAMET' build $format.lazy whole.squashfs > said"
  check "$format: which holds the same" same whole.squashfs tree
done
check "--json tells it too" sh -c "'$RAMET' build --lazy --json tree again | python3 -c 'import json, sys, os
b = json.load(sys.stdin)
assert b[\"bytes_read\"] == 0 and b[\"lazy_extents\"] > 3 and b[\"bytes_written\"] == os.stat(\"again\").st_size
assert b[\"bytes_written\"] == b[\"lazy_metadata_bytes\"] + b[\"lazy_table_bytes\"] and b[\"image_bytes\"] > 600000'"
"$RAMET" build --lazy --format ext4 --size 1G tree large.lazy > said
check "--size makes an ext4's device larger, and not the file" json large.lazy \
  "i['lazy']['image_bytes'] == 1 << 30 and i['file_bytes'] < 1 << 20"

# No byte of content: the source itself counts.
if [ -n "${FUSE_SOURCE:-}" ] && [ -x "$FUSE_SOURCE" ] && [ -e /dev/fuse ] && mkdir mnt; then
  "$FUSE_SOURCE" --count counted tree mnt > ready 2>&1 &
  mounted=$!
  for _ in $(seq 50); do grep -q ready ready && break; sleep 0.1; done
  for format in squashfs erofs ext4; do
    check "$format: no content is read of a source that counts" sh -c \
      "'$RAMET' build --lazy --format $format mnt fuse.lazy > said && [ \"\$(getfattr --only-values -n user.bytes mnt)\" = 0 ]"
  done
  check "and cat reads what it gives out" sh -c \
    "'$RAMET' cat fuse.lazy:/one | cmp - tree/one && [ \"\$(getfattr --only-values -n user.bytes mnt)\" -gt 0 ]"
  kill $mounted; wait $mounted 2> /dev/null; mounted=
else
  skip "no content is read of a source that counts" "no FUSE here"
fi

# Layers, binds, ramet's init.
cp -a tree upper && rm upper/d/e/link && echo two > upper/one && mknod upper/symlink2 p
mkdir lower && cp -a tree/d lower/d && echo below > lower/below
"$RAMET" build --lazy --layer lower --layer upper layers.lazy > said
cp -a upper expected && cp -a lower/below expected && cp -a lower/d/e/link expected/d/e
check "layers are merged, each with its own files" same layers.lazy expected
check "each layer is a root" json layers.lazy "len(i['lazy']['roots']) == 2"
"$RAMET" build --lazy tree binds.lazy --bind other:/srv/other --bind other/more:/etc/more > said
check "a folder and a file are bound" sh -c \
  "'$RAMET' cat binds.lazy:/srv/other/more | cmp - other/more && '$RAMET' cat binds.lazy:/etc/more | cmp - other/more"
for format in squashfs erofs ext4; do
  "$RAMET" build --init --format $format tree init.$format > said && "$RAMET" cat init.$format:/sbin/overlay-init > init
  "$RAMET" build --lazy --init --format $format tree init.lazy > said
  check "$format: ramet's init is part of the metadata" sh -c "'$RAMET' cat init.lazy:/sbin/overlay-init | cmp - init && [ -s init ]"
done

# Layers on lazy images, and lazy ones on others.
cp -a tree changed && echo changed > changed/one && rm changed/empty
for kind in "" --lazy; do
  check "a layer on a lazy image${kind:+, a lazy one}" sh -c "'$RAMET' build $kind changed delta --parent squashfs.lazy > said"
  check "is what differs, and with it the new tree" same squashfs.lazy+delta changed
done

# Nobody reads a file before a guest does, so who may not is told now.
mkdir -m 755 closed && echo 1 > closed/mine && echo 2 > closed/secret && chmod 600 closed/secret && mkdir -m 777 theirs
if [ "$(id -u)" = 0 ] && command -v setpriv > /dev/null && chmod 755 .; then
  other() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@" 2>&1; }
  check "files that the user may not read are told of" sh -c '[ "$1" = "ramet build: /secret may not be read by you: where you serve the image, a guest gets I/O errors for what is in there." ]' \
    - "$(other env RAMET_ROOT="$scratch/theirs/store" "$RAMET" build --lazy closed theirs/it.lazy | grep 'ramet build')"
  check "by fork too" sh -c 'echo "$1" | grep -q "ramet fork: /secret may not be read by you"' \
    - "$(other env RAMET_ROOT="$scratch/theirs/store" "$RAMET" fork closed vm --size 64M)"
  check "and nothing is said when they may" sh -c '! "$RAMET" build --lazy closed all.lazy 2>&1 | grep "may not"'
else
  skip "files that the user may not read are told of" "only root becomes somebody else, with setpriv"
fi

# What cannot be.
tar -cf tree.tar tree
lazily() { refused_lazily=$1 pattern=$2; shift 2; refused "$refused_lazily" 1 "$pattern" "$RAMET" build --lazy "$@"; }
lazily "an archive is refused" 'comes out of tree.tar, .* unpack it into a folder, or build without --lazy' tree.tar no.lazy
lazily "an archive as a layer is refused" 'comes out of tree.tar' --layer tree.tar --layer upper no.lazy
lazily "an image is refused" 'comes out of whole.squashfs' whole.squashfs no.lazy
lazily "--dedupe is refused" 'leave --dedupe away' --dedupe tree no.lazy
lazily "compressed content is refused" 'leave the compression' --format erofs --compress lz4 tree no.lazy
lazily "a file in the folder it is made of is refused" 'which is part of what it is made of' tree tree/no.lazy
check "and nothing was left behind" test ! -e no.lazy -a ! -e tree/no.lazy

# Sources that changed, each named; the others go on.
cp -a tree moving
"$RAMET" build --lazy moving moving.lazy > said
changed() {
  what=$1 pattern=$2
  refused "$what is an error that names it" 1 "$pattern" "$RAMET" cat moving.lazy:/d/long
  "$RAMET" verify moving.lazy > said
  check "$what is found by verify" grep -qE "^moving.lazy: $pattern" said
  check "beside $what the rest is there" sh -c "'$RAMET' cat moving.lazy:/sparse | cmp - tree/sparse"
}
touch moving/d/long
changed "a file with another time" "$scratch/moving/d/long was written to since the lazy image was built"
cp -a tree/d/long moving/d/long && echo more >> moving/d/long
changed "a file that grew" "$scratch/moving/d/long became longer since"
truncate -s 10 moving/d/long
changed "a file that shrank" "$scratch/moving/d/long became shorter since"
cp -a tree/d/long moving/d/keep && mv moving/d/long moving/d/old && ln moving/d/keep moving/d/long
changed "a file that is another one" "$scratch/moving/d/long was replaced since"
rm moving/d/long && ln -s keep moving/d/long
changed "a symlink in a file's place" "$scratch/moving/d/long was replaced since"
rm moving/d/long && mkfifo moving/d/long
changed "a fifo in a file's place" "$scratch/moving/d/long was replaced since"
rm moving/d/long
changed "a file that vanished" "$scratch/moving/d/long vanished since"
mv moving/d/old moving/d/long && cp -a tree/d/long moving/d/long && mv moving/d moving/d2 && ln -s d2 moving/d
changed "a symlink on the way" "$scratch/moving/d/long was replaced since"
mv moving gone
refused "a root that moved is named" 1 "cannot open $scratch/moving, the folder that the lazy image's content is in" \
  "$RAMET" cat moving.lazy:/one
check "its tree is there all the same" sh -c "'$RAMET' ls moving.lazy:/d | grep -qx long"
"$RAMET" verify moving.lazy > said
check "verify says it once" test "$(grep -c "cannot open $scratch/moving" said)" = 1

# Damage.
cp squashfs.lazy bad.lazy && printf x | dd of=bad.lazy bs=1 seek=5000 conv=notrunc status=none
refused "a damaged lazy image is refused" 1 'bad.lazy is damaged: the checksum of its metadata is wrong' "$RAMET" ls bad.lazy:/
"$RAMET" verify bad.lazy > said
check "and verify tells it" grep -q 'bad.lazy: damaged: 1 finding' said
head -c 9000 squashfs.lazy > short.lazy
refused "a truncated one is refused" 1 'short.lazy is truncated: it has 9000 bytes' "$RAMET" inspect short.lazy
cp squashfs.lazy newer.lazy && printf '\002' | dd of=newer.lazy bs=1 seek=8 conv=notrunc status=none
refused "a newer one is refused by its version" 1 'newer.lazy is of version 2 of the lazy format' "$RAMET" ls newer.lazy:/
refused "verify too" 1 'is of version 2' "$RAMET" verify newer.lazy

# A path longer than any system call takes.
python3 - << 'END'
import os
os.mkdir("deep")
fd = os.open("deep", os.O_RDONLY)
for i in range(30):
    os.mkdir("x" * 200, dir_fd=fd)
    fd = os.open("x" * 200, os.O_RDONLY, dir_fd=fd)
with open(os.open("bottom", os.O_WRONLY | os.O_CREAT, dir_fd=fd), "w") as out:
    out.write("here")
END
"$RAMET" build --lazy deep deep.lazy > said
long=$(python3 -c 'print(("/" + "x" * 200) * 30)')
check "a file below a path of 6,000 bytes is found" test "$("$RAMET" cat "deep.lazy:$long/bottom")" = here
finish
