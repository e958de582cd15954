#!/bin/sh
# ramet diff: what is a change, in which order, and what happens when it cannot be said.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/volume.sh"
. "$(dirname "$0")/edits.sh"
need mksquashfs jq
need_overlay
base=$scratch/base.squashfs
base_tree "$scratch/tree"
mksquashfs "$scratch/tree" "$base" -quiet -no-progress -comp gzip > /dev/null
"$RAMET" fork "$base" vm --count 3 --size 200M > /dev/null

same() { diff "$1" "$2"; }
"$RAMET" diff vm-1 > "$scratch/none" 2>&1
check "a fork that never ran has no change" test ! -s "$scratch/none"
vm_mount vm-1 "$base"
check "the fork of an empty run mounts" vm_umount
"$RAMET" diff vm-1 > "$scratch/none" 2>&1
check "a run that wrote nothing is no change" test ! -s "$scratch/none"

vm_mount vm-1 "$base"
guest_edits "$vm"
"$TREE_DIFF" "$scratch/lower" "$vm" > "$scratch/truth"
vm_umount
"$RAMET" diff vm-1 > "$scratch/list"
check "the list is what a walk of both trees finds" same "$scratch/truth" "$scratch/list"
check "the list is in the order of bytes" sh -c "cut -c3- '$scratch/list' | grep -v '^\"' | LC_ALL=C sort -c"

"$RAMET" diff vm-1 --json > "$scratch/json"
jq -r '.changes[] | .kind' < "$scratch/json" > "$scratch/kinds"
cut -c1 "$scratch/list" > "$scratch/list-kinds"
check "JSON has the same changes" same "$scratch/list-kinds" "$scratch/kinds"
check "JSON counts them" jq -e '.changes as $c | [.summary[]] | add == ($c | length)' "$scratch/json"
check "JSON keeps names that are not UTF-8" jq -e '.changes[] | select(.path_base64) |
  .path_base64 | @base64d | startswith("/")' "$scratch/json"

grep -E '^. ("?)/(new|etc/hosts)(/|$)' "$scratch/truth" > "$scratch/limited-truth"
"$RAMET" diff vm-1 -- /new /etc/hosts > "$scratch/limited"
check "paths limit the answer" same "$scratch/limited-truth" "$scratch/limited"
refused "a relative path is a wrong use" 2 "not absolute" "$RAMET" diff vm-1 -- etc
refused "a path with .. is refused" 1 "'\.\.'" "$RAMET" diff vm-1 -- /etc/../x
refused "an unknown fork is named" 1 "vm-9" "$RAMET" diff vm-9
refused "two forms at once are a wrong use" 2 "only one" "$RAMET" diff vm-1 --patch --json

mkdir "$scratch/folder"
refused "a tar that cannot be made is told" 1 "folder" "$RAMET" diff vm-1 --tar "$scratch/folder"
status=0
"$RAMET" diff vm-1 > /dev/full 2> "$scratch/err" || status=$?
check "a full disk is one sentence" sh -c "[ $status = 1 ] && [ \$(wc -l < '$scratch/err') = 1 ] && grep -q 'No space' '$scratch/err'"
{ "$RAMET" diff vm-1 --tar - 2> "$scratch/err"; echo "$?" > "$scratch/status"; } | true
check "a reader that goes away is one sentence" sh -c "[ \$(cat '$scratch/status') = 1 ] && [ \$(grep -v note: '$scratch/err' | wc -l) = 1 ]"

# The VM is killed: its last words are in the journal only.
vm_mount vm-2 "$base"
guest_edits "$vm"
sync -f "$vm"
cp --sparse=always "$(volume_of vm-2)" "$scratch/killed"
"$TREE_DIFF" "$scratch/lower" "$vm" > "$scratch/truth"
vm_umount
cp --sparse=always "$scratch/killed" "$(volume_of vm-2)"
sum=$(sha256sum < "$(volume_of vm-2)")
"$RAMET" diff vm-2 > "$scratch/list" 2> "$scratch/note"
check "a killed VM's journal is read" same "$scratch/truth" "$scratch/list"
check "and that is said" grep -q "journal was replayed" "$scratch/note"
check "and the volume is left as it was" test "$sum" = "$(sha256sum < "$(volume_of vm-2)")"

# Somebody holds the fork: an open file description lock, as store/lock.c takes it.
"$RAMET" diff vm-3 > /dev/null
perl -e 'use Fcntl; open my $f, "+<", $ARGV[0] or die; my $l = pack("s! s! x4 q q i x4", F_WRLCK, 0, 0, 0, 0);
  fcntl($f, 37, $l) or die "$!"; $| = 1; print "held\n"; sleep 60' \
  "$RAMET_ROOT/forks/vm-3/lock" > "$scratch/held" &
holder=$!
while [ ! -s "$scratch/held" ] && kill -0 $holder 2> /dev/null; do sleep 0.05; done
refused "a fork in use is refused" 1 "vm-3 is in use" "$RAMET" diff vm-3
kill $holder
wait $holder 2> /dev/null

umount "$scratch/lower"
touch -d 2020-01-01 "$base"
refused "a base that was changed is told" 1 "was changed" "$RAMET" diff vm-1
mv "$base" "$base.away"
refused "a base that is gone is told" 1 "not there any more" "$RAMET" diff vm-1
finish
