#!/bin/sh
# ramet build from tar archives: every form and compression gives the tree that tar would unpack;
# what no honest tar writes is refused by name, or handled inside the tree.
. "$(dirname "$0")/lib.sh"
need unsquashfs tar python3 gzip xz zstd bzip2 setfattr setfacl
cd "$scratch" || exit 1
tools=$SOURCE_ROOT/tests/tools
dump() { "$BUILD_ROOT/tests/tools/tree-dump" "$@"; }

mkdir -p tree/dir/sub "tree/ünï cödé" tree/empty
echo hello > tree/hello
seq 1 100000 > tree/text
head -c 300000 /dev/urandom > tree/random
ln tree/hello tree/dir/link
ln -s ../hello tree/dir/symlink
ln -s "$(printf 'target%.0s' $(seq 300))" tree/dir/long-symlink
mkfifo tree/fifo
long=$(printf 'long%.0s' $(seq 60))
mkdir -p "tree/$long/$long/$long" && echo deep > "tree/$long/$long/$long/$long"
truncate -s 50M tree/sparse && printf middle | dd of=tree/sparse bs=1 seek=20000000 conv=notrunc 2> /dev/null
printf end >> tree/sparse
truncate -s 3M tree/hole
chmod 4711 tree/random && chmod 1777 tree/empty
touch -d '2001-02-03 04:05:06.789' tree/text
touch -d '1955-11-05 06:15:00.25' tree/hello
if [ "$(id -u)" = 0 ]; then
  mknod tree/null c 1 3
  chown 1000:70000 tree/text
  setfattr -n trusted.t -v yes tree/dir 2> /dev/null
fi
setfattr -n user.name -v value tree/hello
setfattr -n user.binary -v 0x00ff0a3d tree/hello
setfacl -m u:1234:rw,g:nogroup:r tree/text && setfacl -d -m u:nobody:rx tree/dir

# whole FORMAT TAR-OPTIONS...: the archive gives the very tree that the folder gives.
"$RAMET" build tree folder.ext4 > /dev/null && dump ext4 folder.ext4 > folder.dump
"$RAMET" build tree folder.squashfs > /dev/null 2>&1 && dump squashfs folder.squashfs > folder.sdump
same_tree() {
  "$RAMET" build "$1" from.ext4 > /dev/null && dump ext4 from.ext4 > from.dump && cmp folder.dump from.dump &&
    "$RAMET" build "$1" from.squashfs > /dev/null 2>&1 && dump squashfs from.squashfs > from.sdump &&
    cmp folder.sdump from.sdump
}
# ustar and GNU headers have whole seconds, and neither attributes nor ACLs: held against what tar
# itself unpacks.
as_unpacked() {
  rm -rf unpacked && mkdir unpacked && tar --numeric-owner -xpf "$1" -C unpacked &&
    "$RAMET" build unpacked from.ext4 > /dev/null && dump ext4 from.ext4 > unpacked.dump &&
    "$RAMET" build "$1" from.ext4 > /dev/null && dump ext4 from.ext4 > from.dump && cmp unpacked.dump from.dump
}
all="--xattrs --xattrs-include=* --acls"
# shellcheck disable=SC2086
for options in "" "--sparse --sparse-version=0.0" "--sparse --sparse-version=0.1" "--sparse --sparse-version=1.0"; do
  tar -c --format=pax $all $options -C tree -f pax.tar .
  check "pax $options" same_tree pax.tar
done
for options in "" "--sparse"; do
  # shellcheck disable=SC2086
  tar -c --format=gnu $options -C tree -f gnu.tar .
  check "gnu $options" as_unpacked gnu.tar
done
mkdir plain && cp -a tree/dir tree/hello tree/text plain/ && rm plain/dir/long-symlink
for format in ustar v7; do
  tar -c --format=$format -C plain -f $format.tar . 2> /dev/null
  check "$format" as_unpacked $format.tar
done
if command -v bsdtar > /dev/null 2>&1; then
  # A fraction of a second before 1970 is not what bsdtar (3.6) writes.
  cp -a tree bsdtree && touch -d '1955-11-05 06:15:00' bsdtree/hello
  bsdtar -c --format pax -C bsdtree -f bsd.tar .
  check "bsdtar's pax" sh -c '"$RAMET" build bsdtree a.ext4 && "$RAMET" build bsd.tar b.ext4' &&
    dump ext4 a.ext4 > a.dump && dump ext4 b.ext4 > b.dump
  check "gives the same tree" cmp a.dump b.dump
  rm -rf bsdtree
else
  skip "bsdtar's pax" "bsdtar is missing"
