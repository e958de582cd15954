#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check() calls functions by name.
# shellcheck disable=SC2317
# The kernel is the oracle: a tree seen by our readers and the same image mounted are one, line by
# line (tree-dump: types, modes, owners, links, times, devices, targets, attributes, content).
# shellcheck source=tests/cli/lib.sh
. "$SOURCE_ROOT/tests/cli/lib.sh"
need mksquashfs mke2fs debugfs setfattr python3
[ "$(id -u)" = 0 ] || { echo "1..0 # SKIP mounting needs root"; exit 0; }
mnt=$scratch/mnt lower=$scratch/lower upper=$scratch/upper
at_exit() {
  for folder in "$mnt" "$upper" "$lower"; do
    if mountpoint -q "$folder"; then umount "$folder"; fi
  done
}
mkdir "$mnt" "$lower" "$upper"
truncate -s 4M "$scratch/probe"
mke2fs -q -F -t ext4 "$scratch/probe"
mount -o loop "$scratch/probe" "$mnt" 2> /dev/null || { echo "1..0 # SKIP loop mounts do not work here"; exit 0; }
umount "$mnt"

make_tree() {
  mkdir -p "$1/a/b/c" "$1/many" "$1/empty"
  python3 - "$1" << 'PYTHON'
import os, sys
os.chdir(sys.argv[1].encode())
def put(name, data):
    with open(name, "wb") as file:
        file.write(data)
put("a/hello", b"hello\n")
os.link("a/hello", "a/b/hello2")
os.symlink("hello", "a/fast")
os.symlink("x" * 200, "a/slow")
put("a/noise", os.urandom(300000))
put("a/zeros", bytes(500000))
put("a/none", b"")
with open("a/sparse", "wb") as file:
    file.truncate(30000000)
    file.seek(20000000)
    file.write(b"abc")
# A hole in the last of the blocks that an inode without extents points to itself (of 1 KiB).
with open("a/late", "wb") as file:
    file.write(b"x" * 8192)
    file.seek(12288)
    file.write(b"y" * 8192)
for i in range(1200):
    put("many/f%d" % i, b"%d\n" % i)
put(b"a/\xff\xfe not utf-8", b"q")
os.mknod("a/chr", 0o20644, os.makedev(5, 300))
os.mknod("a/blk", 0o60644, os.makedev(259, 70000))
os.mkfifo("a/fifo")
os.setxattr("a/hello", "user.x", b"y" * 100)
os.setxattr("a/noise", "trusted.t", b"1")
os.setxattr("a/noise", "user.large", bytes(range(256)) * 2)
os.setxattr("a/b", "user.same", b"z" * 300)
os.setxattr("a/zeros", "user.same", b"z" * 300)
os.chown("a/zeros", 100000, 200000)
os.chmod("a/noise", 0o4755)
os.utime("a/b/c", ns=(-5 * 10**9 + 123,) * 2)
os.utime("a/hello", ns=(5000000000 * 10**9 + 7,) * 2)
PYTHON
}

# dumps FORMAT IMAGE [MORE]: our view of an image and the kernel's of $mnt are the same
compare() {
  "$TREE_DUMP" "$@" > "$scratch/ours" && cmp "$scratch/kernel" "$scratch/ours"
}
same_as_mounted() {
  cp --sparse=always "$2" "$scratch/mounted" && mount -o loop "$scratch/mounted" "$mnt" || return 1
  "$TREE_DUMP" dir "$mnt" > "$scratch/kernel"
  umount "$mnt"
  compare "$1" "$2"
}
make_tree "$scratch/tree"

for compression in gzip xz lz4 zstd; do
  mksquashfs "$scratch/tree" "$scratch/$compression" -comp "$compression" -noappend -no-progress \
    -quiet > /dev/null 2>&1
  check "a $compression squashfs is read as the kernel reads it" same_as_mounted squashfs "$scratch/$compression"
done

# With an ACL: only filesystems that the kernel wrote have them.
ext4_case() {
  rm -f "$scratch/image"
  truncate -s 100M "$scratch/image"
  # shellcheck disable=SC2086
  mke2fs -q -F $1 "$scratch/image" > /dev/null 2>&1 || return 1
  mount -o loop "$scratch/image" "$mnt" || return 1
  cp -a "$scratch/tree" "$mnt/"
  if command -v setfacl > /dev/null; then setfacl -m u:1234:rwx,g:77:r "$mnt/tree/a/none"; fi
  umount "$mnt"
  same_as_mounted ext4 "$scratch/image"
}
for options in "-t ext4" "-t ext4 -b 1024" "-t ext4 -O inline_data" "-t ext4 -O bigalloc" "-t ext2" \
  "-t ext3 -b 1024" "-t ext4 -O ^metadata_csum,uninit_bg" "-t ext4 -O meta_bg,^resize_inode" \
  "-t ext4 -O ea_inode" "-t ext4 -O orphan_file"; do
  check "an ext4 made with $options is read as the kernel reads it" ext4_case "$options"
