#!/bin/sh
# ramet build --parent: the layer over its parent, put together by the kernel's own overlayfs, is the
# new tree; what is taken for unchanged; what is refused.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/edits.sh"
. "$(dirname "$0")/merge.sh"
need_merge

base_tree "$scratch/old"
cp -a "$scratch/old" "$scratch/new"
guest_edits "$scratch/new"
# squashfs keeps no POSIX ACLs.
find "$scratch/new" -type f -exec setfacl -b {} + 2> /dev/null
for parent in squashfs erofs ext4; do
  base=$scratch/base.$parent
  "$RAMET" build "$scratch/old" "$base" > /dev/null
  for format in squashfs erofs ext4; do
    layer=$scratch/layer.$format
    check "a layer in $format on $parent is built" sh -c '"$RAMET" build "$1" "$2" --parent "$3" > "$4"' - \
      "$scratch/new" "$layer" "$base" "$scratch/said"
    check "... says what it is" grep -qE \
      "^a layer on base.$parent: 30 added, 10 modified, 15 deleted, 4 of another type; [0-9]+ files compared, [0-9]+ taken" "$scratch/said"
    check "... and is the new tree, as the kernel has it" merges_to "$scratch/new" "$base" "$layer"
    check "... and as ramet has it" sh -c '"$RAMET" build "$1+$2" "$3/merged.squashfs" > /dev/null &&
      "$RAMET" build "$3/new" "$3/whole.squashfs" > /dev/null' - "$base" "$layer" "$scratch"
    check "... names, owners, links and bytes" merges_to "$scratch/new" "$scratch/merged.squashfs"
    check "a layer in $format of nothing new on $parent is empty, and says so" sh -c '
      "$RAMET" build "$1" "$2" --parent "$3" | grep -q "^a layer on base.$4: empty, as nothing differs"' - \
      "$scratch/old" "$layer" "$base" $parent
    check "... and changes nothing" merges_to "$scratch/old" "$base" "$layer"
  done
done
# Through one format into the next and back.
"$RAMET" build "$scratch/old" "$scratch/one.squashfs" > /dev/null
"$RAMET" build "image:$scratch/one.squashfs" "$scratch/two.erofs" > /dev/null
"$RAMET" build "$scratch/two.erofs" "$scratch/three.ext4" > /dev/null
"$RAMET" build "$scratch/three.ext4" "$scratch/four.squashfs" > /dev/null
check "a squashfs through EROFS and ext4 is the same squashfs, byte by byte" \
  cmp "$scratch/one.squashfs" "$scratch/four.squashfs"
check "... and through a tar" sh -c '"$RAMET" cat "$1/two.erofs:/" | "$RAMET" build - "$1/five.squashfs" > /dev/null 2>&1 &&
  cmp "$1/one.squashfs" "$1/five.squashfs"' - "$scratch"
"$RAMET" build "$scratch/one.squashfs" "$scratch/empty.ext4" --parent "$scratch/one.squashfs" > /dev/null
"$RAMET" build "$scratch/one.squashfs+$scratch/empty.ext4" "$scratch/five.squashfs" > /dev/null
check "the lost+found of an ext4 layer is not part of a tree" cmp "$scratch/one.squashfs" "$scratch/five.squashfs"
check "... nor a change" sh -c '"$RAMET" build "$1/old" "$1/x" --parent "$1/one.squashfs+$1/empty.ext4" | grep -q "nothing differs"' - "$scratch"

# What is taken for unchanged, and what is looked at.
cd "$scratch" || exit 1
mkdir -p t && printf 'first' > t/kept && printf 'first' > t/sneaky && printf 'first' > t/doubtful
touch -d '2020-01-01 12:00:00.5' t/kept t/sneaky
touch -d tomorrow t/doubtful
"$RAMET" build t t.squashfs > /dev/null
printf 'other' > t/sneaky && touch -d '2020-01-01 12:00:00.25' t/sneaky
printf 'other' > t/doubtful && touch -d tomorrow t/doubtful
layer_of() { "$RAMET" build t t.delta --parent t.squashfs "$@" --json > said && unsquashfs -ls t.delta | sed -n 's,^squashfs-root/,,p' | sort | tr '\n' ' '; }
check "size and time, as exact as the parent keeps it, are taken for sameness" test "$(layer_of)" = "doubtful "
check "... and the answer counts both" sh -c 'jq -e ".files_compared == 1 and .files_by_time == 2 and .modified == 1" said > /dev/null'
check "--compare-content looks at all bytes" test "$(layer_of --compare-content)" = "doubtful sneaky "
"$RAMET" build t t.ext4 > /dev/null
printf 'again' > t/sneaky && touch -d '2020-01-01 12:00:00.3' t/sneaky
"$RAMET" build t t.delta --parent t.ext4 > /dev/null
check "an ext4 parent keeps fractions of a second: another one is looked at" sh -c \
  'unsquashfs -ls t.delta | grep -qx squashfs-root/sneaky'
