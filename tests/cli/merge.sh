# shellcheck shell=sh disable=SC2154
# For tests of layers: images put together by this machine's own overlayfs at $mnt/merged, and held
# against a folder. Sourced after lib.sh. Needs root.
tools=$(cd "$(dirname "$0")/../tools" && pwd)
export LC_ALL=C
mnt=$scratch/mnt

unmerge() { umount "$mnt/merged" 2> /dev/null; umount "$mnt"/[0-9]* 2> /dev/null || :; }
at_exit() { unmerge; }

# need_merge: skip the whole file unless this machine can do that.
need_merge() {
  [ "$(id -u)" = 0 ] || { echo "1..0 # SKIP mounting needs root"; exit 0; }
  need mount umount perl python3 getfattr setfattr setcap
  mkdir -p "$mnt/merged" "$mnt/l" "$mnt/m"
  mount -t overlay none -o "ro,lowerdir=$mnt/l:$mnt/m" "$mnt/merged" 2> /dev/null ||
    { echo "1..0 # SKIP overlayfs cannot be mounted here"; exit 0; }
  unmerge
}
# merge IMAGE...: the bottom one first, mounted as one tree at $mnt/merged.
merge() {
  unmerge
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
# same_tree FOLDER: it is what is mounted at $mnt/merged, entry by entry, without times. An ext4 has
# its own lost+found, wanted or not.
same_tree() {
  "$tools/tree-diff" "$mnt/merged" "$1" 2> /dev/null | grep -avx '[AD] /lost+found' > "$scratch/differences"
  if [ -s "$scratch/differences" ]; then
    head -n 20 "$scratch/differences"
    return 1
  fi
}
# same_links FOLDER: names of one file in it are names of one file at $mnt/merged.
same_links() {
  perl -e '
    use File::Find; my ($merged, $folder) = @ARGV; my %groups;
    find({no_chdir => 1, wanted => sub { my @s = lstat; return if -d _ || $s[3] < 2;
      push @{$groups{$s[1]}}, substr $_, length $folder }}, $folder);
    for my $names (values %groups) { my %inodes; $inodes{(lstat "$merged$_")[1]}++ for @$names;
      print "not one file: @$names\n" if keys %inodes > 1 }' "$mnt/merged" "$1" > "$scratch/apart"
  ! [ -s "$scratch/apart" ] || { cat "$scratch/apart"; return 1; }
}
# merges_to FOLDER IMAGE...
merges_to() {
  merged_folder=$1
  shift
  merge "$@" && same_tree "$merged_folder" && same_links "$merged_folder"
  merged_status=$?
  unmerge
  return $merged_status
}
