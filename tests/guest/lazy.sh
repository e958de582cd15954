#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Guests that boot from folders: nothing is built, and what they read is read where it is.
# check() calls functions by name.
# shellcheck disable=SC2317
# shellcheck source=tests/guest/lib.sh
. "$(dirname "$0")/lib.sh"
tree=$scratch/root
head -c 3000001 /dev/urandom > "$tree/data/content"
echo other > "$tree/data/other"
sum=$(md5sum < "$tree/data/content" | cut -d ' ' -f 1)
# run STATUS FORK OPTION... -- COMMAND...: what the guest said is in $scratch/out.
run() {
  want=$1
  shift
  got=0
  RAMET_ACCEL=tcg timeout -k 1 150 "$RAMET" run --vmm qemu --kernel "$KERNEL" --modules "$MODULES" \
    --memory 128 --quiet "$@" < /dev/null > "$scratch/out" 2> "$scratch/err" || got=$?
  [ "$got" = "$want" ] && return
  echo "status $got, not $want"
  cat "$scratch/err"
  tail -n 5 "$scratch/out"
  return 1
}
differs_by() {
  "$RAMET" diff "$1" > "$scratch/diff" 2> "$scratch/diff.err" || { cat "$scratch/diff.err"; return 1; }
  [ "$(cat "$scratch/diff")" = "$2" ] && return
  cat "$scratch/diff"
  return 1
}
change=$(printf '%s\n' 'M /etc/motd' 'A /etc/new' 'D /etc/gone' 'A /srv' 'A /srv/deep' 'A /srv/deep/file' |
  LC_ALL=C sort -k 2)

# A folder, as it is.
"$RAMET" fork "$tree" vm --size 64M > /dev/null || bail_out "a folder cannot be forked"
check "a guest boots from a folder" run 7 vm --record -- sh -c \
  'busybox md5sum /data/content; scene look write; exit 7'
check "it reads what is in the folder" said out "$sum"
check "and sees it as it is" facts out "motd welcome" "gone is-there"
check "diff tells exactly what it did" differs_by vm "$change"
check "the folder is as it was" sh -c '[ "$(cat "$1/etc/motd")" = welcome ] && [ -e "$1/etc/gone" ] && [ ! -e "$1/etc/new" ]' sh "$tree"
check "a second boot finds what the first one left" run 0 vm -- scene look
check "as it was left" facts out "motd changed" "gone is-gone" "deep d"
figure() { "$RAMET" show vm --json | sed -n "s/.*\"$1\": *\([0-9]*\).*/\1/p" | head -n 1; }
check "what the first boot recorded is read ahead for the second" [ "$(figure bytes_ahead)" -gt 0 ]
check "and much of what it asks for is there" [ "$(($(figure bytes_hit) * 2))" -gt "$(figure bytes_asked)" ]

for format in erofs ext4; do
  "$RAMET" build --lazy --format "$format" "$tree" "$scratch/$format.lazy" > /dev/null &&
    "$RAMET" fork "$scratch/$format.lazy" "$format" --size 64M > /dev/null || bail_out "no lazy $format"
  check "$format: a guest boots from a lazy image" run 3 "$format" -- sh -c \
    'busybox md5sum /data/content; scene write; exit 3'
  check "$format: it reads what is in the folder" said out "$sum"
  check "$format: diff tells exactly what it did" differs_by "$format" "$change"
done

# A source that changes under the fork.
echo changed-and-longer > "$tree/data/other"
check "what changed after the fork was made cannot be read" run 5 vm -- sh -c \
  'cat /data/other && exit 1; busybox md5sum /data/content; exit 5'
check "and nothing else is lost" said out "$sum"
check "and it is named" grep -q '/data/other' "$RAMET_ROOT/forks/vm/log"
echo other > "$tree/data/other"

# The server dies under a guest that reads, again and again for a while.
kill_server() {
  kill -9 "$(sed -n 's/.*"pid":\([0-9]*\).*/\1/p' "$RAMET_ROOT/forks/$1/export/attachment" 2> /dev/null)" 2> /dev/null
}
says_so() { grep -q '^ramet run: fork vm: what served its drives ended while the guest ran' "$scratch/err"; }
# killed FORK OPTION...: its server, once; succeeds when the guest has gone on.
killed() {
  : > "$scratch/out"
  run 20 "$@" -- sh -c 'echo ready; for i in $(seq 20); do echo 3 > /proc/sys/vm/drop_caches
    busybox md5sum /data/content || exit 9; busybox sleep 0.2; done; exit 20' > "$scratch/killed" &
  runner=$!
  for _ in $(seq 300); do
    if grep -q ready "$scratch/out"; then break; fi
    sleep 0.1
  done
  sleep 0.5
  kill_server "$1"
  wait "$runner" && return
  cat "$scratch/killed" "$scratch/out"
  return 1
}
check "a server that dies under a guest is started again" killed vm
check "and the guest reads the same bytes throughout" sh -c '[ "$(grep -c "^$1 " "$2")" = 20 ]' sh "$sum" "$scratch/out"
run 1 vm -- sh -c 'echo ready; while busybox sleep 0.2; do echo 3 > /proc/sys/vm/drop_caches; done' > "$scratch/killed" &
runner=$!
# Killed once a second, whoever it is by then.
while kill -0 "$runner" 2> /dev/null; do
  sleep 1
  if grep -q ready "$scratch/out"; then kill_server vm; fi
done
check "but not for ever" wait "$runner"
check "and then that is said" says_so
killed vm --via fuse > /dev/null
check "where the guest cannot go on it is ended, and that is said" says_so
# detached OPTION...: its server is detached; succeeds when the run has ended by that.
detached() {
  : > "$scratch/out"
  run 1 vm "$@" -- sh -c 'echo ready; while busybox sleep 0.2; do echo 3 > /proc/sys/vm/drop_caches
    busybox md5sum /data/content; done' > "$scratch/detached" &
  runner=$!
  for _ in $(seq 300); do
    if grep -q ready "$scratch/out"; then break; fi
    sleep 0.1
  done
  "$RAMET" detach vm 2>> "$scratch/detached" && echo "without --force" && return 1
  "$RAMET" detach vm --force && wait "$runner" && return
  cat "$scratch/detached"
  return 1
}
check "detach --force ends the server of a run, and the run starts no other" detached
check "and that is said" says_so
check "detach --force: the same where the guest cannot go on" detached --via fuse
check "the fork boots again, mapped as memory" run 0 vm --via pmem -- sh -c 'scene look; busybox md5sum /data/content'
check "with what had been there" facts out "motd changed"
check "and reads what is in the folder" said out "$sum"
check "a record is there as long as the base" [ -n "$(ls "$RAMET_ROOT/records")" ]
check "and goes with the last fork on it" sh -c '"$1" rm vm && [ -z "$(ls "$2/records")" ]' sh "$RAMET" "$RAMET_ROOT"
finish
