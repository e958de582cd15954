#!/bin/sh
# ramet commit: a fork's changes as a layer, or the fork as a whole image; forks of both see what the
# fork saw; what is refused leaves nothing.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/edits.sh"
. "$(dirname "$0")/merge.sh"
. "$(dirname "$0")/volume.sh"
need_overlay
need_merge
need jq
at_exit() {
  unmerge
  umount "$vm" "$scratch/upper" "$scratch/lower" "$scratch/small" 2> /dev/null
  umount "$scratch/host" 2> /dev/null
  :
}

base_tree "$scratch/old"
base=$scratch/base.squashfs
"$RAMET" build "$scratch/old" "$base" --bind "$scratch/old/etc:/data:ro" > /dev/null
# in_fork FORK COMMAND...: COMMAND, with $vm, in what FORK's guest would see; $seen is a copy of that.
# The fork's images are given as $lowers, the topmost first.
in_fork() {
  fork=$1
  shift
  mount -o loop "$(volume_of "$fork")" "$scratch/upper" || return 1
  mkdir -p "$scratch/upper/root" "$scratch/upper/work"
  mount -t overlay none -o "lowerdir=$lowers,upperdir=$scratch/upper/root,workdir=$scratch/upper/work" "$vm" || return 1
  "$@" > /dev/null 2>&1
  find "$vm" -type f -exec setfacl -b {} + 2> /dev/null
  rm -rf "$scratch/seen" && cp -a "$vm" "$scratch/seen"
  sync -f "$vm"
  cp --sparse=always "$(volume_of "$fork")" "$scratch/killed"
  vm_umount
}
lowers_of() {
  unmerge
  merge "$@" && umount "$mnt/merged" || return 1
  lowers=$lower
}
volume_sum() { sha256sum < "$(volume_of "$1")"; }

"$RAMET" fork "$base" vm --count 4 --size 200M > /dev/null
"$RAMET" commit vm-1 "$scratch/none.squashfs" > "$scratch/said"
check "a fork that never ran is an empty layer, which is said" grep -q "^a layer on base.squashfs: empty, as nothing differs" "$scratch/said"
"$RAMET" build "$base+$scratch/none.squashfs" "$scratch/none" > /dev/null
check "... and changes nothing of its base" cmp "$scratch/none" "$base"

lowers_of "$base"
in_fork vm-1 guest_edits "$vm"
unmerge
before=$(volume_sum vm-1)
for format in squashfs erofs ext4; do
  layer=$scratch/layer.$format whole=$scratch/whole.$format
  check "commit as a layer in $format" sh -c '"$RAMET" commit vm-1 "$1" > "$2"' - "$layer" "$scratch/said"
  check "... says what changed" grep -qE "^a layer on base.squashfs: 30 added, 10 modified, 15 deleted, 4 of another type$" "$scratch/said"
  check "... and on the base is what the guest saw" merges_to "$scratch/seen" "$base" "$layer"
  check "commit --flatten in $format is what the guest saw" sh -c '"$RAMET" commit vm-1 "$1" --flatten' - "$whole"
  check "... without the base" merges_to "$scratch/seen" "$whole"
done
check "the volume is as it was" test "$before" = "$(volume_sum vm-1)"
"$RAMET" build "$base+$scratch/layer.erofs" "$scratch/merged.squashfs" > /dev/null
check "layer over base, and flattened, are the same squashfs" cmp "$scratch/merged.squashfs" "$scratch/whole.squashfs"
"$RAMET" commit vm-1 "$scratch/again" --flatten > /dev/null
check "a commit gives the same bytes each time" cmp "$scratch/again" "$scratch/whole.squashfs"
"$RAMET" commit vm-1 "$scratch/again" --json > "$scratch/json"
check "--json says the same" jq -e '.format == "squashfs" and .added == 30 and .modified == 10 and
  .deleted == 15 and .retyped == 4 and .journal_replayed == false and .image_bytes > 4096' "$scratch/json"

