#!/bin/sh
# `ramet materialize --background`: it returns at once, is told of, stopped, and leaves nothing half made.
. "$(dirname "$0")/lib.sh"
need cmp python3
cd "$scratch" || exit 1
at_exit() {
  for lazy in "$scratch"/*.lazy; do "$RAMET" materialize "$lazy" --stop; done > /dev/null 2>&1
  for fork in vm one two; do "$RAMET" materialize $fork --stop; done > /dev/null 2>&1
  "$RAMET" detach --all > /dev/null 2>&1
}

# Enough for ten seconds, of which no test needs more than a moment.
slow="--background --bandwidth 200K"
mkdir -p tree/folder
seq 1 280000 > tree/long
echo content > tree/folder/file
echo last > tree/zlast
# build: base.lazy anew, and what is to become of it, by a store that has no other part in this.
build() {
  rm -f base.lazy base.squashfs
  "$RAMET" build --lazy tree base.lazy > /dev/null &&
    "$RAMET" materialize base.lazy expected --root other --source "$PWD/tree" > /dev/null
}
build || { echo "Bail out! no lazy image"; exit 1; }

# told COMMAND... PATTERN: the command's output comes to match, in time.
told() {
  for _ in $(seq 200); do
    eval "\"\$RAMET\" $1" 2> /dev/null | grep -qE -- "$2" && return 0
    sleep 0.1
  done
  eval "\"\$RAMET\" $1"
  return 1
}
# worker LAZY: the process that is at work.
worker() { "$RAMET" inspect "$1" --no-count --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["lazy"]["materializing"]["pid"])'; }
# nothing is to be seen beside base.lazy but what was made.
nothing() { [ ! -e base.squashfs ] && [ -z "$(find . -maxdepth 1 -name '.*' -type f ! -name .out ! -name .err)" ]; }

# It did not wait if the image is not there when it returns.
# shellcheck disable=SC2086
"$RAMET" materialize base.lazy $slow > said 2>&1
status=$?
if [ $status = 0 ] && [ ! -e base.squashfs ] && grep -q "base.lazy -> .*base.squashfs: in the background, by process [0-9]*; 'ramet inspect base.lazy' tells" said; then
  ok "it returns at once, and says how to follow it"
else
  not_ok "it returns at once, and says how to follow it" "$status $(cat said)"
fi
check "inspect tells how far it is" told "inspect base.lazy --no-count" "^materializing: [0-9.]+ % \([1-9][0-9]* of $(($(stat -c %s tree/long) + 13)) bytes\), process [0-9]+ in the background"
pid=$(worker base.lazy)
check "by a process in a session of its own, that nobody waits for" sh -c \
  'set -- $(sed "s/.*) //" "/proc/$0/stat") && [ "$4" = "$0" ] && [ "$(readlink "/proc/$0/cwd")" = / ] && [ "$(readlink "/proc/$0/fd/0")" = /dev/null ]' "$pid"
check "at the lowest priority" [ "$(sed 's/.*) //' "/proc/$pid/stat" | cut -d ' ' -f 17)" = 19 ]
check "that has nothing open of whoever started it" sh -c '! ls -l "/proc/$0/fd" | grep -q "/said"' "$pid"
check "asked for once more it is under way" sh -c '"$RAMET" materialize base.lazy --background | grep -q "base.lazy: under way, by process $0;"' "$pid"
check "and not begun anew" [ "$(worker base.lazy)" = "$pid" ]
check "--json tells the process" sh -c '"$RAMET" materialize base.lazy --background --json | python3 -c "
import json, sys
(one,) = json.load(sys.stdin)
assert one[\"pid\"] == $0 and one[\"under_way\"] and not one[\"already\"] and one[\"format\"] == \"squashfs\", one"' "$pid"
refused "in the foreground it is refused, with what to do" 1 "base.lazy is being made a plain file by process $pid in the background; .*materialize base.lazy --stop" \
  "$RAMET" materialize base.lazy
refused "into another file as well" 1 "by process $pid" "$RAMET" materialize base.lazy other --background
check "--stop ends it" sh -c '"$RAMET" materialize base.lazy --stop | grep -q "^base.lazy: stopped"'
check "and nothing is to be seen of it" nothing
check "nor told" sh -c '! "$RAMET" inspect base.lazy | grep -q materializing:'
check "nor is there anything to stop" sh -c '"$RAMET" materialize base.lazy --stop --json | grep -q "\"stopped\": false"'
refused "--stop goes alone" 2 "NAME or LAZY alone" "$RAMET" materialize base.lazy --stop --background

check "it goes on to the end" "$RAMET" materialize base.lazy base.plain --background
check "which the catalogue knows" told "inspect base.lazy --no-count" "^materialized +/.*base.plain"
check "with the very bytes" cmp base.plain expected
check "and nothing is noted any more" sh -c '[ -z "$(ls "$RAMET_ROOT/materializing")" ]'
check "there it is told at once" sh -c '"$RAMET" materialize base.lazy base.plain --background | grep -q "already in .*base.plain"'
rm base.plain

# What can be checked before is said at once.
refused "neither a fork nor a file is refused at once" 1 'neither a fork nor a lazy image called nobody' "$RAMET" materialize nobody --background
refused "so is what is no lazy image" 1 'long is no lazy image' "$RAMET" materialize tree/long --background
refused "so is a folder that cannot be written to" 1 "cannot make .*/none/image.*No such" "$RAMET" materialize base.lazy none/image --background
cp base.lazy foreign.lazy
refused "so is a lazy image from elsewhere" 1 'was not written by this store' "$RAMET" materialize foreign.lazy --background
mv tree away
refused "so is a root that moved" 1 'name it with --source' "$RAMET" materialize base.lazy --background
check "--source is heard" sh -c '"$RAMET" materialize base.lazy --source away --background > /dev/null'
check "and the image made" told "inspect base.lazy --no-count" "^materialized"
mv away tree
rm base.squashfs
if [ "$(id -u)" = 0 ] && mkdir small && mount -t tmpfs -o size=600k none small 2> /dev/null; then
  refused "so is a disk that is full" 1 'small/image: it needs 1.76 MiB, and its filesystem has 600 KiB free: No space left' "$RAMET" materialize base.lazy small/image --background
  umount small
else
  skip "so is a disk that is full" "only root mounts a small tmpfs"
fi
check "none of which left a word" sh -c '[ -z "$(ls "$RAMET_ROOT/materializing")" ]'

# What fails later is told later.
"$RAMET" materialize base.lazy --background --bandwidth 2M > /dev/null
sleep 0.1
touch tree/zlast
check "a failure is told, and why" told "inspect base.lazy --no-count" "^materializing failed: cannot make .*base.squashfs: .*tree/zlast was written to since"
check "and is in the log" grep -q "Z failed: cannot make .*tree/zlast was written to" "$RAMET_ROOT"/materializing/*/log
check "nothing else is to be seen of it" nothing
check "JSON tells it too" sh -c '"$RAMET" inspect base.lazy --json | python3 -c "
import json, sys
one = json.load(sys.stdin)[\"lazy\"][\"materializing\"]
assert not one[\"at_work\"] and \"was written to\" in one[\"failed\"], one"'
build

# killed: nobody said that it ended.
# shellcheck disable=SC2086
"$RAMET" materialize base.lazy $slow > /dev/null
pid=$(worker base.lazy)
kill -9 "$pid"
check "one that was killed is told of" told "inspect base.lazy --no-count" "^materializing failed: its process was killed"
check "it left nothing to be seen" nothing
check "and is no hindrance to the next" sh -c '"$RAMET" materialize base.lazy > /dev/null && cmp base.squashfs expected'
check "after which nothing is told of it" sh -c '! "$RAMET" inspect base.lazy | grep -q materializing'
rm base.squashfs

# At each moment of its life: what is there is whole, or not there.
moments() {
  for moment in 0 0.01 0.02 0.03 0.05 0.08; do
    "$RAMET" materialize base.lazy --background > /dev/null || return 1
    pid=$("$RAMET" materialize base.lazy --background --json | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["pid"] or "")')
    sleep $moment
    [ -z "$pid" ] || kill -9 "$pid" 2> /dev/null
    if [ -e base.squashfs ]; then cmp base.squashfs expected || return 1; fi
    [ -z "$(find . -maxdepth 1 -name '.*' -type f ! -name .out ! -name .err ! -name '.base*')" ] || return 1
    rm -f base.squashfs
  done
}
check "killed at any moment it leaves the image, or nothing" moments

"$RAMET" materialize base.lazy --background --bandwidth 2M > /dev/null
"$RAMET" build --lazy tree base.lazy > /dev/null
check "a lazy image that was built anew meanwhile gets no file of before" sh -c 'for _ in $(seq 100); do grep -qs "failed: .*base.lazy was changed while it was read" "$RAMET_ROOT"/materializing/*/log && [ ! -e base.squashfs ] && exit 0; sleep 0.1; done; exit 1'
build

# A process that does it in the foreground is told of as well, and not ended by --stop.
"$RAMET" materialize base.lazy --bandwidth 200K > /dev/null 2>&1 &
pid=$!
check "who does it in the foreground is told of" told "inspect base.lazy --no-count" "bytes\), process $pid\$"
refused "and is not ended by --stop" 1 "being made a plain file by process $pid\." "$RAMET" materialize base.lazy --stop
kill $pid
wait $pid 2> /dev/null
check "what it left when it was killed, --stop clears away" sh -c '"$RAMET" inspect base.lazy | grep -q "materializing failed" && "$RAMET" materialize base.lazy --stop > /dev/null && ! "$RAMET" inspect base.lazy | grep -q materializing'

# Forks: while one is served, and of a base that goes with them.
"$RAMET" fork tree vm > /dev/null
"$RAMET" attach vm --via nbd > /dev/null
# shellcheck disable=SC2086
check "a fork's base is made while it is served" sh -c '"$RAMET" materialize vm $0 | grep -q "ramet show vm"' "$slow"
check "show tells how far it is" told "show vm" "^ +materializing: [0-9.]+ % \([0-9]+ of [1-9][0-9]* bytes\), process [0-9]+"
check "in JSON too" sh -c '"$RAMET" show vm --json | python3 -c "
import json, sys
one = json.load(sys.stdin)[\"base_materializing\"]
assert one[\"at_work\"] and one[\"background\"] and one[\"pid\"] > 0 and one[\"bytes_total\"] > 1000000, one"'
check "--stop by the fork's name" sh -c '"$RAMET" materialize vm --stop | grep -q "lazy: stopped"'
check "and begun again it is there in the end" sh -c '"$RAMET" materialize vm --background > /dev/null'
check "as show tells" told "show vm" "^ +materialized as"
check "the next attachment has the file" sh -c '"$RAMET" detach vm && "$RAMET" attach vm --via path | grep -q "^base .*\.squashfs"'
"$RAMET" rm vm

"$RAMET" fork tree one > /dev/null
# shellcheck disable=SC2086
"$RAMET" materialize one $slow > /dev/null
pid=$("$RAMET" show one --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["base_materializing"]["pid"])')
check "a fork can be removed while its base is made" "$RAMET" rm one
check "with the base, and who made it" sh -c '[ -z "$(ls "$RAMET_ROOT/lazy")$(ls "$RAMET_ROOT/materializing")" ] && ! grep -qs ramet-worker "/proc/$0/cmdline"' "$pid"
build
"$RAMET" fork base.lazy one > /dev/null
"$RAMET" fork base.lazy two > /dev/null
# shellcheck disable=SC2086
"$RAMET" materialize one $slow > /dev/null
"$RAMET" rm one
check "a base that others stand on, or that is a file of yours, is made on" told "show two" "materializing: "
check "until it is stopped" sh -c '"$RAMET" materialize two --stop | grep -q stopped'
finish
