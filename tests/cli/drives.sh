#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What Firecracker (as tests/fake knows it) is told of drives that are served or mapped, and what
# happens when their server ends.
# check() calls functions by name.
# shellcheck disable=SC2317
. "${SOURCE_ROOT:=$(cd "$(dirname "$0")/../.." && pwd)}/tests/cli/lib.sh"
need python3
tools=${BUILD_ROOT:-$SOURCE_ROOT/build}/tests/tools
kernel=$scratch/vmlinux
printf '\177ELF\2\1\1\0\0\0\0\0\0\0\0\0\2\0\076\0\1\0\0\0' > "$kernel"
head -c 4096 /dev/zero >> "$kernel"
truncate -s 2M "$scratch/image"
mkdir "$scratch/vm"
at_exit() { kill $! 2> /dev/null; }
"$tools/serve" -r vhost-user-blk "$scratch/sock" "$scratch/image" > "$scratch/ready" &
server=$!
until grep -qs ready "$scratch/ready"; do sleep 0.1; done

# boot OPTION... DRIVE...: a machine that Firecracker's stand-in plays.
boot() {
  : > "$scratch/record"
  FAKE_RECORD=$scratch/record RAMET_ACCEL=kvm PATH=$SOURCE_ROOT/tests/fake:$PATH \
    "$tools/boot" ${served:+-s} ${served:+"$served"} firecracker "$scratch/vm" "$kernel" - "$@" -- true
}
served=
told() { grep -qxF "PUT $1" "$scratch/record" && return; cat "$scratch/record"; return 1; }
check 'a drive on a server of vhost-user-blk is taken' boot "vhost-user,base,ro,$scratch/sock"
check 'and has no key that only files have' told "/drives/base {\"drive_id\":\"base\",\"socket\":\"$scratch/sock\",\"is_root_device\":false,\"cache_type\":\"Unsafe\"}"
check 'a drive that is mapped is taken' boot "pmem,base,ro,$scratch/image" "file,volume,rw,$scratch/image"
check 'and is no block device' told "/pmem/base {\"id\":\"base\",\"path_on_host\":\"$scratch/image\",\"root_device\":false,\"read_only\":true}"
FAKE_VERSION=1.13.2
export FAKE_VERSION
refused 'a Firecracker without pmem is told apart by its version' 120 \
  'this Firecracker is version 1\.13, and virtio-pmem drives need 1\.14; ' boot "pmem,base,ro,$scratch/image"
check 'and takes what it knows' boot "vhost-user,base,ro,$scratch/sock"
refused 'what it cannot reach at all is refused' 120 'firecracker takes no NBD drives; take --vmm qemu' \
  boot "nbd,base,ro,$scratch/sock,disk"
refused 'a server that is not there is named by it' 120 'refused PUT /drives/base: .*No such file' \
  boot "vhost-user,base,ro,$scratch/nowhere"
(sleep 1; kill "$server") &
served=$server FAKE_MODE=wait
export FAKE_MODE
refused 'a machine whose server ends is asked to end, and that is said' 120 \
  '^boot: what served its drives ended while the guest ran; what the guest had not flushed is lost\.$' \
  boot "vhost-user,base,ro,$scratch/sock"
finish
