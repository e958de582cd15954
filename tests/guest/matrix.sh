#!/bin/sh
# matrix.sh BASE: {initramfs, in-image init} x {volume, ram} x {clean stop, kill} on one format.
. "$(dirname "$0")/lib.sh"
format=$1
[ "$format" != squashfs ] || need mksquashfs
image "$format" "$scratch/base"
initramfs "$initrd"
before=$(digest "$scratch/base")
base=$scratch/base,readonly=on
volume=$scratch/volume

for way in initramfs in-image; do
  handover=''
  [ "$way" = in-image ] && handover=ramet.handover=/sbin/overlay-init
  label="$format, $way"

  volume "$volume"
  boot out "$handover overlay_root=vdb FOO=bar ramet.cwd=/etc ramet.ro=/data \
    ramet.exec=scene,look,write,facts,ro,orphans,7" "$base" "$volume"
  check "$label, volume: the command's exit status comes back" said out "ramet-exit:N:7"
  check "$label, volume: the command sees the base" facts out "motd welcome" "gone is-there"
  check "$label, volume: the command has what it needs around it" facts out "root overlay" \
    "hostname guest-7" "cwd /etc" "home /root" "foo bar" "loopback 0x9" "tty /dev/console" \
    "descriptors 1" "layers 1" "shm yes" "userns yes" \
    "folders . .. bin data dev etc proc root sbin srv sys usr"
  check "$label, volume: a path that is to be read-only is" facts out "ro refused" "kept kept"
  check "$label, volume: the volume has exactly the change" has_exactly_the_change "$volume"
  check "$label, volume: the volume is clean after a clean stop" is_clean "$volume"

  boot out "$handover overlay_root=vdb ramet.exec=scene,look,kill" "$base" "$volume"
  check "$label, volume: a second boot sees the changes" facts out "motd changed" "new new" \
    "gone is-gone" "deep d"
  check "$label, volume: a command that a signal ends has status 128 + N" said out \
    "ramet-exit:N:137"

  volume "$volume"
  boot_and_kill out "$handover overlay_root=vdb ramet.exec=scene,write,ready" "$base" "$volume"
  check "$label, volume: after a kill the journal has the change" \
    needs_replay_and_has_the_change "$volume"
  boot out "$handover overlay_root=vdb ramet.exec=scene,look" "$base" "$volume"
  check "$label, volume: a killed VM's volume boots again" facts out "motd changed" "new new" \
    "gone is-gone" "deep d"
  check "$label, volume: and is clean after that" is_clean "$volume"

  untouched=$(digest "$volume")
  boot out "$handover overlay_root=ram ramet.exec=scene,look,write,look,0" "$base" "$volume"
  check "$label, ram: a clean stop brings the status back" said out "ramet-exit:N:0"
  check "$label, ram: the changes are seen in the guest" facts out "motd welcome" "motd changed"
  boot_and_kill out "$handover overlay_root=ram ramet.exec=scene,write,ready" "$base" "$volume"
  check "$label, ram: the guest ran until it was killed" said out "ready"
  check "$label, ram: the volume is left alone" [ "$untouched" = "$(digest "$volume")" ]
done
check "$format: nothing ever wrote to the base" [ "$before" = "$(digest "$scratch/base")" ]
finish
