#!/bin/sh
# --layer: what the kernel's own overlay mount of the same directories shows, entry by entry. First
# a case for each rule, then layers that the kernel itself made by random work.
# SEEDS (default 12) random stacks, from SEED (default: the time) on.
. "$(dirname "$0")/lib.sh"
need unsquashfs python3 setfattr mount
cd "$scratch" || exit 1
manifest=$SOURCE_ROOT/tests/tools/manifest
at_exit() { umount "$scratch/mnt" 2> /dev/null; umount "$scratch"/random/mnt 2> /dev/null; }
[ "$(id -u)" = 0 ] || { echo "1..0 # SKIP only root can mount an overlay"; exit 0; }
mkdir -p mnt probe/a probe/b
mount -t overlay overlay -o lowerdir=probe/a:probe/b mnt 2> /dev/null || { echo "1..0 # SKIP this kernel mounts no overlay here"; exit 0; }
umount mnt

# compare OPTIONS LAYER...: the lowest first.
compare() {
  options=$1
  shift
  below="" words=""
  for layer in "$@"; do
    below=$layer${below:+:$below}
    words="$words --layer $layer"
  done
  mount -t overlay overlay -o "ro,lowerdir=$below,$options" mnt || return 1
  "$manifest" --squashfs --count-names mnt > expected
  umount mnt
  rm -rf unpacked
  # shellcheck disable=SC2086
  "$RAMET" build $words image.squashfs || return 1
  unsquashfs -no-progress -d unpacked image.squashfs > out 2>&1 || { tail -n 3 out; return 1; }
  "$manifest" --squashfs --count-names unpacked > found
  diff expected found
}
all="redirect_dir=on,metacopy=on"
fresh() { rm -rf low mid top && mkdir low mid top; }
mark() { setfattr -n "trusted.overlay.$1" -v "$2" "$3"; }

fresh
mkdir -p low/dir/sub top/dir
echo low > low/dir/file && echo low > low/dir/sub/deep && echo low > low/alone
echo top > top/dir/file && echo top > top/dir/other && ln -s nowhere top/dir/link
chmod 711 top/dir && chown 7:8 top/dir && chmod 1777 top
check "directories meet and the layer's attributes count, the root's too" compare "$all" low top

fresh
mkdir -p low/gone/deep low/dir top/dir
touch low/gone/deep/file low/file low/dir/file
mknod top/gone c 0 0 && mknod top/file c 0 0 && mknod top/dir/nothing c 0 0 && mknod top/device c 1 3
ln top/gone top/dir/file
check "0/0 devices hide what is below, of nothing too, hard linked too" compare "$all" low top

fresh
mkdir -p low/dir/sub mid/dir top/dir/sub
touch low/dir/a low/dir/sub/b mid/dir/c top/dir/sub/d
mark opaque y top/dir && mark opaque n mid/dir
check "an opaque directory is not merged, and only 'y' says that it is" compare "$all" low mid top
mark opaque y mid/dir && setfattr -x trusted.overlay.opaque top/dir
check "what lies on an opaque directory is merged with it" compare "$all" low mid top

fresh
mkdir -p low/dir low/file top/dir/sub top/link/below
touch low/dir/a top/file && echo file > low/link && rm -r low/file && mkdir low/file && touch low/file/inside
check "files, directories and links take each other's place" compare "$all" low top
fresh
mkdir -p low/one/two/three top/new/kept
touch low/one/two/three/file low/one/two/file
mknod top/one c 0 0 && mark redirect /one/two top/new
check "an absolute redirect" compare "$all" low top
fresh
mkdir -p low/dir/old mid/dir/new top/dir/newest
touch low/dir/old/file mid/dir/new/mid top/dir/newest/top
mknod mid/dir/old c 0 0 && mark redirect old mid/dir/new
mknod top/dir/new c 0 0 && mark redirect new top/dir/newest
check "a redirect to a neighbour, twice over" compare "$all" low mid top
fresh
mkdir -p low/a low/b top/a top/b
touch low/a/in-a low/b/in-b
mark redirect b top/a && mark redirect a top/b
check "two directories that changed places" compare "$all" low top
fresh
mkdir -p low/a top/a/x/y
touch low/a/file && mark opaque y top/a && mark redirect /a top/a/x/y
check "a directory moved into its own place" compare "$all" low top
fresh
mkdir -p low/d top/d top/e top/f && touch low/file top/d/x
ln -s d low/link && mark redirect /file top/e && mark redirect /link top/f && mark redirect /none/such top/d
check "redirects to a file, through a link, to nothing" compare "$all" low top

