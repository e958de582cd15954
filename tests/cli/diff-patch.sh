#!/bin/sh
# ramet diff --patch: git apply on a copy of the base yields what the guest has.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/volume.sh"
need mksquashfs git
need_overlay
export GIT_CONFIG_GLOBAL="$scratch/gitconfig" GIT_CONFIG_NOSYSTEM=1
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
umask 022
seed=${SEED:-$(date +%s)}
echo "# SEED=$seed"

# A working copy, with files of many sorts.
work=$scratch/tree/workspace
mkdir -p "$work/src" "$work/assets" "$scratch/tree/etc"
echo root > "$scratch/tree/etc/passwd"
(cd "$work" && perl -e 'srand shift;
  for my $n (1..60) {
    open my $f, ">", "src/file $n.txt" or die;
    print $f "line ", int rand 30, "\n" for 1..rand 200;
    print $f "no end" if rand() < .2;
  }' "$seed")
for i in 1 2 3 4 5; do head -c $((i * 70001)) /dev/urandom > "$work/assets/$i.bin"; done
ln -s src "$work/link"
printf '#!/bin/sh\n' > "$work/run" && chmod 755 "$work/run"
git -C "$work" init -q && git -C "$work" add -A && git -C "$work" commit -qm base
base=$scratch/base.squashfs
mksquashfs "$scratch/tree" "$base" -quiet -no-progress -comp gzip > /dev/null
"$RAMET" fork "$base" vm --count 2 --size 100M > /dev/null

edit_worktree() (
  cd "$1" || exit 1
  perl -e 'srand shift;
    for my $f (sort glob "src/file\\ *") {
      my $fate = int rand 8;
      if ($fate == 0) { unlink $f }
      elsif ($fate == 1) { chmod 0755, $f }
      elsif ($fate == 2) { unlink $f; symlink "../run", $f }
      elsif ($fate == 3) { unlink $f; mkdir $f; open my $o, ">", "$f/inside"; print $o "in\n" }
      elsif ($fate < 7) {
        open my $i, "<", $f; my @l = grep { rand() > .05 } <$i>; close $i;
        open my $o, ">", $f; print $o map { rand() < .05 ? ("new " . int(rand 9) . "\n", $_) : $_ } @l;
      }
    }' "$2"
  rm assets/1.bin
  head -c 50000 /dev/urandom > assets/2.bin
  printf '\0' | dd of=assets/3.bin bs=1 seek=1000 conv=notrunc status=none
  echo 'text now' > assets/4.bin
  rm link && mkdir link && echo d > link/inside
  chmod 644 run
  mkdir -p 'new folder' && echo 'n' > "new folder/$(printf 'q"uo\te\\d')" && touch 'new folder/empty'
  echo latin > "new folder/$(printf 'l\351')"
)
vm_mount vm-1 "$base"
edit_worktree "$vm/workspace" "$seed"
echo changed >> "$vm/etc/passwd"
cp -a "$vm/workspace" "$scratch/truth"
vm_umount

cp -a "$scratch/lower/workspace" "$scratch/clone"
apply() ( cd "$scratch/clone" && "$RAMET" diff vm-1 --patch -- /workspace | git apply --whitespace=nowarn )
check "the patch of one folder applies in a clone" apply
rm -rf "$scratch/clone/.git" "$scratch/truth/.git"
check "and yields the guest's tree" diff -r --no-dereference "$scratch/clone" "$scratch/truth"
modes() { (cd "$1" && find . -type f -printf '%m %p\n' | sort); }
modes "$scratch/clone" > "$scratch/a"
modes "$scratch/truth" > "$scratch/b"
check "with the same permissions" cmp "$scratch/a" "$scratch/b"

mkdir "$scratch/whole" && cp -a "$scratch/lower/." "$scratch/whole"
apply_whole() ( cd "$scratch/whole" && "$RAMET" diff vm-1 --patch | git apply --whitespace=nowarn )
check "without a path it is relative to the root" apply_whole
check "and has what is elsewhere too" grep -q changed "$scratch/whole/etc/passwd"

# git commits in the VM change .git, which git apply will not touch; it is said and left out.
vm_mount vm-2 "$base"
(cd "$vm/workspace" && git commit -q --allow-empty -m more && mkdir empty && mkfifo fifo && echo x > file && chown 12:34 run)
vm_umount
rm -rf "$scratch/clone" && cp -a "$scratch/lower/workspace" "$scratch/clone"
"$RAMET" diff vm-2 --patch -- /workspace > "$scratch/patch" 2> "$scratch/note"
check "a patch with .git left out applies" sh -c "cd '$scratch/clone' && git apply '$scratch/patch' && [ -e file ]"
count=$("$RAMET" diff vm-2 -- /workspace | grep -vc '/file$')
check "and what was left out is counted" grep -qE "note: [0-9]+ changes cannot" "$scratch/note"
echo "# $count listed besides; $(cat "$scratch/note")"
finish
