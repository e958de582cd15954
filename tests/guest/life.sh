#!/bin/sh
# The image's own init, layers, the console's input, and Ctrl-C.
. "$(dirname "$0")/lib.sh"
need mksquashfs
image squashfs "$scratch/base"
initramfs "$initrd"
base=$scratch/base,readonly=on
volume=$scratch/volume

for way in initramfs in-image; do
  handover=''
  [ "$way" = in-image ] && handover=ramet.handover=/sbin/overlay-init
  volume "$volume"
  boot out "$handover overlay_root=vdb scene=look,write,facts one -- two" "$base" "$volume"
  check "$way: the image's init gets the arguments the kernel leaves over" facts out \
    "arguments one two"
  check "$way: it sees the merged root, and is PID 1" facts out "root overlay" "motd welcome" \
    "one init" "layers 1"
  check "$way: what it changed is in the volume" needs_replay_or_is_clean "$volume"
  boot out "$handover overlay_root=vdb ramet.exec=scene,look" "$base" "$volume"
  check "$way: and is seen by the next boot" facts out "motd changed" "gone is-gone"
done

mkdir -p "$scratch/layer/etc" "$scratch/upmost/etc"
echo layered > "$scratch/layer/etc/motd"
echo layered > "$scratch/layer/etc/new"
echo upmost > "$scratch/upmost/etc/new"
image squashfs "$scratch/layer.squashfs" "$scratch/layer"
mke2fs -q -t ext4 -d "$scratch/upmost" "$scratch/upmost.ext4" 4M > /dev/null
boot out "ramet.layers=vda,vdb,vdc ramet.exec=scene,look" "$base" \
  "$scratch/layer.squashfs,readonly=on" "$scratch/upmost.ext4,readonly=on"
check "layers lie on each other in the order they are named, of either format" facts out \
  "motd layered" "new upmost" "gone is-there"

# start ARGUMENTS DRIVE...: a guest with somebody at its keys, who waits for "ready".
mkfifo "$scratch/keys"
exec 9<> "$scratch/keys"
start() {
  boot_output=$scratch/out
  : > "$boot_output"
  qemu "$boot_output" "$@" &
  boot_pid=$!
  await_ready
}
input=$scratch/keys
volume "$volume"
start "overlay_root=vdb ramet.exec=scene,write,ready" "$base" "$volume"
printf '\003' >&9
wait "$boot_pid"
check "Ctrl-C interrupts the command" said out "ramet-exit:N:130"
check "and the volume is clean" is_clean "$volume"
check "and has the change" has_exactly_the_change "$volume"

start "ramet.exec=sh,-c,echo%20ready%3bscene%20read%20read" "$base"
printf 'one line\nlast\004\004' >&9
wait "$boot_pid"
check "the command reads the console" facts out "read one line" "read last"
check "and nothing of it is echoed" [ "$(grep -ac 'one line' "$scratch/out")" = 1 ]
input=/dev/null

# A reader that is late: the command has ended long before its output is through the console.
mkfifo "$scratch/late"
(sleep 6; cat) < "$scratch/late" > "$scratch/out" &
reader=$!
(qemu "$scratch/late" "ramet.exec=sh,-c,dd%20if%3d/bin/busybox%20bs%3d64k%20count%3d4%202%3e/dev/null" \
  "$base")
wait "$reader"
head -c 262144 "$scratch/root/bin/busybox" > "$scratch/want"
came_whole() {
  said out "ramet-exit:N:0" || return
  LC_ALL=C sed '1,/^ramet-ready:N:/d' "$scratch/out" | head -c 262144 | cmp - "$scratch/want"
}
check "nothing is lost when the reader is late" came_whole

no_terminal=ramet.exec=sh,-c,test%20-t%201
boot out "$no_terminal" "$base"
check "the command's output is no terminal" said out "ramet-exit:N:1"
boot out "ramet.tty=24x80 $no_terminal" "$base"
check "it is one when a person is at the console" said out "ramet-exit:N:0"

boot out "ramet.verbose=1 ramet.exec=true" "$base"
check "the init says its steps when it is asked to" said out " us: the overlay is mounted"
finish
