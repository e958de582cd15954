#!/bin/sh
# The whole road as users go it: ramet build, fork, run and diff, with guests that write, fail, are
# stopped and are killed.
. "$(dirname "$0")/lib.sh"
RAMET_ACCEL=${RAMET_ACCEL:-auto}
export RAMET_ACCEL
# run STATUS FORK OPTION... -- COMMAND...: what the guest said is in $scratch/out.
run() {
  run_status=$1
  shift
  status=0
  "$RAMET" run --kernel "$KERNEL" --modules "$MODULES" --timeout 120 --memory 128 "$@" \
    < /dev/null > "$scratch/out" 2> "$scratch/err" || status=$?
  [ "$status" = "$run_status" ] && return
  echo "status $status, not $run_status"
  cat "$scratch/err"
  tail -n 5 "$scratch/out"
  return 1
}
# run_until_ready FORK OPTION... -- COMMAND...: in the background; its pid in $run_pid.
run_until_ready() {
  boot_output=$scratch/out
  "$RAMET" run --kernel "$KERNEL" --modules "$MODULES" --timeout 120 --memory 128 "$@" \
    < /dev/null > "$scratch/out" 2> "$scratch/err" &
  run_pid=$! boot_pid=$!
  await_ready
}
differs_by() {
  "$RAMET" diff "$1" > "$scratch/diff" 2> "$scratch/diff.err" || { cat "$scratch/diff.err"; return 1; }
  [ "$(cat "$scratch/diff")" = "$2" ] && return
  cat "$scratch/diff"
  return 1
}
change='M /etc/motd
A /etc/new
D /etc/gone
A /srv
A /srv/deep
A /srv/deep/file'
change=$(echo "$change" | LC_ALL=C sort -k 2)

rm "$scratch/root/sbin/overlay-init"
check "the bases are built" sh -c "
  '$RAMET' build '$scratch/root' '$scratch/base.squashfs' --init --bind '$scratch/root/data:/bound:ro' &&
  '$RAMET' build '$scratch/root' '$scratch/base.erofs' --format erofs --init &&
  '$RAMET' build '$scratch/root' '$scratch/base.ext4' --format ext4 --init"
for format in squashfs erofs ext4; do
  "$RAMET" fork "$scratch/base.$format" "$format" --count 2 --size 64M > /dev/null ||
    bail_out "$format cannot be forked"
  check "$format: a fresh fork differs by nothing" differs_by "$format-1" ""
  check "$format: the command's exit status is ramet's" run 7 "$format-1" -- scene look write 7
  check "$format: the command saw the base" facts out "motd welcome" "gone is-there"
  check "$format: diff tells exactly what it did" differs_by "$format-1" "$change"
  check "$format: the in-image init sees it" run 137 "$format-1" --in-image-init -- scene look kill
  check "$format: as it was left" facts out "motd changed" "new new" "gone is-gone" "deep d"
  check "$format: in memory nothing of it is seen, or kept" run 0 "$format-1" --ram -- \
    scene look write
  check "$format: diff still tells the same" differs_by "$format-1" "$change"
  check "$format: the other fork has not changed" differs_by "$format-2" ""

  run_until_ready "$format-2" -- scene write ready
  check "$format: a fork that runs is in use" run 1 "$format-2" -- true
  kill -9 "$run_pid"
  wait "$run_pid" 2> /dev/null
  # The kernel kills the VMM then, which takes it a moment.
  for _ in $(seq 100); do
    if "$RAMET" show "$format-2" | grep -q '^holder *nobody'; then break; fi
    sleep 0.1
  done
  check "$format: after kill -9 of ramet diff replays the journal" differs_by "$format-2" "$change"
  run_until_ready "$format-2" --in-image-init -- scene ready
  kill -TERM "$run_pid"
  status=0
  wait "$run_pid" || status=$?
  check "$format: a request to stop ends the VM" [ "$status" = 130 ]
  check "$format: cleanly" is_clean "$("$RAMET" show "$format-2" --json | sed -n 's/.*"volume": *"\([^"]*\)".*/\1/p')"
done

# A host that has no more room: the guest is told, and so is who ran it.
mkdir "$scratch/small"
if mount -t tmpfs -o size=12M tmpfs "$scratch/small" 2> /dev/null; then
  at_exit() { umount "$scratch/small"; }
  RAMET_ROOT=$scratch/small/store
  "$RAMET" fork "$scratch/base.squashfs" full --size 256M > /dev/null
  check "a host without room ends the run with an error, not with a wait" run 1 full -- \
    sh -c 'dd if=/dev/zero of=/big bs=64k count=512; sync'
  check "and that is said" grep -q "could not all be stored" "$scratch/err"
else
  skip "a host without room" "a tmpfs cannot be mounted here"
fi
finish
