#!/bin/sh
# Forks of images that stand one on the other: how they are written, what is refused, and that diff
# and an image of the whole are what the kernel's own overlay of the same layers is.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/volume.sh"
. "$(dirname "$0")/edits.sh"
need mksquashfs python3 jq
mkdir "$scratch/images" && cd "$scratch/images" || exit 1
say() { sed 's/^/# /' "$@"; }

mkdir ../t0 ../t1 ../t2
echo base > ../t0/file && echo one > ../t1/one && echo two > ../t2/two
"$RAMET" build ../t0 base.squashfs > /dev/null 2>&1
"$RAMET" build ../t1 one.ext4 --format ext4 > /dev/null 2>&1
mksquashfs ../t2 two.squashfs -quiet -no-progress > /dev/null

# Words.
check "images with '+' between are one chain" sh -c '
  "$RAMET" fork base.squashfs+one.ext4+two.squashfs vm --count 2 --size 64M |
    grep -q "^vm-1 .. vm-2: 2 forks of base.squashfs+one.ext4+two.squashfs, overlay on file volumes of 64.0 MiB (auto: no reflink, as layers stand on the base"'
"$RAMET" show vm-1 > ../shown
check "show lists the layers" sh -c 'grep -A 1 "^layer " ../shown | grep -c "unchanged since" | grep -qx 2 &&
  grep -q "^layer      $PWD/one.ext4$" ../shown'
