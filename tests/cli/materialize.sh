#!/bin/sh
# `ramet materialize`: what it writes, what it refuses, and that nothing is to be seen of an image that did
# not become whole. That the bytes are right is lazy-same.sh's business.
. "$(dirname "$0")/lib.sh"
need unsquashfs cmp python3
cd "$scratch" || exit 1
at_exit() {
  umount "$scratch/small" 2> /dev/null
  "$RAMET" detach vm 2> /dev/null
  "$RAMET" detach other 2> /dev/null
}

mkdir -p tree/folder
seq 1 200000 > tree/long
echo content > tree/folder/file
echo other > tree/other
"$RAMET" build --lazy tree base.lazy > /dev/null || { echo "Bail out! no lazy image"; exit 1; }

# unseen COMMAND...: it fails, and leaves neither base.squashfs nor a trace of it.
unseen() {
  ! "$@" 2> said && [ ! -e base.squashfs ] && [ -z "$(find . -maxdepth 1 -name '.*' -type f ! -name .out ! -name .err)" ]
}

check "the image stands beside the lazy one" sh -c '"$RAMET" materialize base.lazy | grep -q "base.lazy -> base.squashfs: " && unsquashfs -d out -quiet -no-progress base.squashfs > /dev/null && diff -r tree out'
check "the catalogue has it, with its digest" sh -c '"$RAMET" verify base.squashfs | grep -q "digest right"'
check "what is there already is told, and left alone" sh -c \
  'before=$(stat -c %Y.%i base.squashfs); "$RAMET" materialize base.lazy | grep -q "already in .*base.squashfs" && [ "$(stat -c %Y.%i base.squashfs)" = "$before" ]'
check "it goes where it is told to" sh -c '"$RAMET" materialize base.lazy there && cmp there base.squashfs'
check "--json tells what was done" sh -c \
  '"$RAMET" materialize --json base.lazy elsewhere | python3 -c "
