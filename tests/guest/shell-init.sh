#!/bin/sh
# Interchange with the overlay-init script of firecracker-containerd: what either leaves in a
# volume, the other boots.
. "$(dirname "$0")/lib.sh"
initramfs "$initrd"
volume=$scratch/volume
shell_init
shell=ramet.handover=/sbin/shell-overlay-init

for format in squashfs ext4; do
  if [ "$format" = squashfs ] && ! command -v mksquashfs > /dev/null; then
    skip "squashfs" "mksquashfs is missing"
    continue
  fi
  image "$format" "$scratch/base"
  base=$scratch/base,readonly=on
  volume "$volume"
  boot out "$shell overlay_root=vdb scene=look,write,facts" "$base" "$volume"
  check "$format: the shell overlay-init boots our base" facts out "motd welcome" "root overlay"
  boot out "overlay_root=vdb ramet.exec=scene,look,0" "$base" "$volume"
  check "$format: ours boots the volume it left" facts out "motd changed" "new new" "gone is-gone"
  check "$format: and brings the status back" said out "ramet-exit:N:0"
  check "$format: nothing but the change is in it" has_exactly_the_change "$volume"
  check "$format: and it is clean" is_clean "$volume"
  boot out "$shell overlay_root=vdb scene=look" "$base" "$volume"
  check "$format: the shell overlay-init boots what ours left" facts out "motd changed" "deep d"
done
finish
