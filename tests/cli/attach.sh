#!/bin/sh
# shellcheck shell=sh
# attach and detach: a server for a fork's drives, what it is asked for, and what becomes of it.
# shellcheck source=tests/cli/lib.sh
. "$SOURCE_ROOT/tests/cli/lib.sh"
need nbdinfo nbdcopy python3
at_exit() {
  "$RAMET" detach --all > /dev/null 2>&1
  if mountpoint -q "$scratch/small"; then
    "$RAMET" detach --root "$scratch/small" --all > /dev/null 2>&1
    umount "$scratch/small"
  fi
}
cd "$scratch" || exit 1
mkdir -p tree/dir
head -c 3000000 /dev/urandom > tree/big
seq 20000 > tree/dir/numbers
"$RAMET" build tree base.squashfs > /dev/null || exit 1
"$RAMET" fork base.squashfs vm --size 64M > /dev/null || exit 1

# field NAME PYTHON: of the attachment in JSON, "a" in the expression.
field() {
  "$RAMET" show "$1" --json |
    python3 -c "import json, sys; a = json.load(sys.stdin)['attachment']; print($2)"
}
alive() {
  [ -e "/proc/$1" ] && ! grep -q '^State:.*zombie' "/proc/$1/status" 2> /dev/null
}
# The kernel takes a moment to be done with a process.
gone() {
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    alive "$1" || return 0
    sleep 0.1
  done
  return 1
}
socket() { echo "$RAMET_ROOT/forks/$1/export/nbd.sock"; }
uri() { echo "nbd+unix:///$2?socket=$(socket "$1")"; }

# --- serving
check "attach serves the drives of a fork of files" "$RAMET" attach vm --via nbd
check "nbdinfo sees base and volume" sh -c "nbdinfo --list '$(uri vm base)' > list &&
  grep -q 'export=\"base\"' list && grep -q 'export=\"volume\"' list"
check "the base is served as it is" sh -c "nbdcopy '$(uri vm base)' copy && cmp copy base.squashfs"
check "the base is read-only, the volume is not" sh -c "nbdinfo '$(uri vm base)' | grep -q 'is_read_only: true' &&
  nbdinfo '$(uri vm volume)' | grep -q 'is_read_only: false'"
pid=$(field vm "a['pid']")
"$RAMET" attach vm --via nbd > again
check "attaching again in the same way prints the same, and starts nothing" sh -c \
  "grep -q '^base *nbd+unix' again && [ '$(field vm "a['pid']")' = '$pid' ]"
refused "attaching in another way names the present one" 1 "attached in another way, via nbd .*$pid; 'ramet detach vm'" \
  "$RAMET" attach vm --via nbd --all
refused "an attached fork is not removed" 1 "fork vm is attached, and process $pid serves it; 'ramet detach vm'" "$RAMET" rm vm
refused "an attached fork is not diffed" 1 "is attached" "$RAMET" diff vm
refused "a fork of files stands on no folder" 1 "--source tree means no folder that full-of-files stands on" sh -c \
  '"$RAMET" fork base.squashfs full-of-files --size 64M > /dev/null; "$RAMET" attach full-of-files --via nbd --source tree; s=$?
   "$RAMET" rm full-of-files; exit $s'
refused "there are no other ways than those" 1 "no export called floppy; there are .*nbd.* path" "$RAMET" attach vm --via floppy
refused "no fork, no attachment" 1 "no fork called none" "$RAMET" attach none --via nbd

# --- its sandbox
status() { grep "^$1:" "/proc/$pid/status" | tr -dc '0-9'; }
check "the server has a seccomp filter" [ "$(status Seccomp)" = 2 ]
check "the server cannot get new privileges" [ "$(status NoNewPrivs)" = 1 ]
check "the server is nobody's child, and of no terminal" sh -c \
  "[ \"\$(ps -o ppid= -p $pid | tr -d ' ')\" = 1 ] && [ \"\$(ps -o tty= -p $pid | tr -d ' ')\" = '?' ]"
"$RAMET" detach vm
exec 9< tree/big
"$RAMET" attach vm --via nbd > /dev/null
exec 9<&-
pid=$(field vm "a['pid']")
# shellcheck disable=SC2012
check "nothing of whoever started it is open in it" sh -c "! readlink /proc/$pid/fd/* | grep -q tree/big"
"$RAMET" detach vm
many_files() {
  python3 -c 'import os, resource, subprocess, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (4200, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
for _ in range(4120):
    os.set_inheritable(os.open("/dev/null", os.O_RDONLY), True)
sys.exit(subprocess.run(sys.argv[1:], close_fds=False).returncode)' "$RAMET" attach vm --via nbd
}
check "whoever starts it may have thousands of files open" many_files
"$RAMET" detach vm
"$RAMET" attach vm --via nbd > /dev/null
pid=$(field vm "a['pid']")
pss=$(sed -n 's/^Pss: *\([0-9]*\) kB/\1/p' "/proc/$pid/smaps_rollup")
if [ -z "${pss:-}" ]; then
  skip "an idle server takes at most 2 MiB" "its smaps_rollup cannot be read"