import json, sys
(one,) = json.load(sys.stdin)
assert one[\"image\"] == \"elsewhere\" and one[\"format\"] == \"squashfs\" and not one[\"already\"]
assert one[\"content_bytes\"] == sum(map(int, sys.argv[1:])) and one[\"digest\"].startswith(\"sha256:\")" $(stat -c %s tree/long tree/folder/file tree/other)'
rm -f base.squashfs there elsewhere

refused "what is no lazy image is refused" 1 'is no lazy image' "$RAMET" materialize tree/long
refused "neither a fork nor a file is refused" 1 'neither a fork nor a lazy image called nobody' "$RAMET" materialize nobody
cp base.lazy same.lazy
refused "the lazy image does not overwrite itself" 1 'is the lazy image itself' "$RAMET" materialize same.lazy ./same.lazy
check "and is whole afterwards" cmp base.lazy same.lazy
printf x | dd of=same.lazy bs=1 seek=4200 conv=notrunc status=none
refused "a damaged lazy image is refused" 1 'same.lazy is damaged' "$RAMET" materialize same.lazy
head -c 5000 base.lazy > short.lazy
refused "so is a truncated one" 1 'short.lazy' "$RAMET" materialize short.lazy
check "neither left an image" sh -c '! [ -e same.squashfs ] && ! [ -e short.squashfs ]'

# changed WHAT PATTERN COMMAND: after the command the source is not what it was, and is named.
changed() {
  cp -a tree kept
  sh -c "$3"
  if unseen "$RAMET" materialize base.lazy && grep -qE "$2" said; then
    ok "a source that $1 is named, and no image made"
  else
    not_ok "a source that $1 is named, and no image made" "$(cat said)" "$(ls -a)"
  fi
  rm -rf tree && mv kept tree
  rm -f base.lazy base.squashfs
  "$RAMET" build --lazy tree base.lazy > /dev/null
}
changed "grew" 'tree/other became longer' 'echo more >> tree/other'
changed "shrank" 'tree/long became shorter' 'truncate -s 5 tree/long'
changed "was written to in place" 'tree/folder/file was written to' 'sleep 0.02; echo CONTENT > tree/folder/file'
changed "vanished" 'tree/folder/file vanished' 'rm tree/folder/file'
changed "was replaced by its like" 'tree/folder/file was replaced' 'cp -p tree/folder/file x && mv x tree/folder/file'
changed "is a symlink now" 'tree/other was replaced' 'mv tree/other moved; ln -s ../moved tree/other'
changed "is behind a symlink now" 'tree/folder/file vanished' 'mv tree/folder behind; ln -s ../behind tree/folder'
changed "is a fifo now" 'tree/other was replaced' 'rm tree/other; mkfifo tree/other'

# While it is read, at a rate that leaves time for it.
(sleep 0.5; touch tree/long) &
check "a source that changes while it is read is noticed" unseen "$RAMET" materialize base.lazy --bandwidth 1M
wait
check "and named" grep -q 'tree/long was written to' said
rm base.lazy
"$RAMET" build --lazy tree base.lazy > /dev/null

echo precious > base.squashfs
rm tree/other
check "what stood there stays when it fails" sh -c \
  '! "$RAMET" materialize base.lazy 2> /dev/null && [ "$(cat base.squashfs)" = precious ]'
rm base.lazy && "$RAMET" build --lazy tree base.lazy > /dev/null
check "and is replaced when it does not" sh -c '"$RAMET" materialize base.lazy && unsquashfs -l base.squashfs > /dev/null'
"$RAMET" build tree/folder base.squashfs > /dev/null && "$RAMET" fork base.squashfs leaning --size 64M > /dev/null
cp base.squashfs leaned-on
rm base.lazy && "$RAMET" build --lazy tree base.lazy > /dev/null
refused "but not what a fork stands on" 1 "the fork leaning stands on .*base.squashfs.*another name" "$RAMET" materialize base.lazy
check "which stays as it is" cmp base.squashfs leaned-on
"$RAMET" rm leaning
rm base.squashfs

start=$(date +%s%N)
"$RAMET" materialize base.lazy --bandwidth 1M > /dev/null
took=$((($(date +%s%N) - start) / 1000000))
least=$(($(stat -c %s tree/long) * 900 / 1048576))
check "--bandwidth bounds how fast it reads ($took ms, at least $least)" [ "$took" -ge "$least" ]
rm base.squashfs

# killed: at random moments of a slow run.
killed() {
  for moment in 0.05 0.2 0.4 0.6 0.8; do
    "$RAMET" materialize base.lazy --bandwidth 1M > /dev/null 2>&1 &
    pid=$!
    sleep "$moment"
    kill -9 $pid
    wait $pid 2> /dev/null
    [ ! -e base.squashfs ] || return 1
  done
  [ -z "$(find . -maxdepth 1 -name '.*' -type f ! -name .out ! -name .err)" ]
}
check "a killed one leaves nothing" killed
check "and the next one makes the image" sh -c '"$RAMET" materialize base.lazy && unsquashfs -l base.squashfs > /dev/null'
mv base.squashfs kept.squashfs

if [ "$(id -u)" = 0 ] && mkdir small && mount -t tmpfs -o size=600k none small 2> /dev/null; then
  refused "no space left is said" 1 'No space left' "$RAMET" materialize base.lazy small/image
  check "and nothing is left there" sh -c '[ -z "$(ls -A small)" ]'
else
  skip "no space left is said" "only root mounts a small tmpfs"
fi

# A lazy image that another store wrote, or nobody knows who, could name any folder of the host.
cp base.lazy foreign.lazy
refused "a lazy image from elsewhere is not believed" 1 'was not written by this store, and it names the folder .*/tree; .*--source' \
  "$RAMET" materialize foreign.lazy
check "but when its folder is said again" sh -c '"$RAMET" materialize foreign.lazy --source "$PWD/tree" && cmp foreign.squashfs kept.squashfs'

# A fork: its base of its own, made of a folder.
"$RAMET" fork tree vm > /dev/null
refused "a fork of a lazy image has no plain file" 1 "ramet materialize vm" "$RAMET" attach vm --via path
"$RAMET" attach vm --via nbd > served
check "while the fork is served its image is made" sh -c '"$RAMET" materialize vm | grep -q "vm-.*lazy -> .*squashfs"'
plain=$("$RAMET" attach vm --via path | awk '$1 == "base" { print $2 }')
check "from then on the fork has a plain file" unsquashfs -quiet -no-progress -d vm-tree "$plain"
check "of the folder" diff -r tree vm-tree
check "which show tells" sh -c '"$RAMET" show vm | grep -q "^ *materialized as $0\$" && "$RAMET" show vm --json | grep -q "\"base_materialized\": \"$0\""' "$plain"
if command -v nbdcopy > /dev/null; then
  check "and what is served goes on, and gives the same" sh -c 'nbdcopy "$(awk "\$1 == \"base\" { print \$2 }" served)" copy && cmp copy "$0"' "$plain"
else
  skip "and what is served goes on, and gives the same" "nbdcopy is missing"
fi
"$RAMET" detach vm
rm -rf kept && mv tree kept
check "without the folder too" sh -c '"$RAMET" attach vm --via nbd && "$RAMET" detach vm'
mv kept tree
"$RAMET" rm vm
check "and it goes with the fork" sh -c '! [ -e "$0" ]' "$plain"
"$RAMET" fork kept.squashfs whole > /dev/null
refused "a fork that stands on no lazy image has nothing to be made" 1 'stands on no lazy image' "$RAMET" materialize whole
"$RAMET" fork base.lazy other > /dev/null
check "a fork of a lazy file has it beside that" sh -c '"$RAMET" materialize other && cmp base.squashfs kept.squashfs'
check "and where that is changed, the lazy one again" sh -c \
  'echo >> base.squashfs; ! "$RAMET" attach other --via path && "$RAMET" attach other --via nbd && "$RAMET" detach other'
rm base.squashfs

# A chain of lazy images, one made for the other.
cp -a tree newer && echo more >> newer/other && rm newer/folder/file
"$RAMET" build --lazy newer layer.lazy --parent base.lazy > /dev/null
"$RAMET" fork base.lazy+layer.lazy chain > /dev/null
check "all lazy images of a fork are made" sh -c '[ "$("$RAMET" materialize chain | grep -c -- " -> ")" = 2 ]'
check "and no server is needed then" sh -c '[ "$("$RAMET" attach chain --via path | grep -c "\.squashfs$")" = 2 ]'
refused "several images do not go into one file" 1 'stands on 2 lazy images' "$RAMET" materialize chain one.squashfs
for below in base.lazy base.squashfs; do
  for above in layer.lazy layer.squashfs; do
    check "$above stands on $below: the two forms are one image" sh -c '"$RAMET" fork "$0" "$1" > /dev/null && "$RAMET" rm "$1"' "$below+$above" again
  done
done
rm base.squashfs

mv tree away
refused "a root that moved is named, with what to do" 1 "tree that base.lazy stands on; if it was moved, name it with --source" "$RAMET" materialize base.lazy
refused "a folder that is not there is no help" 1 'cannot open the folder nowhere' "$RAMET" materialize base.lazy --source nowhere
check "--source says where it is now" sh -c '"$RAMET" materialize base.lazy --source away && cmp base.squashfs kept.squashfs'
rm base.squashfs
check "also by its number" sh -c '"$RAMET" materialize base.lazy --source 1=away && cmp base.squashfs kept.squashfs'
rm base.squashfs
check "or its old name" sh -c '"$RAMET" materialize base.lazy --source "$PWD/tree=away" && cmp base.squashfs kept.squashfs'
finish
