#!/bin/sh
# Of the torture tree and of random ones, in each format: what a lazy image stands for, materialized, is
# the plain image that the same writer writes, byte for byte; the other tools find it sound; a server's
# device gives the same bytes; and mounted by the kernel each file is the source's. SEED=N repeats the
# random trees.
. "$(dirname "$0")/lib.sh"
need python3 cmp e2fsck unsquashfs
cd "$scratch" || exit 1
manifest=$SOURCE_ROOT/tests/tools/manifest
seed=${SEED:-$(date +%s)}
echo "# SEED=$seed"
mkdir mnt
at_exit() { umount "$scratch/mnt" 2> /dev/null; }
"$SOURCE_ROOT/tests/torture-tree" tree 600 || { echo "1..0 # SKIP no torture tree can be made here"; exit 0; }

# random_tree FOLDER SEED: some 300 entries, whose sizes and holes are about the edges of blocks.
random_tree() {
  python3 - "$1" "$2" << 'END'
import os, random, sys
top, dice = sys.argv[1], random.Random(int(sys.argv[2]))
folders, files = [top], []
os.mkdir(top)
for n in range(300):
    path = "%s/%d" % (dice.choice(folders), n)
    kind = dice.randrange(20)
    if kind < 3:
        os.mkdir(path)
        folders.append(path)
    elif kind < 5:
        os.symlink("x" * dice.choice([1, 59, 60, 500]), path)
    elif kind < 7 and files:
        os.link(dice.choice(files), path)
    else:
        size = dice.choice([0, 1, 4095, 4096, 4097, 131072, dice.randrange(300000)])
        with open(path, "wb") as out:
            out.write(b"".join(dice.choice([bytes(4096), dice.randbytes(4096)])
                               for _ in range(size // 4096 + 1))[:size])
            if kind == 7:
                for _ in range(dice.randrange(4)):
                    out.seek(dice.randrange(3000000))
                    out.write(dice.randbytes(dice.randrange(1, 9000)))
                out.truncate(3000000 + dice.randrange(4096))
        files.append(path)
END
}

# The other tools' word on an image.
sound() {
  case $1 in
    squashfs) unsquashfs -lln "$2" > listed ;;
    erofs) ! command -v fsck.erofs > /dev/null || fsck.erofs "$2" ;;
    ext4) e2fsck -fn "$2" ;;
  esac
}

# as_source FORMAT IMAGE FOLDER: mounted by the kernel it is what the folder is.
as_source() {
  options=--no-deep
  [ "$1" != squashfs ] || options='--squashfs --no-deep'
  mount -t "$1" -o ro,loop "$2" mnt || return 1
  # shellcheck disable=SC2086
  "$manifest" $options mnt > found
  # shellcheck disable=SC2086
  "$manifest" $options "$3" > expected
  umount mnt
  diff expected found > differences || { head -n 20 differences; return 1; }
}
mounts() {
  [ "$(id -u)" = 0 ] && grep -qw "$1" /proc/filesystems
}

# compare FORMAT FOLDER: everything that is promised, of one tree.
compare() {
  rm -f one.*
  "$RAMET" build --lazy --format "$1" "$2" one.lazy && "$RAMET" materialize one.lazy "one.$1" &&
    "$PLAIN_IMAGE" "$1" "$2" one.plain && cmp "one.$1" one.plain && sound "$1" "one.$1" &&
    served
}
# The device gives the same bytes, in pieces, in any order, by io_uring and by threads.
served() {
  for option in '' -n; do
    "$DEVICE_READ" $option one.lazy one.read "$seed" > said && grep -q ', 0 failed' said &&
      cmp one.read one.plain || { cat said; return 1; }
  done
}
for format in squashfs erofs ext4; do
  check "$format: the torture tree's lazy image is its plain image" compare "$format" tree
  if mounts "$format"; then
    check "$format: the kernel reads the source in it" as_source "$format" "one.$format" tree
  else
    skip "$format: the kernel reads the source in it" "no $format mounts here"
  fi
  for round in 1 2; do
    rm -rf random && random_tree random $((seed + round))
    check "$format: so is random tree $round's" compare "$format" random
    if mounts "$format"; then
      check "$format: and the kernel reads it" as_source "$format" "one.$format" random
    fi
  done
done
# Of several roots, with files that layers have moved: no plain image of it is written, but the usual one is.
mkdir -p below/old below/kept above bound
seq 1 5000 > below/old/moved
seq 1 6000 > below/kept/hidden
seq 1 7000 > below/kept/stays
seq 1 8000 > above/new
seq 1 9000 > bound/in
mkdir above/renamed
several() {
  set -- below --layer above --bind ./bound:/mnt --init
  "$RAMET" build --lazy "$@" one.lazy && rm -f one.squashfs && "$RAMET" materialize one.lazy one.squashfs &&
    "$DEVICE_READ" one.lazy one.read "$seed" && cmp one.read one.squashfs &&
    "$RAMET" build "$@" usual.squashfs && rm -rf lazily usually &&
    unsquashfs -quiet -no-progress -d lazily one.squashfs && unsquashfs -quiet -no-progress -d usually usual.squashfs &&
    "$manifest" --squashfs lazily > found && "$manifest" --squashfs usually > expected && diff expected found
}
if [ "$(id -u)" = 0 ] && setfattr -n trusted.overlay.redirect -v /old above/renamed 2> /dev/null &&
  mkdir above/kept && mknod above/kept/hidden c 0 0 && mknod above/old c 0 0; then
  check "layers, moved folders, binds and the init are in it too" several
else
  skip "layers, moved folders, binds and the init are in it too" "only root makes whiteouts"
fi
check "ext4: so is that of a larger device" sh -c \
  '"$RAMET" build --lazy --size 300M tree large.lazy --format ext4 && "$RAMET" materialize large.lazy large.ext4 &&
  "$PLAIN_IMAGE" ext4 tree large.plain 314572800 && cmp large.ext4 large.plain && e2fsck -fn large.ext4'
finish
