#!/bin/sh
# Clone mode: the root device is the fork's own writable ext4, and grows to its device.
. "$(dirname "$0")/lib.sh"
image ext4 "$scratch/base"
initramfs "$initrd"
clone=$scratch/clone

has_the_change() {
  for probe in "cat /etc/motd" "cat /etc/new" "cat /srv/deep/file"; do
    debugfs -R "$probe" "$clone" 2> /dev/null
  done | tr '\n' ' ' | grep -qx 'changed new d ' || return
  debugfs -R 'stat /etc/gone' "$clone" 2>&1 | grep -q 'not found'
}
has_blocks() {
  blocks=$(dumpe2fs -h "$clone" 2> /dev/null | sed -n 's/^Block count: *//p')
  size=$(dumpe2fs -h "$clone" 2> /dev/null | sed -n 's/^Block size: *//p')
  [ $((blocks * size)) = "$1" ] || { echo "$blocks blocks of $size"; return 1; }
}

for way in initramfs in-image; do
  handover=''
  [ "$way" = in-image ] && handover=ramet.handover=/sbin/overlay-init
  cp "$scratch/base" "$clone"
  boot out "$handover ramet.mode=clone ramet.exec=scene,look,write,facts,7" "$clone"
  check "clone, $way: the status comes back" said out "ramet-exit:N:7"
  check "clone, $way: the root is the ext4 itself" facts out "motd welcome" "root ext4"
  check "clone, $way: the change is in it" has_the_change
  check "clone, $way: it is clean" is_clean "$clone"
  truncate -s 100M "$clone"
  boot out "$handover ramet.mode=clone ramet.exec=scene,look" "$clone"
  check "clone, $way: a second boot sees the changes" facts out "motd changed" "gone is-gone"
  check "clone, $way: the filesystem grew with its device" has_blocks $((100 << 20))
  check "clone, $way: and is clean" is_clean "$clone"
done

before=$(digest "$clone")
boot out "ro ramet.mode=clone ramet.exec=scene,write,look" "$clone,readonly=on"
check "clone: with the kernel's argument ro nothing is written" facts out "motd changed"
check "clone: and the device is as it was" [ "$before" = "$(digest "$clone")" ]
boot out "ramet.mode=clone ramet.exec=true" "$clone,readonly=on"
check "clone: a read-only drive without ro is refused" failed_with out \
  "the base /dev/vda could not be mounted: its drive is read-only"
finish
