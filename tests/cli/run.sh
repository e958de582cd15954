#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `ramet run` without a guest: what is refused, and Firecracker's side played by tests/fake.
. "${SOURCE_ROOT:-$(dirname "$0")/../..}/tests/cli/lib.sh"
need python3 timeout

mkdir "$scratch/tree" && echo hello > "$scratch/tree/file"
"$RAMET" build "$scratch/tree" "$scratch/base.squashfs" > /dev/null
"$RAMET" fork "$scratch/base.squashfs" vm --count 2 --size 16M > /dev/null
# The least that is an ELF kernel for x86-64: a header.
kernel=$scratch/vmlinux
printf '\177ELF\2\1\1\0\0\0\0\0\0\0\0\0\2\0\076\0\1\0\0\0' > "$kernel"
head -c 4096 /dev/zero >> "$kernel"

# fc MODE ARGUMENT...: ramet run on the fake Firecracker, as if KVM worked.
fake=${SOURCE_ROOT:-$(dirname "$0")/../..}/tests/fake
fc() {
  mode=$1
  shift
  FAKE_MODE=$mode FAKE_RECORD=$scratch/record PATH=$fake:$PATH RAMET_ACCEL=kvm \
    timeout 60 "$RAMET" run --vmm firecracker --quiet --kernel "$kernel" "$@"
}
# What is left when a run is over: a process in the fork's folder, or its socket.
nothing_left() {
  [ ! -e "$RAMET_ROOT/forks/vm-1/api.sock" ] || return 1
  for cwd in /proc/[0-9]*/cwd; do
    case $(readlink "$cwd" 2> /dev/null) in "$RAMET_ROOT"/forks/*) return 1 ;; esac
  done
}
# Wrong use and missing parts.
refused 'a kernel has to be named' 2 'needs --kernel' "$RAMET" run vm-1
refused 'no command after --' 2 'no command after' "$RAMET" run vm-1 --kernel "$kernel" --
refused '--interactive needs a terminal' 2 'needs a terminal' \
  "$RAMET" run vm-1 --kernel "$kernel" --interactive -- true
refused 'a VMM that does not exist' 2 'auto\|firecracker\|qemu' "$RAMET" run vm-1 --vmm xen --kernel "$kernel"
refused 'an unknown fork' 1 'there is no fork called nobody' fc '' nobody -- true
refused 'a kernel that is missing' 1 'cannot open the kernel .*No such file' \
  fc '' vm-1 --kernel "$scratch/nothing" -- true
refused 'a kernel that is a folder' 1 'is a folder' fc '' vm-1 --kernel "$scratch" -- true
refused 'a kernel that is none' 1 'is no kernel' fc '' vm-1 --kernel "$scratch/base.squashfs" -- true
refused 'modules that are missing' 1 'cannot open the kernel modules' \
  fc '' vm-1 --modules "$scratch/nothing" -- true
refused 'modules that are a file' 1 'not a folder' fc '' vm-1 --modules "$kernel" -- true
refused 'a command longer than a kernel takes, where there is no other way' 1 \
  'command line would be [0-9]+ bytes' \
  fc '' vm-1 --in-image-init -- "$(head -c 2100 /dev/zero | tr '\0' a)"
refused 'a command longer than the init takes' 1 'command would be [0-9]+ bytes' \
  fc '' vm-1 -- "$(head -c 50000 /dev/zero | tr '\0' ' ')"
refused 'control characters among the kernel arguments' 1 'control character' \
  fc '' vm-1 --append "$(printf 'a\nb')" -- true
refused 'too little memory' 1 'too little' fc '' vm-1 --memory 8M -- true
refused 'an accelerator that does not exist' 1 "not 'warp'" env RAMET_ACCEL=warp \
  "$RAMET" run vm-1 --kernel "$kernel" -- true
refused 'Firecracker cannot be emulated' 1 'needs KVM' \
  "$RAMET" run vm-1 --vmm firecracker --accel tcg --kernel "$kernel" -- true
refused 'no VMM installed' 1 'qemu-system-x86_64 is not in PATH; install' \
  env PATH="$scratch" "$RAMET" run vm-1 --vmm qemu --accel tcg --kernel "$kernel" -- true
refused 'no VMM at all' 1 'nothing to run a VM with' \
  env PATH="$scratch" "$RAMET" run vm-1 --accel kvm --kernel "$kernel" -- true

# Firecracker, when all is well.
check_output() {
  name=$1 want=$2
  shift 2
  got=$("$@" 2> "$scratch/.err" < /dev/null; echo " status $?")
  if [ "$got" = "$want" ]; then ok "$name"; else not_ok "$name" "got: $got" "want: $want" "$(cat "$scratch/.err")"; fi
}
export FAKE_STATUS=7
check_output "the command's words, output and status pass through" \
  'ran: sh -c echo "a, b%" | ü  status 7' fc '' vm-1 -- sh -c 'echo "a, b%" | ü '
export FAKE_STATUS=0
check_output 'a status of 0 is 0' 'ran: true status 0' fc '' vm-1 -- true
rm -f "$scratch/record"
fc '' vm-1 --vcpus 2 --memory 300 -- true > /dev/null < /dev/null
check 'the machine is put together in order, then started' awk '
  { seen = seen " " $2 }
  END { exit seen != " /machine-config /boot-source /drives/base /drives/volume /actions" }' "$scratch/record"
check 'CPUs and memory are passed on' grep -q '"vcpu_count":2,"mem_size_mib":300' "$scratch/record"
check 'the base is read-only, the volume flushes' sh -c '
  grep -q "\"drive_id\":\"base\".*\"is_root_device\":false,\"is_read_only\":true" "$1" &&
  grep -q "\"drive_id\":\"volume\".*\"is_read_only\":false,\"cache_type\":\"Writeback\"" "$1"' sh "$scratch/record"
rm -f "$scratch/record"
fc '' vm-1 --ram -- true > /dev/null < /dev/null
check 'with --ram the volume is not attached' sh -c '
  ! grep -q volume "$1" && grep -q "overlay_root=ram" "$1"' sh "$scratch/record"
rm -f "$scratch/record"
fc '' vm-1 --in-image-init -- true > /dev/null < /dev/null
check 'with --in-image-init the base is the root, and there is no initramfs' sh -c '
  grep -q "\"drive_id\":\"base\".*\"is_root_device\":true" "$1" &&
  grep -q "init=/sbin/overlay-init" "$1" && ! grep -q initrd "$1"' sh "$scratch/record"
check_output 'input reaches the command, and so does its end' 'ran: cathello status 0' \
  sh -c "printf 'hello' | FAKE_MODE=echo PATH='$fake':\$PATH timeout 60 '$RAMET' run \
  --vmm firecracker --accel kvm --quiet --kernel '$kernel' vm-1 -- cat"
check 'which VMM was taken is said in one line' sh -c "
  PATH='$fake':\$PATH '$RAMET' run --accel kvm --kernel '$kernel' vm-1 -- true 2>&1 > /dev/null < /dev/null |
  grep -qx 'ramet run: vm-1 on firecracker with KVM.'"
check 'nothing is left behind' nothing_left

# A store in a folder whose path is longer than a socket's may be.
long=$scratch/$(head -c 100 /dev/zero | tr '\0' d)/$(head -c 100 /dev/zero | tr '\0' e)
"$RAMET" fork --root "$long" "$scratch/base.squashfs" far --size 16M > /dev/null
check_output 'a long path to the store is no obstacle' 'ran: true status 0' fc '' --root "$long" far -- true

# Firecracker, when it is not.
refused "Firecracker's own reason is quoted, cleaned" 1 \
  'refused PUT /drives/volume: Unable to patch the block device: out of paint\.$' fc refuse vm-1 -- true
refused 'a Firecracker that dies at once' 1 'firecracker died: .*cannot create the VM: out of luck' fc die vm-1 -- true
refused 'a Firecracker that dies while it is configured' 1 'firecracker died: .*at the wrong moment' \
  fc die-late vm-1 -- true
refused 'a Firecracker that answers no HTTP' 1 'did not answer PUT /machine-config' fc garbage vm-1 -- true
refused 'a Firecracker that never opens its socket' 1 'did not open its socket within' fc hang vm-1 -- true
fc panic vm-1 -- true > "$scratch/out" 2> "$scratch/err" < /dev/null
check 'a kernel panic is quoted, cleaned' grep -q \
  'kernel gave up: \[    1.000000\] Kernel panic - not syncing: VFS: no root\.$' "$scratch/err"
refused "the init's reason is quoted" 1 'could not be set up: the volume /dev/vdb is not there\.$' \
  fc fail vm-1 -- true

# A reader that sleeps while more comes than ramet keeps: 400000 lines of 60 bytes.
fc flood vm-1 -- true 2> "$scratch/err" < /dev/null | {
  sleep 3
  awk '{ bytes += length($0) + 1 } END { print NR, bytes, $0 + 0 }'
} > "$scratch/out"
check 'a slow reader loses nothing, though Firecracker would drop it' \
  test "$(cat "$scratch/out" "$scratch/err")" = '400000 24000009 399999'

# Ends that are asked for.
status=0
fc wait vm-1 --timeout 2 -- sleep 9 > /dev/null 2> "$scratch/err" < /dev/null || status=$?
check 'the time limit is status 124, and said' test "$status $(cat "$scratch/err")" = \
  '124 ramet run: vm-1 timed out after 2 s.'
# stopped NAME MODE SIGNAL... WANT-PATTERN: run, wait for the guest, send the signals.
stopped() {
  stopped_name=$1 mode=$2 signals=$3 pattern=$4
  : > "$scratch/out"
  FAKE_MODE=$mode PATH=$fake:$PATH env --default-signal=INT,HUP,TERM,QUIT timeout -s KILL 60 sh -c '
    echo $$ > "$1/pid"; exec "$2" run --vmm firecracker --accel kvm --quiet --kernel "$3" vm-1 -- sleep 9
    ' sh "$scratch" "$RAMET" "$kernel" > "$scratch/out" 2> "$scratch/err" < /dev/null &
  waited=$!
  tries=0
  until grep -q ran: "$scratch/out" || [ $tries -ge 300 ]; do sleep 0.1; tries=$((tries + 1)); done
  for s in $signals; do kill -s "$s" "$(cat "$scratch/pid")"; sleep 0.3; done
  status=0
  wait "$waited" 2> /dev/null || status=$?
  if echo "$status $(cat "$scratch/err")" | grep -qE -- "$pattern"; then
    ok "$stopped_name"
  else
    not_ok "$stopped_name" "status $status" "$(cat "$scratch/err")"
  fi
}
stopped 'Ctrl-C ends a guest that hears it' wait INT '^130 $'
stopped 'SIGTERM likewise' wait TERM '^130 $'
stopped 'SIGHUP likewise' wait HUP '^130 $'
stopped 'a guest that hears nothing is killed with the third signal' deaf 'INT INT INT' '^130 .*was killed\.$'
check 'nothing is left behind after that' nothing_left
stopped 'kill -9 of ramet' deaf KILL '^137'
sleep 0.5
check 'takes the VMM along' sh -c '
  for cwd in /proc/[0-9]*/cwd; do
    case $(readlink "$cwd" 2> /dev/null) in "$RAMET_ROOT"/forks/*) exit 1 ;; esac
  done'
check_output 'and the fork can be run again' 'ran: true status 0' fc '' vm-1 -- true
{
  status=0
  fc wait vm-1 -- sleep 9 2> "$scratch/err" < /dev/null || status=$?
  echo "$status" > "$scratch/status"
} | head -c 3 > "$scratch/out"
check 'an output that nobody reads any more ends the VM' test "$(cat "$scratch/out" "$scratch/status")" = ran130

# One fork, one VM.
FAKE_MODE=deaf PATH=$fake:$PATH timeout -s KILL 60 "$RAMET" run --vmm firecracker --accel kvm --quiet --kernel "$kernel" \
  vm-2 -- sleep 9 > "$scratch/out" 2>&1 < /dev/null &
holder=$!
tries=0
until grep -q ran: "$scratch/out" || [ $tries -ge 300 ]; do sleep 0.1; tries=$((tries + 1)); done
refused 'a fork that runs is not run twice' 1 'fork vm-2 is in use by process [0-9]+' fc '' vm-2 -- true
refused 'nor is a configuration printed for it' 1 'fork vm-2 is in use by process [0-9]+' \
  "$RAMET" config vm-2 --kernel "$kernel"
kill -KILL "$(ps -o pid= --ppid "$holder" | tr -d ' ')"
wait "$holder" 2> /dev/null

cp "$scratch/base.squashfs" "$scratch/gone.squashfs"
"$RAMET" fork "$scratch/gone.squashfs" lost --size 16M > /dev/null
rm "$scratch/gone.squashfs"
refused 'a base that is gone' 1 'gone.squashfs' fc '' lost -- true
finish
