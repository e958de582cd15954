#!/bin/sh
# What a clone changed, on the filesystems that can share blocks. The host's block map is the proof:
# a guest that overwrites a block of its disk and leaves the inode as it was is found out.
. "$(dirname "$0")/lib.sh"
need debugfs
[ "$(id -u)" = 0 ] || { echo "1..0 # SKIP loop mounts need root"; exit 0; }
at_exit() {
  umount "$scratch"/guest 2> /dev/null
  umount "$scratch"/fs-* 2> /dev/null
}
mkdir -p "$scratch/tree/folder" "$scratch/guest"
head -c 2000000 /dev/urandom > "$scratch/tree/folder/large"
for i in 1 2 3 4 5; do
  echo "content $i" > "$scratch/tree/folder/file-$i"
done

# same_change FORK EXPECTED NAME: what diff says of the fork.
says() {
  out=$("$RAMET" diff "$1" 2>&1)
  if [ "$out" = "$2" ]; then ok "$3"; else not_ok "$3" "said: $out"; fi
}
first_block() {
  debugfs -R "blocks $1" "$2" 2> /dev/null | awk '{print $1}'
}

for kind in xfs btrfs; do
  command -v mkfs.$kind > /dev/null || { skip "clones on $kind" "mkfs.$kind is missing"; continue; }
  mount=$scratch/fs-$kind
  mkdir "$mount"
  truncate -s 512M "$scratch/$kind.img"
  if ! mkfs.$kind -q "$scratch/$kind.img" > "$scratch/.out" 2>&1 || ! mount -o loop "$scratch/$kind.img" "$mount" 2> /dev/null; then
    skip "clones on $kind" "this kernel cannot mount $kind"
    continue
  fi
  export RAMET_ROOT="$mount/store"
  "$RAMET" build "$scratch/tree" "$mount/base.ext4" --size 64M > /dev/null
  check "$kind: clones are made where they were asked for" \
    "$RAMET" fork "$mount/base.ext4" c --count 3 --provider reflink
  says c-1 "" "$kind: a clone that nobody used changed nothing"

  volume=$mount/store/forks/c-1/volume
  printf x | dd of="$volume" bs=4096 seek="$(first_block /folder/file-2 "$volume")" conv=notrunc 2> /dev/null
  says c-1 "M /folder/file-2" "$kind: a block that was overwritten behind the inode's back is found"
  block=$(debugfs -R 'blocks /folder/large' "$volume" 2> /dev/null | awk '{print $300}')
  printf x | dd of="$volume" bs=4096 seek="$block" conv=notrunc 2> /dev/null
  says c-1 "M /folder/file-2
M /folder/large" "$kind: one block in the middle of a large file is found"

  if mount -o loop "$mount/store/forks/c-2/volume" "$scratch/guest"; then
    rm "$scratch/guest/folder/file-1"
    touch "$scratch/guest/folder/file-2"
    cp -p "$scratch/guest/folder/file-3" "$scratch/guest/copy"
    mv "$scratch/guest/copy" "$scratch/guest/folder/file-3"
    chmod 600 "$scratch/guest/folder/file-4"
    echo new > "$scratch/guest/new"
    umount "$scratch/guest"
    says c-2 "D /folder/file-1
M /folder/file-4
A /new" "$kind: deleted, changed and new are told; touched and rewritten with the same are not"
  else
    skip "$kind: changes through the kernel's ext4" "this kernel cannot mount the clone"
  fi
  says c-3 "" "$kind: its sibling changed nothing"
  umount "$mount"
done
finish
