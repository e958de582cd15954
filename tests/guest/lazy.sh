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
check "a guest boots from a folder" run 7 vm -- sh -c \
  'busybox md5sum /data/content; scene look write; exit 7'
check "it reads what is in the folder" said out "$sum"
check "and sees it as it is" facts out "motd welcome" "gone is-there"
check "diff tells exactly what it did" differs_by vm "$change"
check "the folder is as it was" sh -c '[ "$(cat "$1/etc/motd")" = welcome ] && [ -e "$1/etc/gone" ] && [ ! -e "$1/etc/new" ]' sh "$tree"
check "a second boot finds what the first one left" run 0 vm -- scene look
check "as it was left" facts out "motd changed" "gone is-gone" "deep d"

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

# The server dies.
: > "$scratch/out"
run 1 vm -- sh -c 'echo ready; while busybox sleep 0.2; do echo 3 > /proc/sys/vm/drop_caches; done' > "$scratch/killed" &
runner=$!
for _ in $(seq 300); do grep -q ready "$scratch/out" && break; sleep 0.1; done
kill -9 "$(sed -n 's/.*"pid":\([0-9]*\).*/\1/p' "$RAMET_ROOT/forks/vm/export/attachment")"
status=0
wait "$runner" || status=$?
check "a server that dies under a guest ends the run" test "$status" = 0
check "and that is said" grep -q 'what served its drives ended while the guest ran' "$scratch/err"
check "and the fork boots again" run 0 vm -- scene look
check "with what had been there" facts out "motd changed"
finish