done

# The backing file copied while mounted: what a killed VM leaves.
crashed() {
  rm -f "$scratch/image"
  truncate -s 64M "$scratch/image"
  # shellcheck disable=SC2086
  mke2fs -q -F -t ext4 $1 "$scratch/image" > /dev/null 2>&1 || return 1
  mount -o "loop$2" "$scratch/image" "$mnt" || return 1
  python3 - "$mnt" << 'PYTHON'
import os, random, sys
seed = int(os.environ.get("SEED", "0")) or random.randrange(1 << 30)
print("SEED=%d" % seed)
rng = random.Random(seed)
os.chdir(sys.argv[1])
folders = ["."]
for i in range(1500):
    where, dice = rng.choice(folders), rng.random()
    names = [name for name in os.listdir(where) if name.startswith("f")]
    if dice < .1:
        folders.append("%s/d%d" % (where, i))
        os.mkdir(folders[-1])
    elif dice < .6 or not names:
        with open("%s/f%d" % (where, i), "wb") as file:
            # The journal's magic number at the start of a block has to be escaped in it.
            file.write(rng.choice([b"x" * 10, b"y" * 9000, bytes.fromhex("c03b3998") * 3000]))
    elif dice < .8:
        os.unlink("%s/%s" % (where, rng.choice(names)))
    elif dice < .9:
        os.setxattr("%s/%s" % (where, rng.choice(names)), "user.k", b"v" * rng.choice([5, 300]))
    else:
        os.rename("%s/%s" % (where, rng.choice(names)), "./f-moved%d" % i)
    if i % 400 == 399:
        os.sync()
for i in range(10):
    file = os.open("after%d" % i, os.O_CREAT | os.O_RDWR)
    os.write(file, b"x" * 9000)
    os.fsync(file)
    os.close(file)
PYTHON
  cp --sparse=always "$scratch/image" "$scratch/crash"
  umount "$mnt"
  dumpe2fs -h "$scratch/crash" 2> /dev/null | grep -q needs_recovery || return 1
  same_as_mounted ext4 "$scratch/crash"
}
check "a journal is replayed as the kernel replays it" crashed "" ""
check "a journal with data is replayed" crashed "" ",data=journal"
check "a journal that went round is replayed" crashed "-b 1024 -J size=1" ""
check "a journal without checksums is replayed" crashed "-b 1024 -O ^metadata_csum,^64bit" ",data=journal"
check "a journal with the first kind of checksums is replayed" crashed "-O ^metadata_csum" ",journal_checksum"

# overlay_case OPTIONS: what a guest does, seen by the kernel's overlay and by ours
overlay_case() {
  rm -f "$scratch/upper.img"
  truncate -s 64M "$scratch/upper.img"
  mke2fs -q -F -t ext4 -b 4096 "$scratch/upper.img"
  mount -o loop,ro "$scratch/zstd" "$lower" && mount -o loop "$scratch/upper.img" "$upper" || return 1
  mkdir "$upper/root" "$upper/work"
  options="lowerdir=$lower,upperdir=$upper/root,workdir=$upper/work,index=off,$1"
  mount -t overlay -o "$options" overlay "$mnt" || return 1
  (
    cd "$mnt" || exit 1
    echo new > a/new
    echo more >> a/hello
    rm -r many/f1* empty a/slow
    mkdir empty a/slow
    touch empty/again
    mv a/b a/moved
    mv many many-moved
    mkdir deep
    mv many-moved deep/inner
    mv a/moved deep/twice
    echo x > deep/inner/f20
    chmod 600 a/noise
    chown 5 a/zeros
    mv a/zeros a/zeros-moved
    touch a/sparse
    ln a/noise a/noise-link
    rm a/fifo
    ln -s foo a/fifo
    setfattr -n trusted.overlay.mine -v 1 a/new
  )
  umount "$mnt"
  mount -t overlay -o "$options,ro" overlay "$mnt" || return 1
  "$TREE_DUMP" dir "$mnt" > "$scratch/kernel"
  umount "$mnt" "$upper" "$lower"
  compare overlay "$scratch/zstd" "$scratch/upper.img" /root
}
check "an overlay is merged as the kernel merges it" overlay_case redirect_dir=off,metacopy=off
check "an overlay with redirects and metacopy is merged" overlay_case redirect_dir=on,metacopy=on
finish