# The same from the journal of a VM that was killed.
cp --sparse=always "$scratch/killed" "$(volume_of vm-2)"
check "a killed VM's journal is replayed, which is said" sh -c \
  '"$RAMET" commit vm-2 "$1" 2>&1 > /dev/null | grep -q "journal was replayed"' - "$scratch/again"
check "... and nothing is missing" merges_to "$scratch/seen" "$base" "$scratch/again"

# Forks of layers, and layers of those.
chain=$base+$scratch/layer.squashfs
"$RAMET" fork "$chain" next --count 2 --size 200M > /dev/null
"$RAMET" diff next-1 > "$scratch/list"
check "a fork of base and layer starts without changes" test ! -s "$scratch/list"
"$RAMET" commit next-1 "$scratch/whole2.squashfs" --flatten > /dev/null
check "... and holds what the first one did" cmp "$scratch/whole2.squashfs" "$scratch/whole.squashfs"
seed=${SEED:-$(date +%s)}
echo "# SEED=$seed"
lowers_of "$base" "$scratch/layer.squashfs"
in_fork next-1 "$tools/random-edits" "$seed" 60 "$vm"
"$TREE_DIFF" "$scratch/whole" "$scratch/seen" > /dev/null 2>&1
unmerge
check "a fork of a chain is committed" "$RAMET" commit next-1 "$scratch/layer2"
check "... as a layer on all of it" merges_to "$scratch/seen" "$base" "$scratch/layer.squashfs" "$scratch/layer2"
check "... and flattened" sh -c '"$RAMET" commit next-1 "$1" --flatten' - "$scratch/whole2.erofs"
check "... as what its guest saw" merges_to "$scratch/seen" "$scratch/whole2.erofs"
"$RAMET" fork "$chain+$scratch/layer2" last --size 100M > /dev/null
"$RAMET" commit last "$scratch/whole3.squashfs" --flatten > /dev/null
check "a fork of that holds the same" merges_to "$scratch/seen" "$scratch/whole3.squashfs"

# What the base's maker said stays.
paths() { "$RAMET" show "$1" --json | jq -r '.read_only_paths | join(" ")'; }
check "read-only paths go with a chain" test "$(paths last)" = /data
"$RAMET" fork "$scratch/whole2.erofs" flat --size 100M > /dev/null
check "... and with a flattened image" test "$(paths flat)" = /data
mkdir -p "$scratch/bundle"
echo '{"ociVersion":"1.0.0","root":{"path":"rootfs"},"process":{"args":["/bin/tool"],"cwd":"/home","user":{"uid":0,"gid":0}}}' > "$scratch/bundle/config.json"
cp -a "$scratch/old" "$scratch/bundle/rootfs"
process() { "$RAMET" show "$1" --json | jq -c .process.args; }
"$RAMET" build "bundle:$scratch/bundle" "$scratch/run.squashfs" > /dev/null 2>&1
"$RAMET" fork "$scratch/run.squashfs" p1 --size 100M > /dev/null
"$RAMET" commit p1 "$scratch/p.layer" > /dev/null && "$RAMET" commit p1 "$scratch/p.whole" --flatten > /dev/null
"$RAMET" fork "$scratch/run.squashfs+$scratch/p.layer" p2 --size 100M > /dev/null
"$RAMET" fork "$scratch/p.whole" p3 --size 100M > /dev/null
check "the default command goes with a chain" test "$(process p2)" = '["/bin/tool"]'
check "... and with a flattened image" test "$(process p3)" = '["/bin/tool"]'