check "show --json has them in order" sh -c '"$RAMET" show vm-1 --json | jq -e "[.layers[].format] == [\"ext4\", \"squashfs\"] and
  (.layers[1] | .path == \"$PWD/two.squashfs\" and .state == \"unchanged\") and (.base | endswith(\"/base.squashfs\"))"'
check "ls says how many" sh -c '"$RAMET" ls | grep -q "/base.squashfs + 2 layers$"'
check "ls --images counts forks through layers" sh -c '[ "$("$RAMET" ls --images | grep -c " 2  unchanged ")" = 3 ]'
check "a fork that never ran has no change" sh -c '[ -z "$("$RAMET" diff vm-1)" ]'
cp two.squashfs 'plus+plus.squashfs'
check "a file with a plus sign in its name is one image" sh -c '
  "$RAMET" fork plus+plus.squashfs p1 && ! "$RAMET" show p1 | grep -q "^layer "'
check "a plus sign may be escaped" sh -c '"$RAMET" fork "base.squashfs+plus\\+plus.squashfs" p2 &&
  "$RAMET" show p2 | grep -q "^layer .*/plus+plus.squashfs$"'
cp one.ext4 'base.squashfs+two.squashfs'
refused "a word with two readings is refused, and both have a spelling" 1 \
  "is a file, and a chain.*'\\\\\+'.*'base.squashfs\+\./two.squashfs'" "$RAMET" fork base.squashfs+two.squashfs x
check "one of them is the chain" sh -c '"$RAMET" fork base.squashfs+./two.squashfs p3 &&
  "$RAMET" show p3 | grep -q "^layer .*/two.squashfs$"'
check "the other is the file" sh -c '"$RAMET" fork "base.squashfs\\+two.squashfs" p4 &&
  ! "$RAMET" show p4 | grep -q "^layer "'
rm 'base.squashfs+two.squashfs'

# Refusals.
refused "an empty name is refused" 1 "names no image after a '\+'" "$RAMET" fork base.squashfs+ x
refused "a layer that is not there is named" 1 "cannot open the image none" "$RAMET" fork base.squashfs+none x
echo none > not-one
refused "a layer that is no image is refused" 1 "not an image" "$RAMET" fork base.squashfs+not-one x
refused "a layer that is a folder is refused" 1 "image ../t0 is not a file" "$RAMET" fork base.squashfs+../t0 x
head -c 2000 one.ext4 > cut.ext4
refused "a truncated layer is refused" 1 "cut.ext4" "$RAMET" fork base.squashfs+cut.ext4 x
refused "one image twice is refused" 1 "one.ext4 is in the chain twice" "$RAMET" fork base.squashfs+one.ext4+one.ext4 x
refused "... under another name too" 1 "in the chain twice" "$RAMET" fork base.squashfs+one.ext4+./one.ext4 x
refused "a chain cannot be cloned" 1 "reflink cannot serve.*layers stand on the base" \
  "$RAMET" fork one.ext4+two.squashfs x --provider reflink
for i in $(seq 127); do cp two.squashfs "n$i"; done
word=base.squashfs$(printf '+n%s' $(seq 127))
check "128 images are a chain" "$RAMET" fork "$word" long --size 64M
check "and one tree, by a word that is too long for a name" sh -c '
  "$RAMET" build "$1" ../whole.squashfs > /dev/null && [ "$("$RAMET" cat ../whole.squashfs:/two)" = two ]' - "$word"
check "and have no change" sh -c '[ -z "$("$RAMET" diff long)" ]'
refused "129 are refused, with the way out" 1 "at most 128 images.*129.*--flatten" "$RAMET" fork "$word+one.ext4" x
refused "Firecracker has no room for them" 1 "long has 129 drives, and firecracker has room for 17.*--flatten.*--vmm qemu" \
  "$RAMET" config long --kernel "$RAMET"

# What the catalogue knows of a layer.
mkdir ../t3 && cp ../t0/file ../t3/file && echo delta > ../t3/delta
"$RAMET" build ../t3 delta.squashfs --parent base.squashfs > /dev/null 2>&1
cp ../t3/file ../t3/again && "$RAMET" build ../t3 second.squashfs --parent base.squashfs+delta.squashfs > /dev/null 2>&1
check "a layer is forked on what it was made for" "$RAMET" fork base.squashfs+delta.squashfs d1
check "so is one on a chain" "$RAMET" fork base.squashfs+delta.squashfs+second.squashfs d2
refused "a layer alone is refused, with the chain to write" 1 \
  "delta.squashfs is a layer.*write $PWD/base.squashfs\+delta.squashfs" "$RAMET" fork delta.squashfs x
refused "one of two layers left out is refused" 1 \
  "second.squashfs was made for $PWD/base.squashfs\+$PWD/delta.squashfs, and not for base.squashfs; write $PWD/base.squashfs\+$PWD/delta.squashfs\+second.squashfs" \
  "$RAMET" fork base.squashfs+second.squashfs x
refused "another base is refused" 1 "delta.squashfs was made for $PWD/base.squashfs, and not for one.ext4" \
  "$RAMET" fork one.ext4+delta.squashfs x
refused "a layer between is refused" 1 "was made for.*and not for base.squashfs\+two.squashfs" \
  "$RAMET" fork base.squashfs+two.squashfs+delta.squashfs x
cp base.squashfs copy.squashfs
refused "a copy of the base is another image, as long as nobody knows better" 1 "and not for copy.squashfs" \
  "$RAMET" fork copy.squashfs+delta.squashfs x
"$RAMET" inspect base.squashfs --digest > /dev/null 2>&1 && "$RAMET" inspect copy.squashfs --digest > /dev/null 2>&1
check "once the digests of both are known it is the same" "$RAMET" fork copy.squashfs+delta.squashfs d3

# What becomes of the files.
mv two.squashfs away && "$RAMET" ls > ../listed
check "a layer that is gone is told" grep -q "+ 2 layers (missing)" ../listed
refused "and diff refuses" 1 "the layer of fork vm-1, .*two.squashfs, is not there any more" "$RAMET" diff vm-1
"$RAMET" ls --images > ../listed
check "it is not forgotten while forks stand on it" grep -q "3  missing .*/two.squashfs$" ../listed
mv away two.squashfs && touch -d 2001-01-01 one.ext4
refused "a layer that was changed is told, too" 1 "the layer of fork vm-1, .*one.ext4, was changed" "$RAMET" diff vm-1
touch base.squashfs
refused "a layer is not put on a base that was changed" 1 \
  "was made for .*/base.squashfs as it was then, and that was changed since" "$RAMET" fork base.squashfs+delta.squashfs x
"$RAMET" rm vm-1 vm-2 p3 && rm two.squashfs
check "without forks it is forgotten" sh -c '! "$RAMET" ls --images | grep -q "/two.squashfs$"'
check "nothing is left of what was refused" sh -c '! "$RAMET" ls --names | grep -x x'
cd / || exit 1

# The kernel as judge: layers are what its overlay wrote, in chains of all formats; random edits,
# folders renamed (redirects), emptied, replaced.
need_overlay
seed=${SEED:-$(date +%s)}
echo "# SEED=$seed"
edits=$SOURCE_ROOT/tests/tools/random-edits
at_exit() {
  for mounted in "$vm" "$scratch/whole" "$scratch/upper"; do
    ! mountpoint -q "$mounted" || umount "$mounted" || umount -l "$mounted"
  done
}
mkdir "$scratch/whole"
# overlay TARGET LOWER UPPER WORK REDIRECTS: of the layers' folders, as a guest mounts them.
overlay() {
  mount -t overlay none -o "lowerdir=$2,upperdir=$3,workdir=$4,index=off,metacopy=off,redirect_dir=$5" "$1"
}
rename_some() (
  cd "$1" || exit 1
  for name in usr/share/doc var/cache/deep home/folder-to-file a b; do
    [ ! -d "$name" ] || [ -e "moved-$2" ] || mv "$name" "moved-$2" 2> /dev/null
  done
)
round() {
  rm -rf "$scratch/l" && mkdir "$scratch/l" && rm -f "$scratch"/image[0-9]*
  base_tree "$scratch/l/0" || return 1
  chain=$scratch/image0 lower=$scratch/l/0
  "$RAMET" build "$scratch/l/0" "$chain" > /dev/null || return 1
  for n in $(seq "$2"); do
    mkdir "$scratch/l/$n" "$scratch/l/w$n"
    case $n in *[13579]) redirects=on ;; *) redirects=follow ;; esac
    overlay "$vm" "$lower" "$scratch/l/$n" "$scratch/l/w$n" $redirects || return 1
    if [ "$n" = 2 ]; then guest_edits "$vm" 2> /dev/null; fi
    [ $redirects = follow ] || rename_some "$vm" "$n"
    find "$vm" -type f -exec setfacl -b {} + 2> /dev/null
    "$edits" "$1$n" 15 "$vm" || return 1
    umount "$vm"
    set -- "$1" "$2" squashfs erofs ext4
    shift $((n % 3 + 2)) && format=$1 && set -- "$seed_now" "$count_now"
    "$RAMET" build "$scratch/l/$n" "$scratch/image$n" --format "$format" > /dev/null || return 1
    chain=$chain+$scratch/image$n lower=$scratch/l/$n:$lower
  done
  "$RAMET" rm judged 2> /dev/null
  "$RAMET" fork "$chain" judged --size 200M > /dev/null || return 1
  mount -o loop "$(volume_of judged)" "$scratch/upper" && mkdir "$scratch/upper/root" "$scratch/upper/work" || return 1
  mount -t overlay none -o "ro,lowerdir=$lower,redirect_dir=follow" "$scratch/whole" &&
    overlay "$vm" "$lower" "$scratch/upper/root" "$scratch/upper/work" on || return 1
  rename_some "$vm" volume
  "$edits" "${1}9" 40 "$vm" || return 1
  "$TREE_DIFF" "$scratch/whole" "$vm" > "$scratch/truth"
  umount "$vm" && umount "$scratch/upper" || return 1
  # tree-diff does not compare the roots themselves.
  "$RAMET" diff judged > "$scratch/said" && grep -vx "M /" "$scratch/said" > "$scratch/list"
  diff "$scratch/truth" "$scratch/list" | head -n 20 > "$scratch/wrong"
  # And the images alone, written as one.
  "$RAMET" build "$chain" "$scratch/flat" --format erofs > /dev/null &&
    mount -o loop,ro "$scratch/flat" "$scratch/upper" || return 1
  "$TREE_DIFF" "$scratch/whole" "$scratch/upper" | grep -vx "A /lost+found" >> "$scratch/wrong"
  umount "$scratch/upper" && umount "$scratch/whole" || return 1
  [ -s "$scratch/truth" ] && [ ! -s "$scratch/wrong" ] || { head -n 20 "$scratch/wrong"; return 1; }
}
for count_now in 1 3 3 5 12; do
  seed_now=$((seed + tests))
  check "diff through $count_now layers is what the kernel's overlay says, seed $seed_now" round "$seed_now" "$count_now"
  at_exit 2> /dev/null
done
finish
