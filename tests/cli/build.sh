#!/bin/sh
# ramet build: what it says, what it refuses, and that nothing half-made is left.
. "$(dirname "$0")/lib.sh"
need unsquashfs debugfs e2fsck jq
cd "$scratch" || exit 1

mkdir -p tree/bin tree/usr/sbin deps/sub
echo hello > tree/bin/hello
ln -s usr/sbin tree/sbin
echo dependency > deps/sub/file
seq 1 50000 > tree/text

line=$("$RAMET" build tree base.squashfs)
echo "$line" | grep -qE '^[0-9.]+ KiB -> squashfs [0-9.]+ KiB \([0-9.]+ %\), zstd:3, [0-9.]+ s$' &&
  ok "one line says what was made" || not_ok "one line says what was made" "$line"
line=$("$RAMET" build tree base.ext4)
echo "$line" | grep -qE '^[0-9.]+ KiB -> ext4 [0-9.]+ [KM]iB \(a device of [0-9.]+ MiB\), [0-9.]+ s$' &&
  ok "the image's name chooses ext4" || not_ok "the image's name chooses ext4" "$line"
check "--json has the figures" sh -c '
  "$RAMET" build tree j.squashfs --json | jq -e ".entries == 7 and .bytes_read == .content_bytes and
  .image_bytes == .bytes_written and .walk_seconds >= 0 and .format == \"squashfs\""'
check "--format goes before the name" sh -c '"$RAMET" build tree odd.squashfs --format ext4 && e2fsck -fn odd.squashfs'
check "an empty folder is a tree too" sh -c 'mkdir empty && "$RAMET" build empty e.squashfs &&
  unsquashfs -s e.squashfs && "$RAMET" build empty e.ext4 && e2fsck -fn e.ext4'
for word in gzip gzip:1 xz:1 lz4 lz4:2 zstd zstd:1; do
  check "--compression $word is read back" sh -c \
    '"$RAMET" build tree "$0.squashfs" --compression "$0" && rm -rf x && unsquashfs -d x "$0.squashfs" &&
    diff -r --no-dereference tree x' "$word"
done

listing() { unsquashfs -lls "$1" | sed -n 's/.*squashfs-root//p'; }
"$RAMET" build tree b.squashfs --bind deps:/workspace/node_modules:ro --bind tree/text:/workspace/node_modules/text > out
check "a graft and its missing parents are there" sh -c 'unsquashfs -cat b.squashfs workspace/node_modules/sub/file | grep -q dependency'
check "a later graft goes into an earlier one" sh -c 'unsquashfs -cat b.squashfs workspace/node_modules/text | cmp - tree/text'
unsquashfs -lls b.squashfs | grep -q '^drwxr-xr-x root/root .*squashfs-root/workspace$' &&
  ok "made parents are root's, 0755" || not_ok "made parents are root's, 0755" "$(unsquashfs -lls b.squashfs)"
"$RAMET" build tree g.squashfs --bind deps:/sbin > out && listing g.squashfs > list
if grep -q '^/usr/sbin/sub/file$' list && grep -q '^/sbin -> usr/sbin$' list; then
  ok "a graft follows the tree's symlinks inside the tree"
else
  not_ok "a graft follows the tree's symlinks inside the tree" "$(cat list)"
fi
ln -s ../../../.. tree/up
"$RAMET" build tree u.squashfs --bind deps:/up/etc > out && listing u.squashfs | grep -q '^/etc/sub/file$' &&
  ok "a symlink does not lead out of the tree" || not_ok "a symlink does not lead out of the tree"
rm tree/up
"$RAMET" build tree self.squashfs --bind tree:/bin/again > out && listing self.squashfs | grep -q '^/bin/again/bin/hello$' &&
  ok "a folder grafted into itself ends" || not_ok "a folder grafted into itself ends"
"$RAMET" build tree i.squashfs --init > out
unsquashfs -lls i.squashfs | grep -q '^-rwxr-xr-x root/root .*squashfs-root/usr/sbin/overlay-init$' &&
  ok "--init puts the guest's init behind /sbin" || not_ok "--init puts the guest's init behind /sbin" "$(listing i.squashfs)"