fi
# Entries in any order, without a root.
(cd tree && find . -mindepth 1 | sort -r | tar -c --format=pax --no-recursion -T - -f ../reverse.tar)
(cd tree && find . -mindepth 1 | sort | tar -c --format=pax --no-recursion -T - -f ../forward.tar)
check "the order of entries does not matter" sh -c '
  "$RAMET" build forward.tar a.squashfs > a && "$RAMET" build reverse.tar b.squashfs > b' &&
  dump squashfs a.squashfs | grep -v "^/ " > a.dump && dump squashfs b.squashfs | grep -v "^/ " > b.dump
check "nor does it change what the tree is" cmp a.dump b.dump

tar -c --format=pax $all --sparse -C tree -f all.tar .
"$RAMET" build all.tar all.squashfs > /dev/null 2>&1
while read -r name command; do
  command -v "${command%% *}" > /dev/null 2>&1 || { skip "$name" "$command is missing"; continue; }
  $command < all.tar > "all.$name"
  check "$name gives the same bytes" sh -c '"$RAMET" build "$0" x.squashfs && cmp all.squashfs x.squashfs' "all.$name"
done << END
gzip gzip
zstd zstd -q
xz xz -1
bzip2 bzip2
lz4 lz4
lzma lzma -1
END
head -c 200000 all.tar | gzip > members.gz && tail -c +200001 all.tar | gzip >> members.gz
check "gzip in several members" sh -c '"$RAMET" build members.gz x.squashfs && cmp all.squashfs x.squashfs'
head -c 1000 /dev/zero >> members.gz
check "zeros behind a compressed archive" sh -c '"$RAMET" build members.gz x.squashfs && cmp all.squashfs x.squashfs'
head -c 500000 all.tar | zstd -q > frames.zst && tail -c +500001 all.tar | zstd -q >> frames.zst
check "zstd in several frames" sh -c '"$RAMET" build frames.zst x.squashfs && cmp all.squashfs x.squashfs'
cp all.gzip "odd name.squashfs"
check "the content tells what it is, not the name" sh -c '"$RAMET" build "odd name.squashfs" x.squashfs && cmp all.squashfs x.squashfs'
check "with the prefix" sh -c '"$RAMET" build tar:all.zstd x.squashfs && cmp all.squashfs x.squashfs'
mkdir spool
check "a pipe" sh -c 'cat all.gzip | "$RAMET" build - spool/x.squashfs 2> note && cmp all.squashfs spool/x.squashfs &&
  grep -q "kept in a nameless file" note && [ "$(ls -A spool)" = x.squashfs ]'
check "a file as standard input is read where it is" sh -c '"$RAMET" build - x.squashfs < all.gzip 2> note && cmp all.squashfs x.squashfs &&
  ! grep -q "nameless" note'
check "what was read of standard input before is not read again" sh -c '(head -c 512 /dev/zero; cat all.tar) > offset.tar &&
  (dd bs=512 count=1 of=/dev/null 2> /dev/null; "$RAMET" build - x.squashfs 2> /dev/null) < offset.tar && cmp all.squashfs x.squashfs'
check "a pipe by name" sh -c 'mkfifo pipe; cat all.zstd > pipe & "$RAMET" build pipe x.squashfs 2> /dev/null && cmp all.squashfs x.squashfs'
mkdir graft && echo grafted > graft/file
check "grafts go on top" sh -c '"$RAMET" build all.gzip x.squashfs --bind graft:/dir/sub/new:ro --bind graft/file:/text --init &&
  unsquashfs -cat x.squashfs dir/sub/new/file | grep -q grafted && unsquashfs -cat x.squashfs text | grep -q grafted &&
  unsquashfs -ll x.squashfs sbin/overlay-init | grep -q overlay-init'
mkdir -p over/dir over/new && echo new > over/new/file && : > over/.wh.text && : > over/dir/.wh.symlink
tar -c -C over -f over.tar . && tar -c -z -C tree -f lower.tar.gz --exclude=./sparse .
check "an archive over a folder: whiteouts, and the folder is read in the sandbox" sh -c '
  "$RAMET" build tree x.squashfs --layer over.tar --layer over && unsquashfs -cat x.squashfs new/file | grep -q new &&
  unsquashfs -cat x.squashfs hello | grep -q hello && unsquashfs -cat x.squashfs random | cmp - tree/random &&
  ! unsquashfs -ll x.squashfs | grep -E "squashfs-root/(text|dir/symlink|[.]wh)"'
check "an archive over an archive" sh -c '"$RAMET" build lower.tar.gz x.squashfs --layer over.tar &&
  unsquashfs -cat x.squashfs random | cmp - tree/random && ! unsquashfs -ll x.squashfs | grep -E "squashfs-root/(text|[.]wh)"'
