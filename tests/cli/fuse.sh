#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The FUSE export: a disk as a file that kernels and programs can do with as with any other. The
# images in it are mounted by the machine's own kernel.
# check() calls functions by name.
# shellcheck disable=SC2317
# shellcheck source=tests/cli/lib.sh
. "$SOURCE_ROOT/tests/cli/lib.sh"
need python3 losetup strace
[ "$(id -u)" = 0 ] || { echo "1..0 # SKIP mounting images needs root"; exit 0; }
[ -c /dev/fuse ] || { echo "1..0 # SKIP this kernel has no FUSE"; exit 0; }
SERVE=${SERVE:-$BUILD_ROOT/tests/tools/serve}
cd "$scratch" || exit 1
mkdir disk mnt
server=
at_exit() {
  umount mnt 2> /dev/null
  [ -n "$server" ] && kill -KILL "$server" 2> /dev/null
  umount -l disk user/disk 2> /dev/null
}
# start [OPTION...] FILE: its server; disk/disk.raw is it then.
start() {
  : > log
  "$SERVE" "$@" > log 2>&1 &
  server=$!
  for _ in $(seq 100); do
    grep -q ^ready log && return
    kill -0 "$server" 2> /dev/null || break
    sleep 0.05
  done
  cat log
  return 1
}
serve() {
  last='' options=''
  for last; do :; done
  while [ $# -gt 1 ]; do
    options="$options $1"
    shift
  done
  # shellcheck disable=SC2086
  start $options fuse disk "$last"
}
stop() {
  kill -TERM "$server" && wait "$server"
  ended_with=$?
  server=
  return $ended_with
}
unmounted() { ! grep -q " $scratch/disk " /proc/mounts; }

# --- whole images -------------------------------------------------------------------------------
"$SOURCE_ROOT/tests/torture-tree" tree 50 || exit 1
rm -r tree/sparse/all-hole tree/sparse/end tree/deep
same_tree() {
  serve -r image || return 1
  mount -o loop,ro -t "$1" disk/disk.raw mnt || return 1
  "$TREE_DUMP" dir mnt > found
  umount mnt
  "$TREE_DUMP" "$1" image > expected
  cmp disk/disk.raw image && stop && unmounted && diff expected found
}
for format in squashfs ext4 erofs; do
  "$RAMET" build --format $format tree image > build.log 2>&1 || exit 1
  # Kernels round a disk down to sectors of 512 bytes, and so does the server.
  truncate -s %512 image
  if grep -qw $format /proc/filesystems || modprobe -q $format; then
    check "a $format is mounted from it and holds what it was made of" same_tree $format
  else
    skip "a $format is mounted from it and holds what it was made of" "this kernel has no $format"
  fi
done

# --- reading ------------------------------------------------------------------------------------
head -c 24M /dev/urandom > random
truncate -s %512 random
cp random disk.copy
seed=$(date +%s%N)
echo "# seed $seed"
anywhere() {
  python3 - "$seed" "$1" << 'END'
import mmap, os, random, sys
random.seed(int(sys.argv[1]))
truth = open("disk.copy", "rb").read()
fd = os.open("disk/disk.raw", os.O_RDONLY)
flags = mmap.MAP_SHARED
mapped = mmap.mmap(fd, len(truth), flags, mmap.PROT_READ)
for _ in range(2000):
    at = random.randrange(len(truth))
    size = random.choice((1, 7, 511, 4096, 70001, 1 << 20))
    want = truth[at:at + size]
    got = mapped[at:at + size] if sys.argv[2] == "mapped" else os.pread(fd, size, at)
    if got != want:
        sys.exit("%d bytes at %d are wrong" % (size, at))
for at in (len(truth), len(truth) + 1, len(truth) + (1 << 40)):
    if os.pread(fd, 4096, at) != b"":
        sys.exit("bytes beyond the end")
if len(os.pread(fd, 4096, len(truth) - 10)) != 10:
    sys.exit("the end is somewhere else")
END
}
direct() {
  dd if=disk/disk.raw of=found bs=1M iflag=direct status=none && cmp found disk.copy
}
serve -r random || exit 1
check "reads anywhere, of any length, give the disk's bytes" anywhere read
check "a mapping reads the same" anywhere mapped
check "so do reads past the page cache" direct
if command -v qemu-img > /dev/null; then
  check "qemu-img finds the same disk" qemu-img compare -f raw -F raw disk/disk.raw random
else
  skip "qemu-img finds the same disk" "qemu-img is missing"
fi
listed() { [ "$(ls -A disk)" = disk.raw ] && [ "$(stat -c '%a %s %U' disk/disk.raw)" = "444 $(stat -c %s random) root" ]; }
check "the folder holds the disk, which says who may do what" listed
only_read() {
  ! touch disk/other 2> said && ! sh -c 'echo > disk/disk.raw' 2>> said && ! rm disk/disk.raw 2>> said &&
    [ "$(grep -c 'Read-only file system' said)" = 3 ]
}
check "what is read-only cannot be written to" only_read
pss() { awk '/^Pss:/ {print $2}' "/proc/$server/smaps_rollup"; }
# Not in the page cache, so that as many requests as may be are under way.
loaded() {
  truncate -s 512M sparse && serve -r sparse || return 1
  python3 - "$server" << 'END'
import mmap, os, sys, threading
fd = os.open("disk/disk.raw", os.O_RDONLY | os.O_DIRECT)
size = 1 << 20
def read(first):
    memory = mmap.mmap(-1, size)
    for at in range(first * size, 512 * size, 64 * size):
        os.preadv(fd, [memory], at)
readers = [threading.Thread(target=read, args=(first,)) for first in range(64)]
for reader in readers:
    reader.start()
most = 0
while any(reader.is_alive() for reader in readers):
    for line in open("/proc/%s/smaps_rollup" % sys.argv[1]):
        if line.startswith("Pss:"):
            most = max(most, int(line.split()[1]))
print(most, "KiB")
sys.exit(most > 24 << 10)
END
}
stop
check "its memory is bounded under load" loaded
quiet() {
  ldd "$SERVE" | grep -q libasan && return # It keeps what is freed, and shadows all.
  sleep 2.2
  echo "$(pss) KiB"
  [ "$(pss)" -le 2048 ]
}
check "an idle server takes less than 2 MiB, also after much work" quiet
stop
serve -r random || exit 1

# --- clients and servers that vanish ------------------------------------------------------------
vanish() {
  for _ in $(seq 30); do
    dd if=disk/disk.raw of=/dev/null bs=1M iflag=direct status=none &
    sleep 0.01
    kill -KILL $! 2> /dev/null
    wait $! 2> /dev/null
  done
  # One whose request is read when it has been killed.
  kill -STOP "$server"
  dd if=disk/disk.raw of=/dev/null bs=4k iflag=direct count=1 status=none &
  sleep 0.1
  kill -KILL $!
  kill -CONT "$server"
  wait $! 2> /dev/null
  cmp disk/disk.raw disk.copy
}
check "clients that vanish in the middle are nothing to the others" vanish
killed() {
  exec 5< disk/disk.raw
  kill -KILL "$server"
  wait "$server" 2> /dev/null
  server=
  timeout 5 dd if=/proc/self/fd/5 of=/dev/null bs=1M iflag=direct status=none 2> said
  [ $? = 1 ] || return 1
  timeout 5 ls disk 2>> said
  grep -c "not connected" said
}
check "a killed server ends in an error, not in waiting" killed
again() { serve -r random && cmp disk/disk.raw random; }
check "a new one serves again in the same folder" again
exec 5<&-
refused "a folder is served by one" 1 "a server that lives has mounted its disk on .*/disk; detach it" \
  "$SERVE" fuse disk random
ended() {
  umount disk && wait "$server" && server= && grep -q "was unmounted: there is nothing left to serve" log
}
check "unmounting it ends the server" ended

# --- where it cannot be mounted -----------------------------------------------------------------
mkdir full && touch full/x
refused "a folder that is not empty stays as it is" 1 "full is not empty: mounting on it would hide" \
  "$SERVE" fuse full random
refused "a file is no folder" 1 "random is not a folder" "$SERVE" fuse random random
refused "a folder must be there" 1 "cannot find the folder nowhere" "$SERVE" fuse nowhere random
refused "another's mount point stays" 1 "/proc is a mount point already" "$SERVE" fuse /proc random

# --- writing ------------------------------------------------------------------------------------
truncate -s 32M volume
mke2fs -q -F volume
written() {
  serve volume || return 1
  mount -o loop disk/disk.raw mnt || return 1
  cp -a tree/plain mnt/ && sync -f mnt
  umount mnt
  stop && e2fsck -fn volume > fsck.log 2>&1 && debugfs -R "rdump plain found.tree" volume 2>> fsck.log
  mkdir out && debugfs -R "rdump plain out" volume 2>> fsck.log
  diff -r tree/plain out/plain
}
check "a filesystem in it is written to, and is whole afterwards" written
random_writes() {
  for options in "" -n; do
    # shellcheck disable=SC2086
    serve $options random || return 1
    python3 - "$seed" << 'END' || return 1
import errno, mmap, os, random, sys
random.seed(int(sys.argv[1]))
truth = bytearray(open("disk.copy", "rb").read())
fd = os.open("disk/disk.raw", os.O_RDWR)
mapped = mmap.mmap(fd, len(truth))
for step in range(400):
    at = random.randrange(len(truth))
    data = random.randbytes(min(random.choice((1, 511, 4096, 70001, 1 << 20)), len(truth) - at))
    if step % 2:
        mapped[at:at + len(data)] = data
    else:
        os.pwrite(fd, data, at)
    truth[at:at + len(data)] = data
mapped.flush()
os.fsync(fd)
if open("random", "rb").read() != truth:
    sys.exit("the file has other bytes")
for at, what in ((len(truth), errno.ENOSPC), (len(truth) + 12345, errno.ENOSPC)):
    try:
        os.pwrite(fd, b"beyond", at)
        sys.exit("written beyond the end")
    except OSError as e:
        if e.errno != what:
            raise
for size in (0, len(truth) - 512, len(truth) + 512):
    try:
        os.ftruncate(fd, size)
        sys.exit("the length has changed")
    except PermissionError:
        pass
os.ftruncate(fd, len(truth))
open("disk.copy", "wb").write(truth)
END
    cmp disk/disk.raw disk.copy && stop || return 1
  done
}
check "random writes, also through a mapping, land where they should; beyond the end is no space" random_writes
durable() {
  strace -f -qq -e trace=fdatasync -o calls -D "$SERVE" fuse disk random > log 2>&1 &
  server=$!
  for _ in $(seq 100); do grep -q ^ready log && break; sleep 0.05; done
  python3 - << 'END'
import os
def count():
    return open("calls").read().count("fdatasync(")
fd = os.open("disk/disk.raw", os.O_RDWR)
os.close(fd)
assert count() == 0, "closing what was not written to needs no flush"
fd = os.open("disk/disk.raw", os.O_RDWR)
os.pwrite(fd, b"x" * 4096, 8192)
assert count() == 0
os.fsync(fd)
assert count() == 1, "fsync came back before the file's"
os.pwrite(fd, b"y" * 4096, 8192)
os.close(fd)
assert count() == 2, "closing flushes what was written"
END
  status=$?
  stop
  return $status
}
check "fsync comes back when the disk's file is durable" durable
failing() {
  strace -f -qq -e trace=fdatasync -e inject=fdatasync:error=EIO:when=1 -o calls -D \
    "$SERVE" fuse disk random > log 2>&1 &
  server=$!
  for _ in $(seq 100); do grep -q ^ready log && break; sleep 0.05; done
  python3 -c '
import os
fd = os.open("disk/disk.raw", os.O_RDWR)
os.pwrite(fd, b"x", 0)
try:
    os.fsync(fd)
    raise SystemExit("no failure")
except OSError as e:
    assert e.errno == 5, e
os.fsync(fd)
'
  status=$?
  stop
  return $status
}
check "a flush that fails is an I/O error to who asked for it" failing
blocks() { stat -c %b random; }
freed() {
  serve random && before=$(blocks) || return 1
  fallocate -p -o 4M -l 8M disk/disk.raw && fallocate -z -o 12M -l 4M disk/disk.raw || return 1
  cmp -i 4M:0 -n 12M disk/disk.raw /dev/zero && cmp -i 4M:0 -n 12M random /dev/zero || return 1
  echo "$before blocks, then $(blocks)"
  [ "$(blocks)" -le $((before - 12 * 2048 + 64)) ] && ! fallocate -l 64M disk/disk.raw 2> said
  status=$?
  stop
  return $status
}
check "space that is given back is free, and reads as zeros; the disk never grows" freed

by_qemu() {
  serve random || return 1
  timeout 30 qemu-io -f raw -c "write -P 7 1M 64k" -c flush -c "write -z -u 2M 1M" -c "discard 4M 1M" \
    disk/disk.raw > said &&
    timeout 30 qemu-io -n -t none -f raw -c "aio_write -P 9 512 1024" -c aio_flush disk/disk.raw >> said &&
    ! grep -i -e fail -e error said &&
    timeout 30 qemu-io -f raw -c "read -P 7 1M 64k" -c "read -P 0 2M 1M" -c "read -P 9 512 1024" random >> said &&
    ! grep -i -e fail -e error said
  status=$?
  stop
  return $status
}
if command -v qemu-io > /dev/null; then
  check "QEMU writes to it, with its cache and past it, zeroes and discards" by_qemu
else
  skip "QEMU writes to it" "qemu-io is missing"
fi

# --- attached -----------------------------------------------------------------------------------
attach() {
  "$RAMET" attach lazy --via fuse --json > attached || return 1
  server=$(jq .pid attached)
  file=$(jq -r '.devices[0].address' attached)
}
lazily() {
  "$RAMET" fork tree lazy > log && attach || return 1
  mount -o loop,ro -t squashfs "$file" mnt || return 1
  "$TREE_DUMP" dir mnt > found
  umount mnt
  "$RAMET" build tree image --format squashfs > log && "$TREE_DUMP" squashfs image > expected
  diff expected found
}
killed_attached() {
  exec 5< "$file"
  kill -KILL "$server"
  timeout 5 dd if=/proc/self/fd/5 of=/dev/null bs=1M iflag=direct status=none 2> said
  [ $? = 1 ] && attach && timeout 5 cat "$file" > /dev/null
}
detached() {
  server=
  "$RAMET" detach lazy && ! grep "$scratch/store" /proc/mounts && [ ! -e "$file" ]
}
if command -v jq > /dev/null && grep -qw squashfs /proc/filesystems; then
  check "a folder that was forked and attached is mounted, and nothing of it was copied" lazily
  check "its idle server takes less than 2 MiB" quiet
  check "it is killed, and attached again" killed_attached
  check "detaching takes the mount away" detached
  exec 5<&-
else
  skip "a folder that was forked and attached is mounted" "jq, or squashfs in this kernel, is missing"
fi

# --- users --------------------------------------------------------------------------------------
if command -v fusermount3 > /dev/null && command -v runuser > /dev/null && id nobody > /dev/null 2>&1; then
  chmod 711 .
  mkdir -m 755 user user/disk
  cp random user/file
  mknod -m 666 user/fuse c 10 229
  chown -R nobody user/disk user/file
  cat > user/steps << 'END'
set -eu
mount --bind user/fuse /dev/fuse
cd user
cat > as-user << 'INNER'
cd "$1" || exit 1
"$SERVE" fuse disk file > out 2>&1 &
server=$!
for _ in $(seq 100); do grep -q ^ready out && break; sleep 0.05; done
cmp file disk/disk.raw && echo changed | dd of=disk/disk.raw conv=notrunc status=none
kill $server && wait $server && cmp file disk/disk.raw 2> gone
grep -q "No such file" gone && head -n 1 file
INNER
chmod 777 .
SERVE=$SERVE runuser -u nobody -- sh as-user "$PWD"
END
  by_user() { unshare -m sh user/steps > said 2>&1; cat said user/out; grep -q ^changed said; }
  check "without root it is mounted, and unmounted, by fusermount3" by_user
  cat > user/attach << 'END'
set -eu
mount --bind user/fuse /dev/fuse
exec runuser -u nobody -- sh -eu user/as-attacher
END
  cat > user/as-attacher << 'END'
cd user
export RAMET_ROOT=$PWD/store
mkdir tree
cp file tree/
"$RAMET" fork tree vm
"$RAMET" attach vm --via fuse > attached
mounted=$(sed -n 's/^base  *//p' attached)
"$RAMET" build tree same
cmp same "$mounted" && grep -q " $RAMET_ROOT/.* fuse" /proc/mounts
"$RAMET" detach vm
! grep " $RAMET_ROOT" /proc/mounts && [ ! -e "$mounted" ] && echo detached
END
  by_attach() { unshare -m sh user/attach > said 2>&1; cat said; grep -qx detached said; }
  check "without root a fork is attached, and detached" by_attach
  cat > user/others << 'END'
set -eu
mount --bind user/fuse /dev/fuse
: > empty
mount --bind empty /etc/fuse.conf
cd user
exec runuser -u nobody -- "$SERVE" -u 12 fuse disk file
END
  export SERVE
  refused "other users are let in only where fuse.conf allows it" 1 \
    "the line user_allow_other is in /etc/fuse.conf; put it there, or attach as root" \
    unshare -m sh user/others
  other_user() {
    serve -r -u 65534 random || return 1
    runuser -u nobody -- cmp "$scratch/disk/disk.raw" "$scratch/disk.copy.too" &&
      ! runuser -u daemon -- cat "$scratch/disk/disk.raw" > found 2>&1
    status=$?
    stop
    return $status
  }
  cp random disk.copy.too
  check "root serves a disk for one other user, and no third" other_user
else
  skip "without root it is mounted, and unmounted, by fusermount3" "fusermount3, runuser or nobody is missing"
fi
finish