# Clones.
truncate -s 1G "$scratch/xfs"
mkdir "$scratch/host"
if command -v mkfs.xfs > /dev/null && mkfs.xfs -q "$scratch/xfs" && mount -o loop "$scratch/xfs" "$scratch/host" 2> /dev/null; then
  outer=$RAMET_ROOT
  RAMET_ROOT=$scratch/host/store
  clone_base=$scratch/host/base.ext4
  "$RAMET" build "$scratch/old" "$clone_base" --size 200M > /dev/null
  "$RAMET" fork "$clone_base" c --provider reflink > /dev/null
  "$RAMET" commit c "$scratch/clone.squashfs" > "$scratch/said"
  check "a clone that nobody used is an empty layer" grep -q "empty, as nothing differs" "$scratch/said"
  mount -o loop "$(volume_of c)" "$vm"
  guest_edits "$vm" > /dev/null 2>&1
  find "$vm" -type f -exec setfacl -b {} + 2> /dev/null
  rm -rf "$scratch/seen" && cp -a "$vm" "$scratch/seen"
  umount "$vm"
  before=$(volume_sum c)
  check "a clone is committed as a layer" "$RAMET" commit c "$scratch/clone.squashfs"
  check "... that on the base is what its guest saw" merges_to "$scratch/seen" "$clone_base" "$scratch/clone.squashfs"
  for format in squashfs erofs ext4; do
    check "a clone is flattened to $format" sh -c '"$RAMET" commit c "$1" --flatten --format "$2"' - "$scratch/flat" $format
    check "... as what its guest saw" merges_to "$scratch/seen" "$scratch/flat"
  done
  check "the clone is as it was" test "$before" = "$(volume_sum c)"
  mount -o loop "$(volume_of c)" "$vm" && mknod "$vm/zero" c 0 0 && umount "$vm"
  refused "a clone's 0/0 device is no part of a layer" 1 '/zero.*0/0' "$RAMET" commit c "$scratch/zero"
  check "... but of a whole image" "$RAMET" commit c "$scratch/zero" --flatten
  umount "$scratch/host"
  RAMET_ROOT=$outer
else
  skip "clones are committed" "XFS cannot be made or mounted here"
fi

# What is refused, and leaves nothing.
refused "an unknown fork" 1 'no fork called vm-9' "$RAMET" commit vm-9 "$scratch/x"
refused "the image over the base" 1 'stands.*another name' "$RAMET" commit vm-1 "$base"
refused "the image over a layer below" 1 'stands.*another name' "$RAMET" commit last "$scratch/layer2"
refused "a format that there is not" 2 'squashfs' "$RAMET" commit vm-1 "$scratch/x" --format vfat
"$RAMET" diff vm-3 > /dev/null
perl -e 'use Fcntl; open my $f, "+<", $ARGV[0] or die; my $l = pack("s! s! x4 q q i x4", F_WRLCK, 0, 0, 0, 0);
  fcntl($f, 37, $l) or die "$!"; $| = 1; print "held\n"; sleep 60' \
  "$RAMET_ROOT/forks/vm-3/lock" > "$scratch/held" &
holder=$!
for _ in $(seq 50); do [ -s "$scratch/held" ] || sleep 0.1; done
refused "a fork that is in use" 1 "vm-3 is in use" "$RAMET" commit vm-3 "$scratch/x"
kill "$holder" && wait "$holder" 2> /dev/null
mkdir "$scratch/small" && mount -t tmpfs -o size=200k none "$scratch/small"
refused "a disk that is full" 1 'No space left' "$RAMET" commit vm-1 "$scratch/small/x"
check "... has no part of an image" test -z "$(ls -A "$scratch/small")"
cp --sparse=always "$(volume_of vm-1)" "$scratch/kept"
printf '\377\377\377\377' | dd of="$(volume_of vm-1)" bs=1 seek=1048 conv=notrunc status=none
refused "a damaged volume" 1 'vm-1.*damaged|volume of fork vm-1' "$RAMET" commit vm-1 "$scratch/x"
check "... nothing appears" test ! -e "$scratch/x"
cp --sparse=always "$scratch/kept" "$(volume_of vm-1)"
cp "$base" "$scratch/copy" && cp "$scratch/copy" "$base"
refused "a base that was changed since" 1 'was changed after' "$RAMET" commit vm-1 "$scratch/x"
finish
