#!/bin/sh
# ramet diff of volumes that a guest damaged: one sentence and status 1, or the right answer; never a
# crash, and never long.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/volume.sh"
need mksquashfs debugfs dumpe2fs perl
mkdir -p "$scratch/tree/d" && echo x > "$scratch/tree/d/x"
base=$scratch/base.squashfs
mksquashfs "$scratch/tree" "$base" -quiet -no-progress > /dev/null
"$RAMET" fork "$base" vm --size 64M > /dev/null
volume=$(volume_of vm)

# What a VM left: files and folders in the upper directory, written without a kernel.
printf '%s\n' text > "$scratch/text"
head -c 600000 /dev/urandom > "$scratch/data"
printf '%s\n' "mkdir root" "mkdir work" "cd root" "mkdir d" "cd d" "write $scratch/text y" "write $scratch/data data" \
  "mkdir e" "cd e" "mkdir f" "symlink link target" > "$scratch/commands"
debugfs -w -f "$scratch/commands" "$volume" > /dev/null 2>&1
cp --sparse=always "$volume" "$scratch/good"
"$RAMET" diff vm > "$scratch/list"
check "the volume is fine before" test "$(wc -l < "$scratch/list")" = 5

# one_sentence FORM...: status 0, or status 1 with one line.
one_sentence() {
  status=0
  timeout 60 "$RAMET" diff vm "$@" > "$scratch/.out" 2> "$scratch/.err" || status=$?
  case $status in
    0) ;;
    1) [ "$(grep -vc 'diff: note:' "$scratch/.err")" = 1 ] && grep -q 'vm' "$scratch/.err" ;;
    *) false ;;
  esac || { echo "status $status: $(cat "$scratch/.err")"; return 1; }
}
every_form() {
  one_sentence && one_sentence --json && one_sentence --tar "$scratch/out.tar" && one_sentence --patch
}
# damage NAME PATTERN COMMAND: the command (debugfs') makes the damage; the sentence matches.
damage() {
  cp --sparse=always "$scratch/good" "$volume"
  echo "$3" | debugfs -w -f - "$volume" > /dev/null 2>&1
  refused "$1" 1 "$2" timeout 60 "$RAMET" diff vm
  check "$1, in every form" every_form
}
where='the volume of fork vm'
damage "a root that is a file" "$where.*" "sif / mode 0100644"
damage "an upper directory that is a file" "$where.*" "sif /root mode 0100644"
damage "a directory in itself" "$where.*(loop|second place|another place)" "ln /root/d /root/d/e/again"
damage "a directory in two places" "$where.*" "ln /root/d/e /root/other"
damage "an entry for a cleared inode" "$where.*" "clri /root/d/y"
damage "a block pointer out of range" "$where.*" "sif /root/d bmap[0] 99999999"
damage "an extent tree that is none" "$where.*" "sif /root/d block[0] 0x1234"
damage "an inode count that is absurd" "$where.*" "ssv inodes_count 4294967295"
damage "a block size that is absurd" "$where.*" "ssv log_block_size 60"
damage "a journal that is needed and none" "$where.*" "feature needs_recovery
sif <8> block[0] 0x1234"
damage "a journal that is no inode's" "$where.*" "feature needs_recovery
ssv journal_inum 99999999"

cp --sparse=always "$scratch/good" "$volume"
printf '\0\0' | dd of="$volume" bs=1 seek=1080 conv=notrunc status=none
refused "a superblock without magic" 1 "$where.*" timeout 60 "$RAMET" diff vm

cp --sparse=always "$scratch/good" "$volume"
truncate -s 3M "$volume"
refused "a volume that is cut off" 1 "$where.*" timeout 60 "$RAMET" diff vm
: > "$volume"
refused "a volume that is empty" 1 "$where.*" timeout 60 "$RAMET" diff vm

# A file of 2^43 bytes that are one hole costs nothing.
cp --sparse=always "$scratch/good" "$volume"
echo "sif /root/d/y size 0x7ffffffffff" | debugfs -w -f - "$volume" > /dev/null 2>&1
check "a file of nothing but a hole ends soon" every_form

# Random bytes in what is in use.
seed=${SEED:-$(date +%s)}
echo "# SEED=$seed"
random_damage() {
  for round in $(seq "${ROUNDS:-40}"); do
    cp --sparse=always "$scratch/good" "$volume"
    perl -e 'srand $ARGV[1]; open my $f, "+<", $ARGV[0] or die;
      my @places; my $block; my $at = 0;
      while (read $f, $block, 4096) { push @places, $at if $block =~ /[^\0]/; $at += 4096; }
      for (1 .. 1 + int rand 8) {
        seek $f, $places[rand @places] + (rand() < .7 ? int rand 512 : int rand 4096), 0;
        print $f pack "N", rand() < .5 ? int rand 2 ** 32 : int rand 300 }' "$volume" $((seed + round))
    every_form || { echo "round $round, seed $((seed + round))"; return 1; }
  done
}
check "random damage ends in an answer or one sentence" random_damage
finish
