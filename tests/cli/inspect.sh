#!/bin/sh
# ramet inspect: what unsquashfs -s, dumpe2fs -h and dump.erofs say, and what the catalogue knows.
. "$(dirname "$0")/lib.sh"
need mksquashfs unsquashfs mke2fs dumpe2fs python3
export LC_ALL=C TZ=UTC
tree=$scratch/tree
mkdir -p "$tree/d/e" "$tree/empty"
for i in $(seq 50); do seq "$i" 3000 > "$tree/d/file-$i"; done
ln "$tree/d/file-1" "$tree/d/again" && ln "$tree/d/file-1" "$tree/third" && ln -s d "$tree/link" && mkfifo "$tree/fifo"
setfattr -n user.one -v 1 "$tree/d/file-2" && setfattr -n user.two -v 2 "$tree/d/file-2" && setfattr -n user.one -v 1 "$tree/d"
# is IMAGE KEY VALUE NAME: what --json says at KEY ("a.b") is VALUE (Python).
is() {
  "$RAMET" inspect --json "$1" > "$scratch/json" 2>&1
  check "$4" python3 -c 'import json, sys
value = json.load(open(sys.argv[1]))
for key in sys.argv[2].split("."):
    value = value[key]
assert value == eval(sys.argv[3]), value' "$scratch/json" "$2" "$3"
}
field() { sed -n "s/^$1[: ]*//p" "$scratch/said" | sed 's/ .*//' | head -n 1; }

image=$scratch/i.squashfs
mksquashfs "$tree" "$image" -comp gzip -Xcompression-level 5 -b 65536 -quiet -no-progress > /dev/null
unsquashfs -s "$image" > "$scratch/said"
is "$image" format '"squashfs"' "squashfs: the format"
is "$image" version '"4.0"' "squashfs: the version"
is "$image" compression '"gzip"' "squashfs: the compression"
is "$image" level 5 "squashfs: the level, where it is written down"
is "$image" block_size "$(field 'Block size')" "squashfs: the block size that unsquashfs tells"
is "$image" inodes "$(field 'Number of inodes')" "squashfs: the inodes that unsquashfs tells"
is "$image" fragments "$(field 'Number of fragments')" "squashfs: the fragments that unsquashfs tells"
is "$image" used_bytes "$(sed -n 's/^Filesystem size \([0-9]*\) bytes.*/\1/p' "$scratch/said")" "squashfs: the size that unsquashfs tells"
is "$image" time "$(date -d "$(sed -n 's/^Creation or last append time //p' "$scratch/said")" +%s)" "squashfs: the time that unsquashfs tells"
is "$image" exportable True "squashfs: its table for NFS"
mksquashfs "$tree" "$scratch/x.squashfs" -comp zstd -Xcompression-level 7 -no-exports -no-xattrs -quiet -no-progress > /dev/null
is "$scratch/x.squashfs" level 7 "squashfs: the level of zstd"
is "$scratch/x.squashfs" exportable False "squashfs: none of the table for NFS"
mksquashfs "$tree" "$scratch/hc.squashfs" -comp lz4 -Xhc -quiet -no-progress > /dev/null
is "$scratch/hc.squashfs" compression '"lz4hc"' "squashfs: the high lz4"

ext4=$scratch/i.ext4
mke2fs -q -t ext4 -L a-label -U 11112222-3333-4444-5555-666677778888 -J size=4 -d "$tree" "$ext4" 32M > /dev/null
dumpe2fs -h "$ext4" > "$scratch/said" 2> /dev/null
is "$ext4" format '"ext4"' "ext4: the format"
is "$ext4" label '"a-label"' "ext4: the label"
is "$ext4" uuid '"11112222-3333-4444-5555-666677778888"' "ext4: the UUID"
is "$ext4" block_size "$(field 'Block size')" "ext4: the block size that dumpe2fs tells"
is "$ext4" inodes "$(($(field 'Inode count') - $(field 'Free inodes')))" "ext4: the inodes that dumpe2fs tells"
is "$ext4" used_bytes "$((($(field 'Block count') - $(field 'Free blocks')) * $(field 'Block size')))" "ext4: the bytes in use that dumpe2fs tells"
is "$ext4" features "sorted('$(sed -n 's/^Filesystem features: *//p' "$scratch/said")'.split(), key=value.index)" "ext4: the features that dumpe2fs tells, by the same names"
is "$ext4" time "$(date -d "$(sed -n 's/^Filesystem created: *//p' "$scratch/said")" +%s)" "ext4: the time that dumpe2fs tells"
is "$ext4" journal '"clean"' "ext4: the journal's state"
is "$ext4" journal_bytes "4 << 20" "ext4: the journal's size"
is "$ext4" state '"clean"' "ext4: its own state"
debugfs -w -R 'feature needs_recovery' "$ext4" > /dev/null 2>&1
"$RAMET" inspect --no-count --json "$ext4" > "$scratch/json"
check "ext4: a journal that needs recovery, without a look at the tree" grep -q '"journal": "needs recovery"' "$scratch/json"
debugfs -w -R 'feature -needs_recovery' "$ext4" > /dev/null 2>&1
mke2fs -q -t ext4 -O ^has_journal -d "$tree" "$scratch/none.ext4" 32M > /dev/null
is "$scratch/none.ext4" journal '"none"' "ext4: no journal"

