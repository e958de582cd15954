# shellcheck shell=sh disable=SC2034,SC2154
# For tests that write to a fork as its guest would: overlayfs of this machine's kernel, with the base
# below and the fork's volume above. Sourced after lib.sh. Needs root.
TREE_DIFF=$SOURCE_ROOT/tests/tools/tree-diff
export LC_ALL=C
vm=$scratch/vm

at_exit() {
  for mounted in "$vm" "$scratch/upper" "$scratch/lower"; do
    ! mountpoint -q "$mounted" || umount "$mounted" || umount -l "$mounted"
  done
}

# need_overlay: skip the whole file unless this machine can do all that.
need_overlay() {
  [ "$(id -u)" = 0 ] || { echo "1..0 # SKIP mounting needs root"; exit 0; }
  need mount umount perl getfattr setfattr
  mkdir -p "$vm" "$scratch/lower" "$scratch/upper"
  mkdir "$scratch/probe" "$scratch/probe/l" "$scratch/probe/u" "$scratch/probe/w"
  mount -t tmpfs none "$scratch/upper" 2> /dev/null && mkdir "$scratch/upper/u" "$scratch/upper/w" &&
    mount -t overlay none -o "lowerdir=$scratch/lower,upperdir=$scratch/upper/u,workdir=$scratch/upper/w" \
      "$vm" 2> /dev/null || { echo "1..0 # SKIP overlayfs cannot be mounted here"; exit 0; }
  vm_umount
}

volume_of() { echo "$RAMET_ROOT/forks/$1"/volume*; }

# vm_mount FORK BASE: $vm is what a guest would see; vm_umount is its clean shutdown.
vm_mount() {
  mountpoint -q "$scratch/lower" || mount -o loop,ro "$2" "$scratch/lower"
  mount -o loop "$(volume_of "$1")" "$scratch/upper"
  mkdir -p "$scratch/upper/root" "$scratch/upper/work"
  mount -t overlay none \
    -o "lowerdir=$scratch/lower,upperdir=$scratch/upper/root,workdir=$scratch/upper/work" "$vm"
}
vm_umount() {
  umount "$vm" && umount "$scratch/upper"
}
