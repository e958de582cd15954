#!/bin/sh
# What a guest did is committed, as a layer and whole; guests of forks of both see it, and go on.
. "$(dirname "$0")/lib.sh"
RAMET_ACCEL=${RAMET_ACCEL:-auto}
export RAMET_ACCEL
# run STATUS FORK COMMAND...: what the guest said is in $scratch/out.
run() {
  run_status=$1 run_fork=$2
  shift 2
  status=0
  "$RAMET" run --kernel "$KERNEL" --modules "$MODULES" --timeout 120 --memory 128 "$run_fork" -- "$@" \
    < /dev/null > "$scratch/out" 2> "$scratch/err" || status=$?
  [ "$status" = "$run_status" ] && return
  echo "status $status, not $run_status"
  cat "$scratch/err"
  tail -n 5 "$scratch/out"
  return 1
}
no_change() { [ -z "$("$RAMET" diff "$1")" ]; }

"$RAMET" build "$scratch/root" "$scratch/base.squashfs" > /dev/null
"$RAMET" fork "$scratch/base.squashfs" vm --size 64M > /dev/null
check "a guest changes its fork" run 7 vm scene look write 7
check "what it did is a layer" "$RAMET" commit vm "$scratch/layer.erofs"
check "... and, with the base, an image" "$RAMET" commit vm "$scratch/whole.squashfs" --flatten
"$RAMET" build "$scratch/base.squashfs+$scratch/layer.erofs" "$scratch/merged.squashfs" > /dev/null
check "base and layer are that image, byte by byte" cmp "$scratch/merged.squashfs" "$scratch/whole.squashfs"
"$RAMET" fork "$scratch/base.squashfs+$scratch/layer.erofs" chain --size 64M > /dev/null
"$RAMET" fork "$scratch/whole.squashfs" flat --size 64M > /dev/null
for fork in chain flat; do
  check "$fork: a fork of it starts without changes" no_change $fork
  check "$fork: its guest sees what the first one did" run 0 $fork scene look
  check "$fork: all of it" facts out "motd changed" "new new" "gone is-gone" "deep d"
  check "$fork: it can be killed in the middle" run 137 $fork scene kill
done
check "a fork of a chain is committed again" "$RAMET" commit chain "$scratch/second.squashfs"
"$RAMET" fork "$scratch/base.squashfs+$scratch/layer.erofs+$scratch/second.squashfs" third --size 64M > /dev/null
check "... and booted with both layers" run 0 third scene look
check "... as it was" facts out "motd changed" "gone is-gone"
finish
