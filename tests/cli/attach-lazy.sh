#!/bin/sh
# shellcheck shell=sh
# Forks of folders, and lazy images that are served: what comes out, what happens to sources that
# change, move, vanish and hang, and whom a lazy file from elsewhere may name folders to.
# shellcheck source=tests/cli/lib.sh
. "$SOURCE_ROOT/tests/cli/lib.sh"
need nbdcopy nbdinfo unsquashfs python3
at_exit() {
  "$RAMET" detach --all > /dev/null 2>&1
  [ -z "${source_pid:-}" ] || kill "$source_pid" 2> /dev/null
  wait
  umount "$scratch/slow" 2> /dev/null || fusermount3 -u -z "$scratch/slow" 2> /dev/null
}
cd "$scratch" || exit 1
mkdir -p tree/dir
head -c 300000 /dev/urandom > tree/big
seq 20000 > tree/dir/numbers
ln -s dir/numbers tree/link
field() {
  "$RAMET" show "$1" --json |
    python3 -c "import json, sys; a = json.load(sys.stdin)['attachment']; print($2)"
}
uri() { echo "nbd+unix:///base?socket=$RAMET_ROOT/forks/$1/export/nbd.sock"; }
# Wait until the log of a fork has a line like that.
logged() {
  for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    grep -q "$2" "$RAMET_ROOT/forks/$1/log" && return 0
    sleep 0.25
  done
  cat "$RAMET_ROOT/forks/$1/log"
  return 1
}

# --- forks of folders
for format in squashfs erofs ext4; do
  check "fork of a folder, $format" "$RAMET" fork tree "of-$format" --size 64M --format $format
  check "$format: served" "$RAMET" attach "of-$format" --via nbd
  nbdcopy "$(uri "of-$format")" served
  "$RAMET" detach "of-$format"
  check "$format: the same bytes as materialised" sh -c \
    "'$RAMET' materialize of-$format plain.$format > /dev/null && cmp served plain.$format"
  check "$format: the image is one" "$RAMET" verify plain.$format
  check "$format: what is materialised is taken from then on" sh -c \
    "'$RAMET' attach of-$format --via path | grep -q '^base *$scratch/plain.$format$' "
done
# --- figures, of the last attachment and of all
"$RAMET" fork tree sums --size 64M > /dev/null
for round in 1 2 3; do
  "$RAMET" attach sums --via nbd > /dev/null
  nbdcopy "$(uri sums)" served
  [ $round != 2 ] || nbdcopy "$(uri sums)" served
  [ $round != 3 ] || kill -9 "$(field sums "a['pid']")"
  "$RAMET" detach sums
  field sums "a['devices'][0]" > "sums$round"
done
check "the figures of all attachments are their sum, of one that was killed too" python3 -c '
one, two, three = (eval(open("sums%d" % i).read()) for i in (1, 2, 3))
size = one["size"]
assert one["bytes_unique"] == one["bytes_asked"] == size and one["ever"]["attachments"] == 1, one
assert one["ever"]["bytes_asked"] == size, one
assert two["bytes_asked"] == 2 * size and two["bytes_hit"] == size, two
ever = two["ever"]
assert (ever["attachments"], ever["bytes_asked"], ever["bytes_unique"], ever["bytes_hit"]) == (2, 3 * size, 2 * size, size), two
assert ever["reads"] == one["reads"] + two["reads"], (one, two)
ever = three["ever"]
assert ever["attachments"] == 3 and 3 * size <= ever["bytes_asked"] <= 4 * size, three'
check "show tells them" sh -c '"$RAMET" show sums | grep -qE "^ +in all 3 attachments: [0-9.]+ [KM]iB read, in [0-9]+ reads of [0-9.]+ [KM]iB; [0-9.]+ % of that"'
"$RAMET" rm sums

check "fork DIR --count shares one lazy image" sh -c "'$RAMET' fork tree many --count 3 --size 64M > out &&
  grep -q 'lazy squashfs of tree' out && [ \$(ls '$RAMET_ROOT/lazy' | grep -c '^many-') = 1 ]"