if command -v mkfs.erofs > /dev/null && "$RAMET" help build | grep -q erofs; then
  erofs=$scratch/i.erofs
  mkfs.erofs -L -U 11112222-3333-4444-5555-666677778888 "$erofs" "$tree" > /dev/null 2>&1 ||
    mkfs.erofs -U 11112222-3333-4444-5555-666677778888 -T 1700000000 "$erofs" "$tree" > /dev/null 2>&1
  dump.erofs -s "$erofs" > "$scratch/said"
  is "$erofs" format '"erofs"' "EROFS: the format"
  is "$erofs" uuid '"11112222-3333-4444-5555-666677778888"' "EROFS: the UUID"
  is "$erofs" inodes "$(sed -n 's/^Filesystem inode count: *//p' "$scratch/said")" "EROFS: the inodes that dump.erofs tells"
  is "$erofs" used_bytes "$(($(sed -n 's/^Filesystem blocks: *//p' "$scratch/said") * 4096))" "EROFS: the blocks that dump.erofs tells"
  is "$erofs" time 1700000000 "EROFS: the time"
  is "$erofs" compression '"none"' "EROFS: no compression"
  mkfs.erofs -zlz4hc "$scratch/lz4.erofs" "$tree" > /dev/null 2>&1 &&
    is "$scratch/lz4.erofs" compression '"lz4"' "EROFS: compressed ones are told of, too"
fi

# The tree, counted; as find counts it.
for i in "$image" "$ext4"; do
  name=${i##*.} more=0
  [ "$name" = squashfs ] || more=1 # lost+found
  is "$i" counts.files "$(find "$tree" -type f -printf '%i\n' | sort -u | wc -l)" "$name: files, each once"
  is "$i" counts.directories "$(($(find "$tree" -type d | wc -l) + more))" "$name: directories"
  is "$i" counts.symlinks 1 "$name: symlinks"
  is "$i" counts.fifos 1 "$name: fifos"
  is "$i" counts.hard_links 2 "$name: further names"
  is "$i" counts.entries "$(($(find "$tree" | wc -l) + more))" "$name: all names"
  is "$i" counts.xattrs 3 "$name: attributes"
  is "$i" counts.with_xattrs 2 "$name: objects that have some"
  is "$i" content_bytes "$(find "$tree" -type f -printf '%i %s\n' | sort -u | awk '{s += $2} END {print s}')" "$name: bytes of content"
  is "$i" file_bytes "$(stat -c %s "$i")" "$name: bytes of the file"
  is "$i" layer False "$name: it is no layer"
done

# What the catalogue knows.
is "$image" catalogue None "an image that is not in the catalogue"
"$RAMET" build "$tree" "$scratch/base.squashfs" --bind "$tree/d:/bound:ro" > /dev/null
"$RAMET" fork "$scratch/base.squashfs" vm --count 3 --size 64M > /dev/null
is "$scratch/base.squashfs" digest "'sha256:$(sha256sum < "$scratch/base.squashfs" | cut -c 1-64)'" "the digest"
is "$scratch/base.squashfs" catalogue.forks '["vm-1", "vm-2", "vm-3"]' "the forks that stand on it"
is "$scratch/base.squashfs" catalogue.read_only_paths '["/bound"]' "the paths that are read-only in the guest"
is "$image" digest None "no digest of what nobody read"
"$RAMET" inspect --digest "$image" > /dev/null
is "$image" digest "'sha256:$(sha256sum < "$image" | cut -c 1-64)'" "--digest makes it, and it is kept"
"$RAMET" inspect "$scratch/base.squashfs" > "$scratch/text"
check "the text names the format" grep -qx 'format  *squashfs 4.0' "$scratch/text"
check "the text names the forks" grep -qx 'forks  *3: vm-1, vm-2, vm-3' "$scratch/text"

# A layer of an overlay, by its marks.
mkdir -p "$scratch/layer/opaque"
if mknod "$scratch/layer/gone" c 0 0 2> /dev/null && setfattr -n trusted.overlay.opaque -v y "$scratch/layer/opaque"; then
  "$RAMET" build "$scratch/layer" "$scratch/layer.squashfs" > /dev/null
  is "$scratch/layer.squashfs" counts.whiteouts 1 "a layer: what it deletes"
  is "$scratch/layer.squashfs" counts.opaque_directories 1 "a layer: what it hides"
  is "$scratch/layer.squashfs" layer True "a layer is one"
else
  skip "a layer" "no right to make devices"
fi

refused "no image" 2 'it needs IMAGE' "$RAMET" inspect
refused "an image that is not there" 1 'No such file' "$RAMET" inspect "$scratch/none"
refused "a file that is no image" 1 'is not an image' "$RAMET" inspect "$tree/d/file-1"
head -c 9000 "$image" > "$scratch/short.squashfs"
refused "an image that is cut off" 1 'truncated squashfs' "$RAMET" inspect "$scratch/short.squashfs"
printf '\033[31m' | dd of="$ext4" bs=1 seek=$((1024 + 120)) conv=notrunc status=none
"$RAMET" inspect --no-count "$ext4" > "$scratch/text" 2>&1
check "a label cannot move the cursor" sh -c "! grep -q \"\$(printf '\\033')\" '$scratch/text'"
finish
