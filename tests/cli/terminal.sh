#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `ramet run` on a terminal: who gets the keys, and that the terminal comes back as it was.
. "${SOURCE_ROOT:-$(dirname "$0")/../..}/tests/cli/lib.sh"
need python3
source=${SOURCE_ROOT:-$(dirname "$0")/../..}

mkdir "$scratch/tree" && echo hello > "$scratch/tree/file"
"$RAMET" build "$scratch/tree" "$scratch/base.squashfs" > /dev/null
"$RAMET" fork "$scratch/base.squashfs" vm --size 16M > /dev/null
kernel=$scratch/vmlinux
printf '\177ELF\2\1\1\0\0\0\0\0\0\0\0\0\2\0\076\0\1\0\0\0' > "$kernel"
head -c 4096 /dev/zero >> "$kernel"

# on_terminal NAME WANT FAKE_MODE HOW OPTION...
on_terminal() {
  name=$1 want=$2 mode=$3 how=$4
  shift 4
  got=$(FAKE_MODE=$mode PATH=$source/tests/fake:$PATH python3 "$source/tests/cli/terminal.py" "$how" \
    "$RAMET" run vm --vmm firecracker --accel kvm --kernel "$kernel" "$@" -- sleep 9 2> "$scratch/shown")
  if [ "$got" = "$want" ]; then ok "$name"; else not_ok "$name" "$got, not $want" "$(cat "$scratch/shown")"; fi
}
on_terminal 'Ctrl-C ends the VM cleanly' '130 cooked restored' wait 'KEYS:\x03'
on_terminal 'with --interactive Ctrl-C is the guest'\''s' '130 raw restored' wait 'KEYS:\x03' --interactive
on_terminal 'every key reaches the guest' '0 raw restored' echo 'KEYS:\x1a\x1c\x13\x11x\x04' --interactive
check 'as it was typed' grep -q 'ran: sleep 9.x1a.x1c.x13.x11x' "$scratch/shown"
on_terminal 'Ctrl-] three times asks the VM to end' '130 raw restored' wait 'KEYS:\x1d\x1d\x1d' --interactive
check 'and that is said at the start' grep -q 'Ctrl-\] three times ends it' "$scratch/shown"
on_terminal 'the terminal is restored after SIGTERM' '130 raw restored' wait SIGTERM --interactive
on_terminal 'a terminal that goes away ends the VM' '130 cooked gone' wait HANGUP
on_terminal 'with --interactive too' '130 raw gone' wait HANGUP --interactive
check 'and leaves nobody behind' sh -c '
  for cwd in /proc/[0-9]*/cwd; do
    case $(readlink "$cwd" 2> /dev/null) in "$RAMET_ROOT"/forks/*) exit 1 ;; esac
  done'
finish
