#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The NBD export and everyone's clients: libnbd's, QEMU's. What they write is in the file, what they
# flush has been flushed, and the server is small when nobody asks.
# check() calls functions by name.
# shellcheck disable=SC2317
# shellcheck source=tests/cli/lib.sh
. "$SOURCE_ROOT/tests/cli/lib.sh"
need nbdinfo nbdcopy qemu-io qemu-img strace jq
SERVE=${SERVE:-$BUILD_ROOT/tests/tools/serve}
cd "$scratch" || exit 1
server=
at_exit() {
  [ -n "$server" ] && kill -KILL "$server" 2> /dev/null
}
# start COMMAND... : a server; $uri is it then.
start() {
  : > log
  "$@" > log 2>&1 &
  server=$!
  for _ in $(seq 100); do
    grep -q ^ready log && break
    kill -0 "$server" 2> /dev/null || break
    sleep 0.05
  done
  uri=$(sed -n 's/^ready //p' log)
  [ -n "$uri" ] || { cat log; return 1; }
}
end() {
  kill "$server"
  wait "$server"
  server=
}
head -c 16M /dev/urandom > original
cp original disk

start "$SERVE" nbd socket disk
check "the socket is its owner's alone" test "$(stat -c %a socket)" = 600
listed() { nbdinfo --list "$uri" > list && grep -q 'export="disk"' list && grep -q 'base:allocation' list; }
check "nbdinfo lists the export" listed
facts() {
  nbdinfo "$uri" > facts
  for fact in 'is_read_only: false' 'can_multi_conn: true' 'can_trim: true' 'can_zero: true' 'can_fua: true' \
    'can_flush: true' 'can_df: true' 'can_fast_zero: true' 'block_size_maximum: 33554432'; do
    grep -q "$fact" facts || { echo "not: $fact"; cat facts; return 1; }
  done
}
check "a writable disk can all that there is" facts
copied_out() { nbdcopy "$uri" copy && cmp copy original; }
check "nbdcopy reads the file" copied_out
copied_in() { tac -s x original | head -c 16M > other && truncate -s 16M other && nbdcopy other "$uri" && cmp other disk; }
check "nbdcopy writes the file" copied_in
check "qemu-img finds no difference" qemu-img compare -f raw -F raw "$uri" other
many() { nbdcopy --connections=8 --requests=64 --request-size=262144 "$uri" copy && cmp copy other; }
check "eight connections at once read the same" many
io() {
  qemu-io -f raw -c 'write -P 7 4096 8192' -c 'read -P 7 4096 8192' -c 'discard 64k 64k' -c 'read -P 0 64k 64k' \
    -c 'write -z 1M 1M' -c 'read -P 0 1M 1M' -c 'write -z -u 4M 128k' -c 'read -P 0 4M 128k' \
    -c 'write -f -P 9 511 1026' -c 'read -P 9 511 1026' -c flush "$uri" > io && ! grep -i 'fail\|error' io
}
check "qemu-io writes, discards, zeroes and flushes" io
inside() {
  printf '\7%.0s' $(seq 512) | cmp -n 512 -i 0:8192 - disk && cmp -n 65536 -i 0:65536 /dev/zero disk &&
    cmp -n 1048576 -i 0:1048576 /dev/zero disk
}
check "and the file has it" inside
check "what was discarded takes no space" test "$(stat -c %b disk)" -lt 32768
mapped() {
  qemu-img map -f raw --output=json "$uri" > mapping &&
    jq -e 'any(.start == 4194304 and .length == 131072 and .zero) and any(.start == 131072 and .data)' mapping
}
check "qemu-img finds what was discarded in the map" mapped
sparse() {
  truncate -s 1G sparse && dd if=original of=sparse bs=1M count=1 seek=512 conv=notrunc 2> /dev/null &&
    start "$SERVE" -r nbd socket2 sparse && nbdinfo --map --json "$uri" > mapping && nbdcopy "$uri" copy && end &&
    [ "$(jq length mapping)" = 3 ] && jq -e '.[1].offset == 536870912 and .[1].length == 1048576 and .[1].type == 0' mapping &&
    jq -e '.[0].type == 3 and .[2].type == 3' mapping && cmp copy sparse && [ "$(stat -c %b copy)" -lt 8192 ]
}
first=$server uri_first=$uri
check "a sparse file's holes are told of, and copied as such" sparse
server=$first uri=$uri_first

# Idle: small, and asleep.
nbdcopy "$uri" null: > /dev/null 2>&1
sleep 2.5
pss() { awk '$1 == "Pss:" { print $2 }' "/proc/$server/smaps_rollup"; }
ticks() { awk '{ print $14 + $15 }' "/proc/$server/stat"; }
before=$(ticks) switches=$(awk '/^voluntary/ { print $2 }' "/proc/$server/status")
sleep 1.5
echo "# PSS when idle: $(pss) KiB"
idle() { [ "$(ticks)" = "$before" ] && [ "$(awk '/^voluntary/ { print $2 }' "/proc/$server/status")" = "$switches" ]; }
check "an idle server sleeps" idle
if grep -q asan "/proc/$server/maps"; then
  skip "an idle server has 2 MiB at most" "sanitizers need more"
else
  check "an idle server has 2 MiB at most" test "$(pss)" -le 2048
fi
check "the server ends when it is told to" end
check "and its socket is gone" test ! -e socket

start "$SERVE" -r nbd 127.0.0.1:0 original
tcp() { nbdcopy "$uri" copy && cmp copy original && nbdinfo "$uri" | grep -q 'is_read_only: true'; }
check "over TCP, at a port of the kernel's choice ($uri)" tcp
refuses_writes() { ! qemu-io -f raw -c 'write 0 4096' "$uri" > io 2>&1; }
check "what is read-only is not written" refuses_writes
end

# A flush is answered after fdatasync has come back, and so is a write with FUA.
start "$SERVE" nbd socket disk
strace -f -qq -e trace=fdatasync -o trace -p "$server" &
tracer=$!
for _ in $(seq 100); do grep -q 'TracerPid:.*[1-9]' "/proc/$server/status" && break; sleep 0.05; done
durable() {
  qemu-io -f raw -t writeback -c 'write 0 4096' -c 'flush' "$uri" > /dev/null || return 1
  grep -q 'fdatasync.*= 0\|fdatasync resumed.*= 0' trace
}
check "a flush is an fdatasync" durable
: > trace
fua() {
  qemu-io -f raw -t writeback -c 'write -f 8192 4096' "$uri" > /dev/null || return 1
  grep -q 'fdatasync.*= 0\|fdatasync resumed.*= 0' trace
}
check "a write with FUA is one too" fua
end
wait "$tracer"
start "$SERVE" nbd socket disk
second() { ! "$SERVE" nbd socket disk 2> twice && grep -q 'another program does already' twice; }
check "two servers do not share a socket" second
kill -KILL "$server"
wait "$server" 2> /dev/null
check "the socket of a killed server is taken over" start "$SERVE" nbd socket disk
end
bad() { ! "$SERVE" nbd nowhere.invalid:10809 disk 2> bad && grep -q 'cannot listen at nowhere.invalid:10809' bad; }
check "an address that there is not is named" bad
finish