fresh
mkdir low/dir && head -c 200000 /dev/urandom > low/dir/data && truncate -s 200000 low/sparse
truncate -s 200000 top/moved && chmod 600 top/moved && chown 5:6 top/moved
mark metacopy "" top/moved && mark redirect /dir/data top/moved && setfattr -n user.own -v 1 top/moved
truncate -s 200000 top/sparse && mark metacopy "" top/sparse && ln top/moved top/again
check "a metacopy has the content of the file below" compare "$all" low top

fresh
echo low > low/file && ln low/file low/second && ln low/file low/third
mkdir low/dir && ln low/file low/dir/fourth && echo top > top/second && mknod top/third c 0 0
check "hard links that are left in the tree" compare "$all" low top

fresh
touch top/file && mkdir top/dir
for attribute in origin impure nlink protattr upper uuid; do mark $attribute x top/dir; done
setfattr -n trusted.overlay.overlay.opaque -v y top/dir
setfattr -n trusted.overlay.overlay.overlay.z -v y top/dir
setfattr -n trusted.overlaid -v y top/dir && setfattr -n trusted.a -v y top/dir
check "overlay's own attributes are hidden, those put aside are back" compare "$all" low top

fresh
mkdir -p low/dir low/plain mid/dir top/dir
touch low/dir/gone low/dir/kept low/plain/kept mid/dir/gone
setfattr -n trusted.overlay.whiteout -v y mid/dir/gone && mark opaque x mid/dir && mark opaque x mid
if mount -t overlay overlay -o "ro,lowerdir=top:mid:low" mnt 2> /dev/null && [ ! -e mnt/dir/gone ]; then
  umount mnt
  check "whiteouts by attribute" compare "$all" low mid top
else
  umount mnt 2> /dev/null
  skip "whiteouts by attribute" "this kernel does not know them"
fi

fresh
mkdir -p low/dir low/old top/dir top/new
touch low/dir/a low/old/b
setfattr -n user.overlay.opaque -v y top/dir
mknod top/old c 0 0
if mount -t overlay overlay -o "ro,lowerdir=top:low,userxattr" mnt 2> /dev/null; then
  umount mnt
  check "marks in user attributes" compare userxattr low top
else
  skip "marks in user attributes" "this kernel does not know userxattr"
fi

fresh
mkdir -p low/d/e && touch low/d/e/f
check "one layer alone" sh -c '"$RAMET" build --layer low one.squashfs && "$RAMET" build low two.squashfs && cmp one.squashfs two.squashfs'
check "the same layer twice" sh -c '"$RAMET" build --layer low --layer low one.squashfs && cmp one.squashfs two.squashfs'

seed=${SEED:-$(date +%s)}
last=$((seed + ${SEEDS:-12}))
while [ "$seed" -lt "$last" ]; do
  rm -rf random
  layers=$((seed % 4 + 1))
  check "random layers of the kernel's, seed $seed, made" "$SOURCE_ROOT/tests/tools/overlay-random" "$seed" $layers random
  stack=$(seq -f 'random/%.0f' 0 $layers)
  # shellcheck disable=SC2086
  check "random layers of the kernel's, seed $seed, $((layers + 1)) of them" compare "$all" $stack
  seed=$((seed + 1))
done
finish