elif nm -D "$BUILD_ROOT/server/ramet-server" 2> /dev/null | grep -q __asan; then
  skip "an idle server takes at most 2 MiB" "the sanitizers take more"
else
  check "an idle server takes at most 2 MiB ($pss KiB)" [ "$pss" -le 2048 ]
fi

# What a server that was taken over would do: strace changes the next call that it makes.
forbidden() {
  strace -qq -o traced -p "$pid" -e trace=poll,ppoll -e inject=poll,ppoll:retval=0:syscall=getppid &
  tracer=$!
  for _ in $(seq 50); do
    nbdinfo --size "$(uri vm base)" > /dev/null 2>&1
    alive "$pid" || break
    sleep 0.1
  done
  wait $tracer
  gone "$pid" && grep -q "Z tried system call 110, which is forbidden to it, and was ended$" "$RAMET_ROOT/forks/vm/log"
}
if [ "$(id -u)" = 0 ] && [ "$(uname -m)" = x86_64 ] && command -v strace > /dev/null; then
  check "a server that makes a forbidden call is ended, and its log says so" forbidden
  "$RAMET" detach vm
  check "and its fork is attached again" "$RAMET" attach vm --via nbd
  pid=$(field vm "a['pid']")
else
  skip "a server that makes a forbidden call is ended, and its log says so" "strace, or root, is missing"
fi

# --- detaching
check "detach ends the server" "$RAMET" detach vm
check "it is gone" gone "$pid"
check "nothing of the attachment is left" [ ! -e "$RAMET_ROOT/forks/vm/export" ]
check "detach of what is not attached does nothing" "$RAMET" detach vm
check "show tells what was read the last time" sh -c "'$RAMET' show vm | grep -q 'no; the last time'"

# --- killed
"$RAMET" attach vm --via nbd > /dev/null
pid=$(field vm "a['pid']")
kill -9 "$pid"
gone "$pid"
check "after a server was killed its socket is still there" [ -S "$(socket vm)" ]
check "the next attach takes its place" sh -c "'$RAMET' attach vm --via nbd && nbdinfo '$(uri vm base)' > /dev/null"
kill -9 "$(field vm "a['pid']")"
sleep 0.2
check "detach tidies up after a killed server" sh -c "'$RAMET' detach vm && [ ! -e '$RAMET_ROOT/forks/vm/export' ]"
"$RAMET" attach vm --via nbd > /dev/null
kill -9 "$(field vm "a['pid']")"
sleep 0.2
check "a fork whose server was killed can be read" "$RAMET" diff vm

# --- races
for i in 1 2 3 4 5 6; do
  "$RAMET" attach vm --via nbd > "race.$i" 2>&1 &
done
wait
check "of many that attach at once all get the same" sh -c "cat race.* | sort -u | wc -l | grep -qx 2"
check "and there is one server" sh -c "[ \$(fuser '$RAMET_ROOT/forks/vm/export/lock' 2> /dev/null | wc -w) -le 1 ]"
"$RAMET" detach vm

# --- ramet is killed while the server starts: a server that nobody has noted ends
server=$(readlink -f "$BUILD_ROOT/server/ramet-server")
mkdir libexec
printf '#!/bin/sh\nkill -9 $PPID\nexec "%s" "$@"\n' "$server" > libexec/ramet-server
chmod +x libexec/ramet-server
sh -c "RAMET_LIBEXEC='$scratch/libexec' '$RAMET' attach vm --via nbd; true" > /dev/null 2>&1
attached() { "$RAMET" attach vm --via nbd > /dev/null && "$RAMET" detach vm; }
check "when ramet attach was killed the fork can be attached, and detached" attached

# --- places
mkdir sockets
check "--address names the socket" sh -c "'$RAMET' attach vm --via nbd --address sockets/mine &&
  nbdinfo 'nbd+unix:///base?socket=$scratch/sockets/mine' > /dev/null"
"$RAMET" detach vm
check "which is taken away with the server" [ ! -e sockets/mine ]
check "vhost-user-blk: a socket for each drive" sh -c "'$RAMET' attach vm --via vhost-user-blk > out &&
  [ -S '$RAMET_ROOT/forks/vm/export/base.sock' ] && [ -S '$RAMET_ROOT/forks/vm/export/volume.sock' ]"
"$RAMET" detach vm
check "--read-only: the volume too" sh -c "'$RAMET' attach vm --via nbd --read-only > /dev/null &&
  nbdinfo '$(uri vm volume)' | grep -q 'is_read_only: true'"
