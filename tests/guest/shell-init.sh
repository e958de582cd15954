#!/bin/sh
# Interchange with the overlay-init script of firecracker-containerd: what either leaves in a
# volume, the other boots. The script here does the same steps with the same names.
. "$(dirname "$0")/lib.sh"
initramfs "$initrd"
volume=$scratch/volume
mkdir -p "$scratch/root/overlay" "$scratch/root/rom" "$scratch/root/mnt"
cat > "$scratch/root/sbin/shell-overlay-init" << 'END'
#!/bin/sh
PATH=/bin:/sbin
if [ -n "$overlay_root" ] && [ "$overlay_root" != ram ] && [ ! -b "/dev/$overlay_root" ]; then
  echo "no device /dev/$overlay_root"
  exit 1
fi
if [ -z "$overlay_root" ] || [ "$overlay_root" = ram ]; then
  mount -t tmpfs -o noatime,mode=0755 tmpfs /overlay
else
  mount -t ext4 "/dev/$overlay_root" /overlay
fi
mkdir -p /overlay/root /overlay/work
mount -o noatime,lowerdir=/,upperdir=/overlay/root,workdir=/overlay/work -t overlay \
  overlayfs:/overlay/root /mnt
pivot_root /mnt /mnt/rom
mount -t devtmpfs dev /dev
exec /usr/sbin/init "$@"
END
chmod 755 "$scratch/root/sbin/shell-overlay-init"
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
