#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Guests boot from drives that a server of ours has: vhost-user-blk, NBD, a file on FUSE, and that
# file mapped as memory; from an independent server's too. What happens when the server dies.
# check() calls functions by name.
# shellcheck disable=SC2317
# shellcheck source=tests/guest/lib.sh
. "$(dirname "$0")/lib.sh"
need qemu-storage-daemon fusermount3
tools=$BUILD_ROOT/tests/tools
servers=
end_servers() {
  for pid in $servers; do kill "$pid" 2> /dev/null; done
  wait
  servers=
}
at_exit() {
  end_servers
  for folder in "$scratch"/fuse*; do fusermount3 -uz "$folder" 2> /dev/null; done
}
# image_of NAME FORMAT: an image with the test's root, or with one file of its own in /NAME; padded
# to whole 2 MiB, which is what can be mapped.
image_of() {
  if [ "$1" = base ]; then
    tree=$scratch/root
  else
    tree=$scratch/$1.tree
    mkdir -p "$tree/$1"
    head -c 3000001 /dev/urandom > "$tree/$1/content"
  fi
  "$RAMET" build --format "$2" "$tree" "$scratch/$1" > /dev/null || bail_out "$1 could not be built"
  truncate -s %2M "$scratch/$1"
}
# serve KIND ADDRESS FILE [-r]: in the background; its pid is in $server.
serve() {
  mkdir -p "$scratch/said"
  rm -f "$scratch/said/ready"
  # shellcheck disable=SC2086
  "$tools/serve" ${4:-} "$1" "$2" "$3" > "$scratch/said/ready" 2> "$scratch/said/err" &
  server=$!
  servers="$servers $server"
  await_line '^ready' "$scratch/said/ready" "$server" ||
    bail_out "$1 does not serve: $(cat "$scratch/said/err")"
}
# await_line PATTERN FILE PID: until the file has it; false when the process is gone before.
await_line() {
  for _ in $(seq 300); do
    grep -aq "$1" "$2" && return
    kill -0 "$3" 2> /dev/null || return
    sleep 0.1
  done
}
serve_vhost() { serve vhost-user-blk "$scratch/vhost-$1.sock" "$scratch/$1" "${2:-}"; }
serve_nbd() { serve nbd "$scratch/nbd.sock" "$scratch/$1" -r; }
serve_fuse() {
  mkdir -p "$scratch/fuse-$1"
  serve fuse "$scratch/fuse-$1" "$scratch/$1" -r
}
# guest STATUS DRIVE... -- COMMAND: its output is in $scratch/guest.
mkdir "$scratch/vm"
guest() {
  want=$1
  shift
  got=0
  RAMET_ACCEL=tcg timeout -k 1 150 "$tools/boot" ${serves:+-s} ${serves:+"$serves"} qemu "$scratch/vm" \
    "$KERNEL" "$MODULES" "$@" > "$scratch/guest" 2> "$scratch/guest.err" < /dev/null || got=$?
  [ "$got" = "$want" ] && return
  echo "status $got, not $want"
  tail -n 5 "$scratch/guest" "$scratch/guest.err" "$scratch/vm/vmm.log"
  return 1
}
serves=
# reads NAME: the guest read what is in the image.
reads() {
  grep -q "^$(md5sum < "$scratch/$1.tree/$1/content" | cut -d ' ' -f 1) " "$scratch/guest" && return
  cat "$scratch/guest"
  return 1
}
image_of base squashfs
image_of one ext4
image_of two erofs
volume "$scratch/volume"

# Everything that virtio-mmio can have, in one guest.
serve_vhost base -r
serve_nbd one
serve_fuse two
check 'drives over vhost-user-blk, NBD and FUSE make one root' guest 3 \
  "vhost-user,base,ro,$scratch/vhost-base.sock" "nbd,layer1,ro,$scratch/nbd.sock,disk" \
  "file,layer2,ro,$scratch/fuse-two/disk.raw" "file,volume,rw,$scratch/volume" -- sh -c \
  'busybox md5sum /one/content /two/content; scene look write; exit 3'
