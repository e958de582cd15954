#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `ramet config`: what it prints is what Firecracker takes (as tests/fake knows it).
. "${SOURCE_ROOT:-$(dirname "$0")/../..}/tests/cli/lib.sh"
need python3
fake=${SOURCE_ROOT:-$(dirname "$0")/../..}/tests/fake

mkdir "$scratch/tree" && echo hello > "$scratch/tree/file"
"$RAMET" build "$scratch/tree" "$scratch/base.squashfs" > /dev/null
"$RAMET" fork "$scratch/base.squashfs" vm --size 16M > /dev/null
kernel=$scratch/vmlinux
printf '\177ELF\2\1\1\0\0\0\0\0\0\0\0\0\2\0\076\0\1\0\0\0' > "$kernel"
head -c 4096 /dev/zero >> "$kernel"
json=$scratch/vm.json
# get KEY...: a value in the configuration.
get() {
  python3 -c 'import json, sys
value = json.load(open(sys.argv[1]))
for key in sys.argv[2:]:
    value = value[int(key) if isinstance(value, list) else key]
print(value)' "$json" "$@"
}

(cd "$scratch" && "$RAMET" config vm --kernel vmlinux --vcpus 3 --memory 1G -- sh -c 'echo "hi, %"') > "$json" 2> "$scratch/err"
check 'it prints nothing on standard error' test ! -s "$scratch/err"
check 'the kernel is named absolutely' test "$(get boot-source kernel_image_path)" = "$kernel"
check 'the initramfs is there' test -s "$(get boot-source initrd_path)"
check 'the base comes first, read-only' test "$(get drives 0 path_on_host) $(get drives 0 is_read_only)" = \
  "$scratch/base.squashfs True"
check 'the volume comes second, writable, and is flushed' test \
  "$(get drives 1 is_read_only) $(get drives 1 cache_type)" = 'False Writeback'
check 'CPUs and memory are in it' test "$(get machine-config vcpu_count) $(get machine-config mem_size_mib)" = '3 1024'
check 'the command is in the kernel arguments, encoded' sh -c '
  echo "$1" | grep -q " ramet.exec=sh,-c,echo%20%22hi%2C%20%25%22$"' sh "$(get boot-source boot_args)"
check 'Firecracker takes the file' sh -c '"$1/firecracker" --no-api --config-file "$2" | grep -q "^ran: sh -c echo \"hi, %\"$"' \
  sh "$fake" "$json"
check 'a fork of which a configuration was printed is free' sh -c \
  '"$1" config vm --kernel "$2" > "$3"' sh "$RAMET" "$kernel" "$json"
check 'without a command the init finds its own' sh -c '! grep -q ramet.exec "$1"' sh "$json"
"$RAMET" config vm --kernel "$kernel" --ram > "$json"
check '--ram has no volume' test "$(get drives | grep -c volume)" = 0

# A kernel as distributions ship it: a bzImage with the ELF file packed inside.
python3 - "$kernel" "$scratch/vmlinuz" << 'END'
import gzip, struct, sys
packed = gzip.compress(open(sys.argv[1], "rb").read())
setup = bytearray(5 * 512)
setup[0x1f1], setup[0x1fe:0x200], setup[0x202:0x206] = 4, b"\x55\xaa", b"HdrS"
struct.pack_into("<H", setup, 0x206, 0x20f)
struct.pack_into("<II", setup, 0x248, 64, len(packed))
open(sys.argv[2], "wb").write(setup + b"\x90" * 64 + packed)
END
"$RAMET" config vm --kernel "$scratch/vmlinuz" > "$json"
unpacked=$(get boot-source kernel_image_path)
check 'a bzImage is unpacked' cmp "$unpacked" "$kernel"
touch -d '2001-01-01' "$unpacked"
"$RAMET" config vm --kernel "$scratch/vmlinuz" > "$json"
check 'and only once' test "$(stat -c %Y "$unpacked")" = "$(date -d 2001-01-01 +%s)"
head -c -10 "$scratch/vmlinuz" > "$scratch/short"
refused 'a bzImage that is cut short' 1 'cannot be unpacked' "$RAMET" config vm --kernel "$scratch/short"
check 'leaves no half of a kernel' test "$(ls -A "$RAMET_ROOT/kernels" | wc -l)" = 1

refused 'a kernel has to be named' 2 'needs --kernel' "$RAMET" config vm
refused 'an unknown fork' 1 'no fork called nobody' "$RAMET" config nobody --kernel "$kernel"
refused 'a kernel that is missing' 1 'No such file' "$RAMET" config vm --kernel "$scratch/nothing"
odd=$scratch/$(printf 'caf\351')
cp "$kernel" "$odd"
refused 'a name that JSON cannot hold' 1 'not; rename it' "$RAMET" config vm --kernel "$odd"

# Lazy images have no path: they are attached first.
at_exit() {
  "$RAMET" detach --all > /dev/null 2>&1
}
"$RAMET" fork "$scratch/tree" lazy --size 16M > /dev/null
refused 'a lazy fork that nothing serves' 1 "'ramet attach lazy --via vhost-user-blk' first" \
  "$RAMET" config lazy --kernel "$kernel"
"$RAMET" attach lazy --via vhost-user-blk > /dev/null
"$RAMET" config lazy --kernel "$kernel" > "$json"
check 'a lazy fork that is attached: the socket of its base' test \
  "$(get drives 0 socket)" = "$RAMET_ROOT/forks/lazy/export/base.sock"
check 'and the path of its volume' test "$(get drives 1 path_on_host)" = "$RAMET_ROOT/forks/lazy/volume"
"$RAMET" detach lazy
"$RAMET" attach lazy --via nbd > /dev/null
refused 'Firecracker knows no NBD' 1 'takes no NBD drives' "$RAMET" config lazy --kernel "$kernel"
"$RAMET" detach lazy
if [ -r /dev/fuse ]; then
  "$RAMET" attach lazy --via fuse > /dev/null
  "$RAMET" config lazy --kernel "$kernel" > "$json"
  check 'a fork that is attached via fuse: the file' test -s "$(get drives 0 path_on_host)"
  "$RAMET" detach lazy
else
  skip 'a fork that is attached via fuse' '/dev/fuse is missing'
fi
finish