"$RAMET" rm many-1 many-2
check "which stays as long as a fork stands on it" sh -c "ls '$RAMET_ROOT/lazy' | grep -q '^many-'"
"$RAMET" rm many-3
check "and goes with the last" sh -c "! ls '$RAMET_ROOT/lazy' | grep -q '^many-'"
refused "--format is for folders" 1 "no folder" "$RAMET" fork plain.squashfs no --format ext4
check "what could not be forked leaves no lazy image" sh -c "before=\$(ls '$RAMET_ROOT/lazy' | wc -l)
  '$RAMET' fork tree of-ext4 2> /dev/null || [ \$(ls '$RAMET_ROOT/lazy' | wc -l) = \"\$before\" ]"

# --- what was read
check "build --lazy, and a fork of that" sh -c "'$RAMET' build tree base.lazy --lazy > /dev/null && '$RAMET' fork base.lazy vm --size 64M"
refused "a lazy image has no path" 1 "'ramet materialize vm' makes one" "$RAMET" attach vm --via path
"$RAMET" attach vm --via nbd > out
check "only the lazy image is served" sh -c "[ \$(wc -l < out) = 1 ] && grep -q ^base out"
nbdcopy "$(uri vm)" served
unsquashfs -q -n -f -d files served > /dev/null 2>&1
check "every file is as its source" diff -r --no-dereference files tree
sleep 1.3
check "show tells how much of it was read" sh -c "'$RAMET' show vm | grep -q 'read 100.0 % of'"
refused "a lazy fork that is attached is not run" 1 "is attached.*ramet detach vm" "$RAMET" run vm --kernel /nonexistent
"$RAMET" detach vm
"$RAMET" attach vm --via nbd --all > out
check "--all serves the volume too" grep -q '^volume .*writable' out
"$RAMET" detach vm
check "a lazy fork can be looked into and diffed" sh -c "'$RAMET' diff vm > out && [ ! -s out ]"

# --- few descriptors
mkdir many && for n in $(seq 1500); do echo "$n" > many/$n; done
"$RAMET" fork many numerous --size 64M > /dev/null
rm -f served
check "1,500 files are served by who may open 120" sh -c "ulimit -n 120 && '$RAMET' attach numerous --via nbd &&
  nbdcopy '$(uri numerous)' served && '$RAMET' materialize numerous many.squashfs && cmp served many.squashfs && ! grep many/ '$RAMET_ROOT/forks/numerous/log'"
"$RAMET" detach numerous && "$RAMET" rm numerous && rm -r many many.squashfs

# --- sources that change
"$RAMET" attach vm --via nbd > /dev/null
echo more >> tree/dir/numbers
rm -f served
refused "a source that changed gives an I/O error" 1 "." nbdcopy "$(uri vm)" served
check "which the log tells with the file's name" logged vm "dir/numbers"
check "and show too" sh -c "'$RAMET' show vm | grep -q 'dir/numbers'"
"$RAMET" detach vm
"$RAMET" rm vm

# --- roots that move
"$RAMET" build tree base.lazy --lazy > /dev/null
"$RAMET" fork base.lazy vm --size 64M > /dev/null
mv tree elsewhere
refused "a root that is not there is named" 1 "folder $scratch/tree .*--source DIR" "$RAMET" attach vm --via nbd
check "--source says where it is now" sh -c "'$RAMET' attach vm --via nbd --source '$scratch/elsewhere' &&
  nbdcopy '$(uri vm)' served"
refused "with another --source it is another attachment" 1 "in another way" "$RAMET" attach vm --via nbd
"$RAMET" detach vm
check "OLD=DIR and N=DIR say it too" sh -c "'$RAMET' attach vm --via nbd --source '$scratch/tree=$scratch/elsewhere' &&
  '$RAMET' detach vm && '$RAMET' attach vm --via nbd --source '1=$scratch/elsewhere' && '$RAMET' detach vm"
for word in "$scratch/tre=$scratch/elsewhere" "7=$scratch/elsewhere"; do
  refused "--source $word means nothing" 1 "--source $word means no folder that vm stands on" \
    "$RAMET" attach vm --via nbd --source "1=$scratch/elsewhere" --source "$word"
done
refused "one folder is not in two places" 1 "--source $scratch/copy means no folder" \
  "$RAMET" attach vm --via nbd --source "$scratch/elsewhere" --source "$scratch/copy"
refused "--source names a folder that is there" 1 "nowhere" "$RAMET" attach vm --via nbd --source "$scratch/nowhere"
refused "what is there now must be the same" 1 "^$" sh -c '
  cp -a elsewhere copy && "$RAMET" verify base.lazy --source copy > said || { grep -q "was replaced since" said && echo >&2; exit 1; }'
refused "and is not noted otherwise" 1 "folder $scratch/tree .*once for all with 'ramet verify $scratch/base.lazy --source DIR'" "$RAMET" attach vm --via nbd
check "verify --source notes where it is, when all is right there" sh -c '"$RAMET" verify base.lazy --source elsewhere | grep -q "good: .*where its files are is noted"'
check "and it is served from there" sh -c '"$RAMET" attach vm --via nbd && nbdcopy "$0" again && cmp served again && "$RAMET" detach vm' "$(uri vm)"
check "and made a plain file" sh -c '"$RAMET" materialize base.lazy plain && cmp served plain && rm plain'
check "and converted" sh -c '"$RAMET" build base.lazy converted.erofs > /dev/null && [ "$("$RAMET" cat converted.erofs:/dir/numbers | cksum)" = "$(cksum < elsewhere/dir/numbers)" ]'
check "which inspect tells" sh -c '"$RAMET" inspect base.lazy | grep -q "^content in *$PWD/elsewhere\$"'
check "and verified" sh -c '"$RAMET" verify base.lazy --json | grep -q "\"good\": true"'
mv elsewhere third
refused "moved once more it is named where it was last" 1 "folder $scratch/elsewhere .*once for all" "$RAMET" attach vm --via nbd
check "--source goes before what was noted" sh -c '"$RAMET" attach vm --via nbd --source third && "$RAMET" detach vm'
check "and may be noted anew" sh -c '"$RAMET" verify base.lazy --source "$PWD/tree=third" > /dev/null && "$RAMET" attach vm --via nbd && "$RAMET" detach vm'
refused "verify has no use for other words" 1 "--source 2=third means no folder that base.lazy stands on" \
  "$RAMET" verify base.lazy --source 1=third --source 2=third
refused "nor has materialize" 1 "--source 2=third means no folder that base.lazy stands on" \
  "$RAMET" materialize base.lazy plain --source 1=third --source 2=third
refused "--source is of a lazy image" 1 "converted.erofs is no lazy image" "$RAMET" verify converted.erofs --source third
refused "and of one" 2 "of one image" "$RAMET" verify base.lazy converted.erofs --source third
mv third tree
rm base.lazy
"$RAMET" build tree base.lazy --lazy > /dev/null

# --- lazy files from elsewhere
RAMET_ROOT=$scratch/other
export RAMET_ROOT
cp base.lazy stranger.lazy
"$RAMET" fork stranger.lazy foreign --size 64M > /dev/null
refused "a lazy file that this store did not write names no folders" 1 "not written by this store.*--source $scratch/tree" \
  "$RAMET" attach foreign --via nbd
refused "nor does what they hold get into an image" 1 "not written by this store" "$RAMET" build stranger.lazy out.squashfs
check "its tree can be looked at" sh -c "'$RAMET' ls stranger.lazy:/ | grep -q ."
check "unless they are named again" sh -c "'$RAMET' attach foreign --via nbd --source '$scratch/tree' && '$RAMET' detach foreign"
check "verify --source names them once for all" sh -c "'$RAMET' verify stranger.lazy --source '$scratch/tree' > /dev/null && '$RAMET' attach foreign --via nbd && '$RAMET' detach foreign"
"$RAMET" rm foreign
RAMET_ROOT=$scratch/store

# --- damaged
"$RAMET" build tree bad.lazy --lazy > /dev/null
"$RAMET" fork bad.lazy bad --size 64M > /dev/null
python3 - << 'EOF'
import os
stat = os.stat("bad.lazy")
with open("bad.lazy", "r+b") as file:
    file.seek(stat.st_size // 2)
    byte = file.read(1)
    file.seek(stat.st_size // 2)
    file.write(bytes([byte[0] ^ 1]))
os.utime("bad.lazy", ns=(stat.st_atime_ns, stat.st_mtime_ns))
EOF
refused "a damaged lazy file is refused by name" 1 "bad.lazy" "$RAMET" attach bad --via nbd

# --- sources that hang
if [ -c /dev/fuse ] && [ -n "${FUSE_SOURCE:-}" ] && command -v setfattr > /dev/null; then
  mkdir slow && : > source.out
  "$FUSE_SOURCE" tree slow > source.out &
  source_pid=$!
  while ! grep -q ready source.out; do sleep 0.05; done
  "$RAMET" fork slow stuck --size 64M > /dev/null
  setfattr -n user.hang -v '*/numbers' slow
  "$RAMET" attach stuck --via nbd --on-stall fail --stall-timeout 1 > /dev/null
  start=$(date +%s)
  refused "--on-stall fail: a source that hangs gives an I/O error" 1 "." nbdcopy "$(uri stuck)" served
  took=$(($(date +%s) - start))
  check "--on-stall fail: after --stall-timeout ($took s)" [ "$took" -le 15 ]
  check "--on-stall fail: the log names the file" logged stuck "numbers"
  "$RAMET" detach stuck
  "$RAMET" attach stuck --via nbd --on-stall wait --stall-timeout 1 > /dev/null
  nbdcopy "$(uri stuck)" served 2> /dev/null &
  copy=$!
  check "--on-stall wait: the log names the file" logged stuck "numbers"
  check "--on-stall wait: the read waits" kill -0 "$copy"
  setfattr -n user.hang -v '' slow
  check "--on-stall wait: and goes on when the source does" wait "$copy"
  "$RAMET" detach stuck
  setfattr -n user.hang -v '*/numbers' slow
  "$RAMET" attach stuck --via nbd > /dev/null
  nbdcopy "$(uri stuck)" served 2> /dev/null &
  copy=$!
  sleep 0.5
  start=$(date +%s)
  check "a source that hangs does not keep its fork attached" "$RAMET" detach stuck
  took=$(($(date +%s) - start))
  check "for long ($took s)" [ "$took" -le 12 ]
  wait "$copy"
  setfattr -n user.hang -v '' slow
  "$RAMET" rm stuck
else
  skip "sources that hang" "/dev/fuse or setfattr is missing"
fi
finish
