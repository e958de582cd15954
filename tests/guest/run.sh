#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `ramet run` on QEMU with a real kernel: the whole way from a fork to the command's status.
# shellcheck source=tests/guest/lib.sh
. "$(dirname "$0")/lib.sh"
mkdir -p "$scratch/tree/bin" "$scratch/tree/sbin" "$scratch/tree/etc" "$scratch/tree/data"
cp "$(command -v busybox)" "$scratch/tree/bin/busybox"
for tool in sh cat dd echo printf sleep true seq cksum touch mkdir; do
  ln -s busybox "$scratch/tree/bin/$tool"
done
echo data > "$scratch/tree/data/file"
# A comma means something to QEMU.
base="$scratch/a base, with a comma.squashfs"
"$RAMET" build "$scratch/tree" "$base" --init > /dev/null
"$RAMET" fork "$base" vm --count 2 --size 64M > /dev/null
run() {
  timeout -k 1 120 "$RAMET" run --vmm qemu --kernel "$KERNEL" --modules "$MODULES" --quiet "$@"
}
# output NAME WANT ARGUMENT...: standard output and status, to the byte.
output() {
  output_name=$1 want=$2
  shift 2
  got=$(run "$@" 2> "$scratch/err"; echo " status $?")
  if [ "$got" = "$want" ]; then
    ok "$output_name"
  else
    not_ok "$output_name" "got: $got" "want: $want" "$(cat "$scratch/err")"
  fi
}

output 'the status and the output are those of the command, to the byte' \
  "$(printf 'a\r\n\tb') status 7" vm-1 -- sh -c 'printf "a\r\n\tb"; exit 7' < /dev/null
output 'a command that a signal ended' ' status 143' vm-1 -- sh -c 'kill -TERM $$' < /dev/null
printf 'one\ntwo' > "$scratch/in"
output 'input reaches the command, with its end' "$(printf 'one\ntwo') status 0" vm-1 -- cat < "$scratch/in"
run vm-1 -- seq 1 20000 < /dev/null > "$scratch/out"
check 'much output comes whole' sh -c 'seq 1 20000 | cmp - "$1"' sh "$scratch/out"
run vm-1 -- dd if=/bin/busybox bs=64k count=16 status=none < /dev/null > "$scratch/out"
check '1 MiB of any bytes comes whole from a command that ends at once' sh -c \
  'head -c 1048576 "$1" | cmp - "$2"' sh "$scratch/tree/bin/busybox" "$scratch/out"
output 'its output is no terminal: no pager, no colours' ' status 0' vm-1 -- \
  sh -c '! test -t 1 && ! test -t 2' < /dev/null
output 'standard output and standard error come in their order' "$(printf 'o\ne\no\ne\n') status 0" \
  vm-1 -- sh -c 'echo o; echo e >&2; echo o; printf e >&2' < /dev/null
output 'what a process in the background had written comes too, and it holds nothing up' \
  "$(seq 1 2000 && echo end)
 status 3" vm-1 --timeout 100 -- sh -c '(seq 1 2000; touch /dev/shm/done; exec sleep 1000) &
  until test -e /dev/shm/done; do sleep 0.1; done; echo end; exit 3' < /dev/null
output 'a command that closes its output leaves PID 1 asleep' ' status 0' vm-1 -- sh -c \
  'exec > /dev/null 2>&1; t() { set -- $(cat /proc/1/stat); t=$((${14} + ${15})); }
  t; before=$t; sleep 3; t; test $((t - before)) -lt 50' < /dev/null
run vm-1 -- sh -c 'echo new > /data/new && echo changed > /data/file' < /dev/null
output 'what was written is there in the next run' 'changed
new
 status 0' vm-1 -- cat /data/file /data/new < /dev/null
output 'a second fork of the base has nothing of it' 'data
 status 0' vm-2 -- cat /data/file < /dev/null
output 'with --ram the volume is not seen, and not touched' 'data
 status 0' vm-1 --ram -- sh -c 'cat /data/file; echo x > /data/file' < /dev/null
output "the base's own init runs the command too" 'changed
 status 0' vm-1 --in-image-init -- cat /data/file < /dev/null
status=0
run vm-2 --timeout 20 -- sleep 100 < /dev/null > /dev/null 2> "$scratch/err" || status=$?
# On a busy machine the guest may not be up by then, and is killed.
check 'a time limit ends it with status 124' sh -c 'echo "$1" | grep -qxE \
  "124 ramet run: vm-2 timed out after 20 s( and was killed)?\."' sh "$status $(cat "$scratch/err")"

# A guest that says "up" and is then sent the signals of $2.
signalled() {
  : > "$scratch/out"
  env --default-signal=INT,TERM,HUP sh -c 'echo $$ > "$1/pid"; shift; exec "$@"' sh "$scratch" \
    "$RAMET" run --vmm qemu --kernel "$KERNEL" --modules "$MODULES" --quiet vm-2 -- sh -c "$1" \
    < /dev/null > "$scratch/out" 2> "$scratch/err" &
  waited=$!
  tries=0
  until grep -q up "$scratch/out" || [ $tries -ge 600 ]; do
    sleep 0.1
    tries=$((tries + 1))
  done
  kill -s "$2" "$(cat "$scratch/pid")"
  status=0
  wait "$waited" 2> /dev/null || status=$?
}
signalled 'echo up; touch /data/before; sleep 100' INT
check 'Ctrl-C interrupts the command, and the VM ends' test "$status $(cat "$scratch/err")" = '130 '
check 'the volume is clean after it' is_clean "$RAMET_ROOT/forks/vm-2/volume"
signalled 'echo up; sleep 100' KILL
sleep 1
output 'after kill -9 the fork is free and runs again' ' status 0' vm-2 -- true < /dev/null

refused 'a guest that panics' 1 'kernel gave up: .*Kernel panic - not syncing: .*root fs' \
  run vm-2 --append 'rdinit=/none init=/none root=/dev/none' -- true
refused "an init that cannot do its work says why" 1 'could not be set up: .*/dev/vdq' \
  run vm-2 --append 'overlay_root=vdq' -- true
refused 'a VMM that dies' 1 'qemu died: .*memory' run vm-2 --memory 9000G -- true
finish