touch -d '2021-01-01' t/kept
"$RAMET" build t t.delta --parent t.ext4 > /dev/null
check "a new time alone is no change" sh -c '! unsquashfs -ls t.delta | grep -qx squashfs-root/kept'
tar -cf t.tar -C t .
"$RAMET" build t.tar t.delta --parent t.ext4 > /dev/null
check "of a stream, whatever has another time counts as changed" sh -c \
  'unsquashfs -ls t.delta | grep -qx squashfs-root/kept'
"$RAMET" build t u.squashfs > /dev/null
tar -cf t.tar -C t kept sneaky
"$RAMET" build t.tar t.delta --parent u.squashfs > /dev/null
check "... and whatever has the same does not" sh -c \
  '[ "$(unsquashfs -lls t.delta | grep -c squashfs-root/)" = 1 ] && unsquashfs -lls t.delta | grep -q "^c.* squashfs-root/doubtful$"'

# What is refused.
"$RAMET" build t v.squashfs --parent u.squashfs > /dev/null
refused "a layer as parent without what is below it" 1 'v.squashfs is a layer.*u.squashfs.*write .*u.squashfs\+' \
  "$RAMET" build t x.squashfs --parent v.squashfs
refused "a layer as source without what is below it" 1 'v.squashfs is a layer' "$RAMET" build image:v.squashfs x.squashfs
check "... with it, it is a source" "$RAMET" build u.squashfs+v.squashfs x.squashfs
refused "a layer over its own parent" 1 'stand on.*another name' "$RAMET" build t u.squashfs --parent u.squashfs
refused "a parent that is not there" 1 'nowhere: No such file' "$RAMET" build t x --parent nowhere
refused "a parent that is no image" 1 't.tar is not an image' "$RAMET" build t x --parent t.tar
refused "--compare-content without a parent" 2 'parent' "$RAMET" build t x --compare-content
mkdir devices && mknod devices/zero c 0 0
refused "a 0/0 device, which would be a whiteout" 1 'zero.*0/0' "$RAMET" build devices x.delta --parent u.squashfs
check "... and nothing is left" test ! -e x.delta
head -c 150 u.squashfs > cut.squashfs
refused "a parent that is cut off" 1 'truncated' "$RAMET" build t x.delta --parent cut.squashfs
cp u.squashfs bad.squashfs && printf '\377\377\377\377\377\377\377\377' | dd of=bad.squashfs bs=1 seek=32 conv=notrunc status=none
refused "a parent that is damaged" 1 'bad.squashfs.*damaged' "$RAMET" build t x.delta --parent bad.squashfs
sleep 0.01; touch u.squashfs
refused "a layer whose parent was changed since" 1 'was changed since' "$RAMET" build t x.delta --parent u.squashfs+v.squashfs

# Random trees, random edits of them, in chains of three.
seed=${SEED:-$(date +%s)}
echo "# SEED=$seed"
format_of() { case $(($1 % 3)) in 0) echo squashfs ;; 1) echo erofs ;; *) echo ext4 ;; esac; }
chain() {
  rm -rf "$scratch/tree" "$scratch"/r[0-9] && mkdir "$scratch/tree"
  "$tools/random-edits" "$1" 60 "$scratch/tree" || return 1
  "$RAMET" build "$scratch/tree" "$scratch/r0" --format "$(format_of "$1")" > /dev/null || return 1
  below=$scratch/r0
  for n in 1 2 3; do
    "$tools/random-edits" "$1$n" 25 "$scratch/tree" || return 1
    "$RAMET" build "$scratch/tree" "$scratch/r$n" --parent "$below" --format "$(format_of $(($1 / 3 + n)))" > /dev/null || return 1
    below=$below+$scratch/r$n
    # shellcheck disable=SC2046
    merges_to "$scratch/tree" $(seq -f "$scratch/r%g" 0 $n) || return 1
  done
  "$RAMET" build "$below" "$scratch/r4" > /dev/null && merges_to "$scratch/tree" "$scratch/r4"
}
for run in $(seq "${RUNS:-8}"); do
  check "a chain of random layers is the tree it was made of, seed $((seed + run))" chain $((seed + run))
done
finish