"$RAMET" detach vm
# --- another user
refused "--user: wants a place that the user gets at" 1 "address" "$RAMET" attach vm --via nbd --user 65534:65534
refused "--user: nobody of that name" 1 "no user called" "$RAMET" attach vm --via nbd --address sockets/mine --user no-such-user
refused "--user: an open port is not one user's" 1 "every user" "$RAMET" attach vm --via nbd --address 127.0.0.1:0 --user 65534:65534
if [ "$(id -u)" = 0 ] && command -v setpriv > /dev/null; then
  chmod 711 "$scratch" sockets
  other() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
  "$RAMET" attach vm --via nbd --address sockets/mine > /dev/null
  check "a socket is its maker's alone" sh -c "! setpriv --reuid 65534 --clear-groups nbdinfo 'nbd+unix:///base?socket=$scratch/sockets/mine' 2> /dev/null"
  "$RAMET" detach vm
  "$RAMET" attach vm --via nbd --address sockets/mine --user 65534:65534 > /dev/null
  check "--user: the other user gets at it" other nbdinfo "nbd+unix:///base?socket=$scratch/sockets/mine"
  check "--user: it is that user's, and no one else's" sh -c "stat -c '%u:%g %a' sockets/mine | grep -qx '65534:65534 600'"
  "$RAMET" detach vm
  check "--user: its socket is taken away, too" [ ! -e sockets/mine ]
else
  skip "--user" "only root gives files away, with setpriv"
fi
echo "in the way" > file
refused "a file in the place of the socket is left alone" 1 "file" "$RAMET" attach vm --via nbd --address ./file
check "its failure leaves nothing behind" sh -c "'$RAMET' attach vm --via nbd > /dev/null && '$RAMET' detach vm && cat file"
refused "a port that there is not is not another one" 1 "from 0 to 65535" "$RAMET" attach vm --via nbd --address 127.0.0.1:99999
refused "path takes no words about serving" 1 "nothing is served" "$RAMET" attach vm --via path --read-only
for word in --on-stall=fail --stall-timeout=5 --no-prefetch --prefetch-bandwidth=1M; do
  refused "nor $word" 1 "nothing is served" "$RAMET" attach vm --via path "$word"
done
check "path prints the files" sh -c "'$RAMET' attach vm --via path > out && grep -q '^base *$scratch/base.squashfs$' out &&
  grep -q '^volume .*/forks/vm/volume (writable)' out"

# --- what a guest writes
"$RAMET" attach vm --via nbd > /dev/null
check "what is written to the volume is there after the server" sh -c "
  head -c 65536 /dev/urandom > written && nbdcopy written '$(uri vm volume)' && '$RAMET' detach vm &&
  cmp -n 65536 written '$RAMET_ROOT/forks/vm/volume'"
"$RAMET" detach vm

if [ -c /dev/fuse ] && [ -r /dev/fuse ]; then
  "$RAMET" attach vm --via fuse > /dev/null
  disk=$RAMET_ROOT/forks/vm/export/base/disk.raw
  check "fuse: the drive as a file" cmp "$disk" base.squashfs
  kill -9 "$(field vm "a['pid']")"
  sleep 0.2
  check "fuse: after a server was killed the next one mounts again" sh -c "'$RAMET' attach vm --via fuse && cmp '$disk' base.squashfs"
  kill -9 "$(field vm "a['pid']")"
  sleep 0.2
  check "fuse: the mount of a killed server keeps nobody from removing the fork" "$RAMET" rm vm
  "$RAMET" fork base.squashfs vm > /dev/null
  if [ "$(id -u)" = 0 ] && command -v setpriv > /dev/null; then
    "$RAMET" attach vm --all --via fuse --address disks --user 65534:65534 > /dev/null
    chmod 711 disks
    check "fuse: --user: the other user reads and writes" sh -c "
      setpriv --reuid 65534 --regid 65534 --clear-groups cmp disks/base/disk.raw base.squashfs 2> /dev/null ||
      setpriv --reuid 65534 --regid 65534 --clear-groups head -c 4096 disks/base/disk.raw | cmp -n 4096 - base.squashfs"
    check "fuse: --user: what it writes is on the volume" sh -c "
      echo theirs | setpriv --reuid 65534 --regid 65534 --clear-groups dd of=disks/volume/disk.raw conv=notrunc,fsync 2> /dev/null &&
      head -c 7 '$RAMET_ROOT/forks/vm/volume' | grep -qx theirs"
    "$RAMET" detach vm
  fi
  "$RAMET" rm vm
  check "fuse: no mount is left" sh -c "! grep -q '$RAMET_ROOT' /proc/mounts"
else
  skip "fuse" "/dev/fuse is missing"
fi

# --- a host whose disk is full
mkdir small
if mount -t tmpfs -o size=2m none small 2> /dev/null; then
  head -c 4M /dev/zero | tr '\0' x > filling
  "$RAMET" fork --root small base.squashfs full --size 64M > /dev/null
  "$RAMET" attach --root small full --via nbd > /dev/null
  check "a full disk is an error of the one who writes" sh -c \
    "! nbdcopy filling 'nbd+unix:///volume?socket=$scratch/small/forks/full/export/nbd.sock' 2> /dev/null"
  "$RAMET" show --root small full > shown
  check "and a line for who runs the host" grep -q \
    "volume: a write failed, and who asked was told so: No space left on device; make room where .*small/forks/full/volume is" shown
  check "one line, not one for each write" sh -c "[ \$(grep -c 'No space left' small/forks/full/log) = 1 ]"
  "$RAMET" detach --root small full
  umount small
else
  skip "a full disk is told of" "nothing may be mounted here"
fi
finish