ln -s loop tree/loop
refused "a missing source" 1 'nowhere: No such file' "$RAMET" build nowhere x.squashfs
refused "a source that is a file" 1 'tree/text is not a folder' "$RAMET" build tree/text x.squashfs
refused "an unknown format" 2 'squashfs\|erofs\|ext4' "$RAMET" build tree x.squashfs --format vfat
refused "an unknown compression" 1 'there are gzip, xz, lz4 and zstd' "$RAMET" build tree x.squashfs --compression bzip2
refused "a level out of range" 1 'zstd takes a level from 1 to 22' "$RAMET" build tree x.squashfs --compression zstd:23
refused "a level that is no number" 1 'gzip takes a level from 1 to 9' "$RAMET" build tree x.squashfs --compression gzip:best
refused "compression of ext4" 1 'not compressed' "$RAMET" build tree x.ext4 --compression zstd
refused "a size for squashfs" 1 'as large as its content' "$RAMET" build tree x.squashfs --size 1G
refused "a size too small says the size needed" 1 'at least [0-9]+K' "$RAMET" build tree x.ext4 --size 1M
refused "a size beyond ext4" 1 'at most 16 TiB' "$RAMET" build tree x.ext4 --size 1P
refused "a graft to a relative path" 2 'absolute DST' "$RAMET" build tree x.squashfs --bind deps:x
refused "a graft with .." 1 "'\.\.' in it" "$RAMET" build tree x.squashfs --bind deps:/a/../b
refused "a graft onto the root" 1 'the root of the image' "$RAMET" build tree x.squashfs --bind deps:/
refused "a graft through a file" 1 'is not a directory in the image' "$RAMET" build tree x.squashfs --bind deps:/text/x
refused "a graft through a loop of symlinks" 1 'in circles' "$RAMET" build tree x.squashfs --bind deps:/loop/x
refused "a graft of nothing" 1 'cannot bind nowhere' "$RAMET" build tree x.squashfs --bind nowhere:/x
refused "an output inside the source" 1 'part of what it is made of' "$RAMET" build tree tree/x.squashfs
refused "an output inside a graft" 1 'part of what it is made of' "$RAMET" build tree deps/x.squashfs --bind deps:/x
refused "a folder as output" 1 'not a file' "$RAMET" build tree deps
refused "SOURCE_DATE_EPOCH that is no number" 1 'SOURCE_DATE_EPOCH' env SOURCE_DATE_EPOCH=today "$RAMET" build tree x.squashfs
refused "a file size limit" 1 'cannot build x.squashfs: .*File too large' sh -c 'head -c 3000000 /dev/urandom > tree/random; ulimit -f 1000; "$RAMET" build tree x.squashfs'
refused "a file size limit, ext4" 1 'cannot build x.ext4: .*File too large' sh -c 'ulimit -f 1000; "$RAMET" build tree x.ext4'
[ ! -e x.squashfs ] && [ ! -e x.ext4 ] && [ -z "$(find . -name '.*ramet-new*')" ] &&
  ok "nothing is left of what was refused" || not_ok "nothing is left of what was refused" "$(ls -A)"

if [ "$(id -u)" = 0 ]; then
  mkdir small && mount -t tmpfs -o size=2m none small 2> /dev/null && {
    at_exit() { umount "$scratch/small"; }
    for format in squashfs ext4; do
      echo old > small/x.$format
      refused "no space left for $format" 1 'No space left on device' "$RAMET" build tree small/x.$format
      [ "$(cat small/x.$format)" = old ] && [ "$(ls -A small)" = x.$format ] &&
        ok "the old file is still there" || not_ok "the old file is still there" "$(ls -lA small)"
      rm -f small/x.$format
    done
  }
  chmod 0700 "$scratch" && echo secret > tree/secret && chmod 0600 tree/secret
  chmod 0755 "$scratch"
  mkdir -m 0777 anyone
  if runuser -u nobody -- "$RAMET" --version > /dev/null 2>&1; then
    refused "an unreadable file is named" 1 'cannot read tree/secret: Permission denied' \
      runuser -u nobody -- env RAMET_ROOT="$scratch/anyone/store" "$RAMET" build tree anyone/x.squashfs
    mkdir -m 0700 tree/closed
    refused "an unreadable folder is named" 1 'tree/closed: Permission denied' \
      runuser -u nobody -- env RAMET_ROOT="$scratch/anyone/store" "$RAMET" build tree anyone/x.squashfs
    rmdir tree/closed
    chmod 0644 tree/secret
    check "nobody builds without any right" runuser -u nobody -- \
      env RAMET_ROOT="$scratch/anyone/store" "$RAMET" build tree anyone/x.ext4
  else
    skip "an unreadable file is named" "nobody cannot run $RAMET"
  fi
else
  skip "no space left" "only root mounts a small tmpfs"
fi

# A file that is written to while the image is built: the build says so, or it was before or after.
seq 1 3000000 > tree/busy
(while [ ! -e stop ]; do echo more >> tree/busy; done) &
writer=$!
status=0
"$RAMET" build tree busy.squashfs > out 2> err || status=$?
touch stop
wait $writer
[ $status = 1 ] && grep -q 'tree/busy .* while the image was built' err && [ ! -e busy.squashfs ] &&
  ok "a file that is being written to is named" || not_ok "a file that is being written to is named" "status $status" "$(cat err)"

# SIGINT and SIGKILL at many moments leave no file and the old image as it was.
echo old > killed.squashfs
delay=0
while [ $delay -lt 20 ]; do
  for signal in INT KILL; do
    "$RAMET" build tree killed.squashfs > /dev/null 2>&1 &
    victim=$!
    sleep 0.0$delay 2> /dev/null
    kill -$signal $victim 2> /dev/null
    wait $victim 2> /dev/null
  done
  delay=$((delay + 4))
done
if [ "$(cat killed.squashfs)" = old ] || unsquashfs -s killed.squashfs > /dev/null 2>&1; then
  [ -z "$(find . -name '.killed*')" ] && ok "a killed build leaves nothing" ||
    not_ok "a killed build leaves nothing" "$(ls -A)"
else
  not_ok "a killed build leaves nothing" "killed.squashfs is neither old nor whole"
fi

timeout -s TERM 0.3 "$RAMET" build /usr interrupted.squashfs 2> err > /dev/null
[ "$(cat err)" = "ramet: interrupted; nothing half made is left behind." ] && [ ! -e interrupted.squashfs ] &&
  ok "an interrupted build says so and leaves nothing" ||
  not_ok "an interrupted build says so and leaves nothing" "$(cat err)"
finish
