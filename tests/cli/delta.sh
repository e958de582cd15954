#!/bin/sh
# ramet build --parent: the layer over its parent, put together by the kernel's own overlayfs, is the
# new tree; what is taken for unchanged; what is refused.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/edits.sh"
tools=$(dirname "$0")/../tools
need perl python3 getfattr setfattr setcap
mnt=$scratch/mnt
at_exit() { umount -R "$mnt/merged" "$mnt"/[0-9] 2> /dev/null; }
mkdir -p "$mnt/merged"
if [ "$(id -u)" = 0 ]; then
  mkdir "$mnt/l" "$mnt/m"
  mount -t overlay none -o "ro,lowerdir=$mnt/l:$mnt/m" "$mnt/merged" 2> "$scratch/why" && umount "$mnt/merged" ||
    { skip "the kernel puts layers together" "overlayfs cannot be mounted here: $(cat "$scratch/why")"; finish; }
else
  skip "the kernel puts layers together" "mounting needs root"
  finish
fi

# merge IMAGE...: the bottom one first, mounted as one tree at $mnt/merged.
merge() {
  umount -R "$mnt/merged" "$mnt"/[0-9] 2> /dev/null
  lower='' place=0
  for image in "$@"; do
    mkdir -p "$mnt/$place"
    mount -o loop,ro "$image" "$mnt/$place" || return 1
    lower=$mnt/$place${lower:+:$lower}
    place=$((place + 1))
  done
  if [ $# = 1 ]; then
    mount --bind "$mnt/0" "$mnt/merged"
  else
    mount -t overlay none -o "ro,lowerdir=$lower" "$mnt/merged"
  fi
}
# Groups of names of one file, a line each, one name a group's first.
groups() { (cd "$1" && find . ! -type d -links +1 -printf '%i %p\0' | sort -z | perl -0ne '
  chomp; my ($i, $p) = split / /, $_, 2; push @{$g{$i}}, $p; END { print join("\0", sort @$_), "\n" for values %g }' | LC_ALL=C sort); }
# same_tree FOLDER: it is what is mounted at $mnt/merged. An ext4 layer brings its lost+found.
same_tree() {
  "$tools/tree-diff" "$mnt/merged" "$1" | grep -vx "D /lost+found" > "$scratch/differences"
  if [ -s "$scratch/differences" ]; then
    head -n 20 "$scratch/differences"
    return 1
  fi
}
# Names of one file in the new tree are names of one file in the merged one.
same_links() {
  groups "$1" > "$scratch/links-new"
  perl -e 'my ($merged, $list) = @ARGV; open my $in, "<", $list or die; while (<$in>) { chomp;
    my @names = split /\0/; my %inodes; $inodes{(lstat "$merged/$_")[1]}++ for @names;
    print "not one file: @names\n" if keys %inodes > 1 }' "$mnt/merged" "$scratch/links-new" > "$scratch/apart"
  ! [ -s "$scratch/apart" ] || { cat "$scratch/apart"; return 1; }
}
is_merged() { merge "$1" "$2" && same_tree "$3" && same_links "$3"; }

base_tree "$scratch/old"
cp -a "$scratch/old" "$scratch/new"
guest_edits "$scratch/new"
# squashfs keeps neither POSIX ACLs nor fractions of a second.
find "$scratch/new" -type f -exec setfacl -b {} + 2> /dev/null
for parent in squashfs erofs ext4; do
  base=$scratch/base.$parent
  "$RAMET" build "$scratch/old" "$base" --format $parent > /dev/null 2> "$scratch/.err" || {
    skip "layers on $parent" "$(cat "$scratch/.err")"
    continue
  }
  for format in squashfs erofs ext4; do
    [ -e "$scratch/base.$format" ] || [ $format != erofs ] || continue
    check "a $format layer on $parent is the new tree" sh -c \
      '"$RAMET" build "$1" "$2" --parent "$3" --format "$4" > "$5"' - \
      "$scratch/new" "$scratch/layer" "$base" $format "$scratch/said"
    check "... as the kernel has it" is_merged "$base" "$scratch/layer" "$scratch/new"
    check "... and says what it is" grep -qE \
      "^a layer on base.$parent: 30 added, 1[0-9] modified, 15 deleted, 4 of another type; [0-9]+ files compared, [0-9]+ taken" "$scratch/said"
    check "a $format layer of nothing new on $parent is empty, and says so" sh -c '
      "$RAMET" build "$1" "$2" --parent "$3" --format "$4" | grep -q "^a layer on base.$5: empty, as nothing differs"' - \
      "$scratch/old" "$scratch/layer" "$base" $format $parent
    check "... as the kernel has it" is_merged "$base" "$scratch/layer" "$scratch/old"
  done
done
umount -R "$mnt/merged" "$mnt"/[0-9] 2> /dev/null

# Random trees, random edits of them, in chains of three.
seed=${SEED:-$(date +%s)}
echo "# SEED=$seed"
chain() {
  rm -rf "$scratch/tree" && mkdir "$scratch/tree"
  "$tools/random-edits" "$1" 60 "$scratch/tree" || return 1
  "$RAMET" build "$scratch/tree" "$scratch/r0" > /dev/null || return 1
  below=$scratch/r0
  for n in 1 2 3; do
    "$tools/random-edits" "$1$n" 25 "$scratch/tree" || return 1
    "$RAMET" build "$scratch/tree" "$scratch/r$n" --parent "$below" > "$scratch/said" || return 1
    below=$below+$scratch/r$n
    # shellcheck disable=SC2046
    merge $(seq -f "$scratch/r%g" 0 $n) || return 1
    same_tree "$scratch/tree" || return 1
    same_links "$scratch/tree" || return 1
  done
  umount -R "$mnt/merged" "$mnt"/[0-9]
}
for run in $(seq "${RUNS:-8}"); do
  check "a chain of random layers is the tree it was made of, seed $((seed + run))" chain $((seed + run))
done
finish