check 'the base over vhost-user-blk is the one that was served' grep -q '^fact motd welcome' "$scratch/guest"
check 'what is read over NBD is what is in the image' reads one
check 'what is read over FUSE is what is in the image' reads two
check 'the volume beside them has what was written' has_exactly_the_change "$scratch/volume"

# What is mapped: the file on FUSE, a plain one, and the others on PCI beside them.
serve_vhost volume
check 'drives that are mapped as memory make one root with those on PCI' guest 4 \
  "pmem,base,ro,$scratch/fuse-two/disk.raw" "pmem,layer1,ro,$scratch/base" \
  "nbd,layer2,ro,$scratch/nbd.sock,disk" "vhost-user,volume,rw,$scratch/vhost-volume.sock" -- sh -c \
  'busybox md5sum /one/content /two/content; scene look; rm -r /srv; exit 4'
check 'what is mapped from FUSE is what is in the image' reads two
check 'what is read over NBD on PCI is what is in the image' reads one
check 'the volume over vhost-user-blk has what was written before' grep -q '^fact deep d' "$scratch/guest"
kill "$server"
wait "$server"
check 'and it is whole when its guest and its server have ended' sh -c \
  'e2fsck -fn "$1" && ! debugfs -R "ls -p /root/srv" "$1" 2> /dev/null | grep -q deep' sh "$scratch/volume"

qemu-storage-daemon --blockdev "driver=file,node-name=base,filename=$scratch/base,read-only=on" \
  --export "type=vhost-user-blk,id=e,node-name=base,addr.type=unix,addr.path=$scratch/other.sock" &
servers="$servers $!"
while [ ! -S "$scratch/other.sock" ]; do sleep 0.1; done
check "an independent server's drive boots too" guest 0 "vhost-user,base,ro,$scratch/other.sock" -- scene look

end_servers
# dying DRIVE...: the server dies under a guest that reads its drive again and again, at most twenty
# times, which is then its status 20; `after` is run then.
dying() {
  want=$1
  shift
  : > "$scratch/guest"
  serves=$server
  rm -f "$scratch/vm/server"
  guest "$want" "$@" -- sh -c 'echo ready; for i in $(seq 20); do
    echo 3 > /proc/sys/vm/drop_caches; busybox md5sum /bin/busybox || exit 9; busybox sleep 0.2; done; exit 20' &
  guest_pid=$!
  await_line '^ready' "$scratch/guest" "$guest_pid"
  sleep 0.5
  kill -9 "$server"
  wait "$server" 2> /dev/null
  $after
  wait "$guest_pid" || return
  serves=
}
after=:
ended='boot: what served its drives ended while the guest ran; what the guest had not flushed is lost.'
says_so() {
  [ "$(cat "$scratch/guest.err")" = "$ended" ] && return
  cat "$scratch/guest.err"
  return 1
}
serve_fuse base
check 'a server of FUSE that dies under a guest ends it' dying 120 "file,base,ro,$scratch/fuse-base/disk.raw"
check 'and that is said' says_so
fusermount3 -uz "$scratch/fuse-base"
serve_fuse base
check 'a server of what is mapped that dies under a guest ends it' dying 120 \
  "pmem,base,ro,$scratch/fuse-base/disk.raw"
check 'and that is said too' says_so
serve_vhost base -r
check 'a server of vhost-user-blk that dies under a guest ends it' dying 120 \
  "vhost-user,base,ro,$scratch/vhost-base.sock"
check 'and that is said as well' says_so
again() {
  rm -f "$scratch/$socket"
  "serve_$socket_kind" base -r
  echo "$server" > "$scratch/vm/server"
}
socket=vhost-base.sock socket_kind=vhost after=again
serve_vhost base -r
check 'a new server of vhost-user-blk goes on where the first one died' dying 20 \
  "vhost-user,base,ro,$scratch/vhost-base.sock"
same_throughout() { [ "$(grep -c busybox "$scratch/guest")" = 20 ] && [ "$(grep busybox "$scratch/guest" | sort -u | wc -l)" = 1 ]; }
check 'and the guest has read the same bytes throughout' same_throughout
finish