check "erofs" sh -c '"$RAMET" build all.gzip x.erofs && "$RAMET" build tree y.erofs'
check "the same bytes with any number of CPUs" sh -c 'taskset -c 0 "$RAMET" build all.gzip x.squashfs && cmp all.squashfs x.squashfs'
check "an empty archive is an empty tree" sh -c 'tar -cf none.tar -T /dev/null && "$RAMET" build none.tar x.squashfs && unsquashfs -ll x.squashfs'

# What no honest tar writes.
python3 "$tools/hostile-tars" hostile || exit 1
rm -f x.squashfs
for archive in hostile/refused/*.tar; do
  refused "refused: $(basename "$archive" .tar)" 1 "$archive" "$RAMET" build "$archive" x.squashfs
done
[ ! -e x.squashfs ] && ok "nothing is left of what was refused" || not_ok "nothing is left of what was refused"
for archive in hostile/handled/*.tar; do
  name=$(basename "$archive" .tar)
  check "handled: $name" sh -c '"$RAMET" build "$0" "$1.squashfs" 2> err && "$RAMET" build "$0" "$1.ext4" 2> err' "$archive" "$name"
done
holds() { [ "$(unsquashfs -cat "$2" "$3" 2> /dev/null)" = "$4" ] && ok "$1" || not_ok "$1" "$(unsquashfs -lls "$2")"; }
holds "an absolute name is inside" absolute.squashfs etc/passwd inside
holds "a symlink leads up to the root at most" symlink-up.squashfs tmp/x inside
holds "an absolute symlink begins at the tree's root" symlink-absolute.squashfs tmp/x inside
holds "the last of many counts" duplicates.squashfs a last
holds "a link keeps what its name meant then" hard-link-before.squashfs b 1
holds "a folder became a file and a folder again" there-and-back.squashfs d/y 3
unsquashfs -ll there-and-back.squashfs | grep -q d/x && not_ok "without what was in it" || ok "without what was in it"
holds "a hard link's target does not leave the tree" hard-link-dot-dot.squashfs x a
holds "300 folders deep" nested-300.squashfs "$(printf 'd/%.0s' $(seq 300))f" deep
holds "names of whiteouts are names" whiteouts.squashfs a a
dump squashfs devices.squashfs > devices
dump ext4 devices.ext4 > devices4
check "devices keep their numbers" sh -c 'grep -q "^/disk .*259:70000" devices && grep -q "^/null .*=1:3" devices &&
  grep -q "^/disk .*259:70000" devices4'

# Cut off anywhere: one sentence with the archive's name, and no image. all.tar itself ends with zeros
# that nobody misses: the last 9 KiB are left alone.
cut_offs() {
  length=$(stat -c %s "$1")
  step=$(((length - $2) / 23))
  at=1
  while [ $at -lt $((length - $2)) ]; do
    head -c $at "$1" > ./cut
    status=0
    "$RAMET" build tar:cut cut.squashfs > /dev/null 2> err || status=$?
    [ $status = 1 ] && [ "$(wc -l < err)" = 1 ] && grep -q cut err && [ ! -e cut.squashfs ] || {
      echo "$1 cut at $at: status $status, $(cat err)"
      return 1
    }
    at=$((at + step))
  done
}
for name in tar gzip zstd xz bzip2; do
  tail_bytes=1
  [ $name = tar ] && tail_bytes=10240
  cut=$(cut_offs all.$name $tail_bytes) && ok "cut off anywhere: $name" || not_ok "cut off anywhere: $name" "$cut"
done
# A byte changed anywhere in what has a checksum: one sentence, or the very same tree (a time in a
# header that nobody reads).
seed=${SEED:-$(date +%s)}
echo "# SEED=$seed"
changes() {
  python3 - "$1" "$seed" 12 << 'END'
import random, sys
data = bytearray(open(sys.argv[1], "rb").read())
random.seed(int(sys.argv[2]))
for i in range(int(sys.argv[3])):
    at = random.randrange(len(data))
    changed = bytearray(data)
    changed[at] ^= 1 << random.randrange(8)
    open("changed.%d" % i, "wb").write(changed)
END
  for changed in changed.*; do
    status=0
    "$RAMET" build tar:$changed x.squashfs > /dev/null 2> err || status=$?
    if [ $status = 0 ]; then
      cmp -s all.squashfs x.squashfs || { echo "$changed of $1 gave another tree"; return 1; }
    else
      [ $status = 1 ] && [ "$(wc -l < err)" = 1 ] && [ ! -e x.squashfs ] || { echo "$changed of $1: $status $(cat err)"; return 1; }
    fi
    rm -f x.squashfs
  done
}
for name in gzip zstd xz bzip2; do
  said=$(changes all.$name) && ok "a changed byte: $name" || not_ok "a changed byte: $name" "$said"
done
refused "garbage behind the compressed archive" 1 'garbage.gz is damaged: its gzip is followed by something else' \
  sh -c 'cp all.gzip garbage.gz; echo garbage >> garbage.gz; "$RAMET" build garbage.gz x.squashfs'

echo nothing > nothing
refused "what is no archive is refused, with the kinds there are" 1 'nothing is not a folder.*docker-archive:.*tar:' "$RAMET" build nothing x.squashfs
refused "nor with the prefix" 1 'nothing is no tar archive' "$RAMET" build tar:nothing x.squashfs
: > zero
refused "an empty file" 1 'zero is not a folder' "$RAMET" build zero x.squashfs
refused "compressed, but no archive" 1 'text.gz is damaged' sh -c 'gzip < nothing > text.gz; "$RAMET" build text.gz x.squashfs'
refused "nothing there" 1 'nowhere.tar: No such file' "$RAMET" build tar:nowhere.tar x.squashfs
refused "a folder with the prefix" 1 'tree is a folder' "$RAMET" build tar:tree x.squashfs
refused "a file size limit" 1 'File too large' sh -c 'ulimit -f 200; "$RAMET" build all.tar x.squashfs'
if [ "$(id -u)" = 0 ] && mkdir small && mount -t tmpfs -o size=300k none small 2> /dev/null; then
  at_exit() { umount "$scratch/small"; }
  refused "no space left" 1 'No space left' "$RAMET" build all.tar small/x.squashfs
  refused "no space left for what comes through a pipe" 1 'cannot keep standard input beside the image: No space left' \
    sh -c 'cat all.tar | "$RAMET" build - small/x.squashfs'
  [ -z "$(ls -A small)" ] && ok "nothing is left there" || not_ok "nothing is left there" "$(ls -lA small)"
else
  skip "no space left" "only root mounts a small tmpfs"
fi

# A bomb ends by the sandbox's limits or as an image, in bounded memory. 1 GiB of zeros.
python3 - << 'END' | gzip -1 > bomb.gz
import sys, tarfile
info = tarfile.TarInfo("zeros")
info.size = 1 << 30
sys.stdout.buffer.write(info.tobuf())
for _ in range(1024):
    sys.stdout.buffer.write(b"\0" * (1 << 20))
sys.stdout.buffer.write(b"\0" * 1024)
END
command -v /usr/bin/time > /dev/null 2>&1 && {
  most=$(/usr/bin/time -f %M "$RAMET" build bomb.gz x.squashfs 2>&1 > /dev/null | tail -n 1)
  [ "$most" -lt 65536 ] && ok "1 GiB in one file takes $most KiB of memory" || not_ok "1 GiB in one file takes $most KiB of memory"
}

# Interrupted and killed: no image, and the sandbox does not outlive its parent.
rm -f x.squashfs
timeout -s INT 0.3 "$RAMET" build bomb.gz x.squashfs --compression xz:9 2> err > /dev/null
[ "$(cat err)" = "ramet: interrupted; nothing half made is left behind." ] && [ ! -e x.squashfs ] &&
  ok "an interrupted build says so and leaves nothing" || not_ok "an interrupted build says so and leaves nothing" "$(cat err)"
"$RAMET" build bomb.gz x.squashfs --compression xz:9 > /dev/null 2> err &
victim=$!
sleep 0.4
child=$(cat /proc/$victim/task/$victim/children 2> /dev/null)
kill -KILL $victim
wait $victim 2> /dev/null
sleep 0.2
[ -n "$child" ] && ! grep -qs '^State:.[^Z]' "/proc/${child% }/status" && [ ! -e x.squashfs ] && ok "a killed build takes its child along" ||
  not_ok "a killed build takes its child along" "child $child"
"$RAMET" build bomb.gz x.squashfs --compression xz:9 > /dev/null 2> err &
victim=$!
sleep 0.4
# shellcheck disable=SC2046
kill -KILL $(cat /proc/$victim/task/$victim/children)
wait $victim
[ $? = 1 ] && grep -q 'bomb.gz cannot be read: its reader was killed' err && [ ! -e x.squashfs ] &&
  ok "a killed reader is said" || not_ok "a killed reader is said" "$(cat err)"
cp all.tar growing.tar
(while [ ! -e stop ]; do touch growing.tar; done) &
writer=$!
status=0
"$RAMET" build growing.tar x.squashfs > /dev/null 2> err || status=$?
touch stop
wait $writer
[ $status = 1 ] && grep -q 'growing.tar was written to while the image was built' err && [ ! -e x.squashfs ] &&
  ok "an archive that is being written to is named" || not_ok "an archive that is being written to is named" "$status $(cat err)"
finish
