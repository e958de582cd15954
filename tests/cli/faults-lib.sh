# shellcheck shell=sh
# The N-th allocation fails, then the N-th write, for N = 1, 2, 3 ... until a run meets no failure:
# each run ends in one sentence or in success, never in a crash, and leaves nothing half made.
# There are many thousands: $FAULT_STRIDE (default 23; 1 for all) takes each N-th, from a start that
# $SEED decides, so that many days' runs see them all.
# shellcheck source=tests/cli/lib.sh
. "$SOURCE_ROOT/tests/cli/lib.sh"
need unsquashfs e2fsck debugfs fsck.erofs
stride=${FAULT_STRIDE:-23}
seed=${SEED:-$(date +%s)}
echo "# SEED=$seed"
[ -e "${FAULT:-}" ] || { echo "1..0 # SKIP the fault library is not built"; exit 0; }
case $(nm -D "$RAMET" 2> /dev/null) in
  *__asan_init*) echo "1..0 # SKIP the address sanitizer has an allocator of its own"; exit 0 ;;
esac

mkdir -p "$scratch/tree/folder"
echo hello > "$scratch/tree/file"
ln "$scratch/tree/file" "$scratch/tree/folder/link"
ln -s ../file "$scratch/tree/folder/symlink"
head -c 300000 /dev/urandom > "$scratch/tree/folder/data"
cp "$scratch/tree/folder/data" "$scratch/tree/folder/again"
truncate -s 5M "$scratch/tree/folder/data"
setfattr -n user.name -v value "$scratch/tree/file" 2> /dev/null || true
export RAMET_FAULT_STATE="$scratch/state"

# Without memory libext2fs (1.47) crashes at six of some 840 places, in its cache of inodes and where
# it makes a journal, and libsquashfs (1.2) waits for ever for a worker that got none. All that can be
# asked then is that nothing is left behind.
is_library_fault() {
  [ "$status" = 139 ] || [ "$status" = 124 ] || { [ "$status" = 127 ] && [ "$(cat "$scratch/.err")" = "out of memory" ]; } || grep -qE '^(free|munmap_chunk|realloc)\(\): invalid' "$scratch/.err" || return 1
  echo "a library crashed or hung" > "$scratch/.err"
}

# faults NAME KIND JUDGE COMMAND...: run COMMAND with the N-th failure for all N. JUDGE is called
# after each run with its status.
faults() {
  name=$1 kind=$2 judge=$3
  shift 3
  step=$stride
  # A command writes a few dozen times: a wide step could pass over all of them.
  if [ "$kind" = write ] && [ "$step" -gt 3 ]; then step=3; fi
  n=$((1 + seed % step)) bad="" runs=0 crashes=0
  while [ -z "$bad" ]; do
    before
    status=0
    RAMET_FAULT=$kind:$n LD_PRELOAD=$FAULT timeout 10 "$@" > "$scratch/.out" 2> "$scratch/.err" || status=$?
    met=$(od -An -tu1 -N1 "$scratch/state" | tr -d ' ')
    case $status in
      0) ;;
      1 | 124 | 127 | 139)
        if [ "$kind" = allocation ] && [ -n "$lenient" ] && is_library_fault; then
          crashes=$((crashes + 1)) status=1
        fi
        ;;
    esac
    case $status in
      0) ;;
      1) [ "$(wc -l < "$scratch/.err")" = 1 ] || bad="$kind $n: not one sentence: $(cat "$scratch/.err")" ;;
      *) bad="$kind $n: status $status: $(cat "$scratch/.err")" ;;
    esac
    if [ -z "$bad" ] && ! judged=$($judge "$status" 2>&1); then
      bad="$kind $n (status $status): $judged $(cat "$scratch/.err")"
    fi
    [ "$met" = 1 ] || break
    n=$((n + step)) runs=$((runs + 1))
  done
  if [ -n "$bad" ]; then
    not_ok "$name ($kind)" "$bad"
  elif [ "$runs" = 0 ]; then
    not_ok "$name ($kind)" "no failure was met at all"
  else
    echo "# $runs failures, the last at $((n - step))"
    [ "$crashes" = 0 ] || echo "# in $crashes of these a library itself crashed or hung"
    ok "$name ($kind)"
  fi
}

lenient=1
before() { rm -f "$scratch/image"* "$scratch/tree/.image"*; }
judge_squashfs() {
  ! grep -q "a library" "$scratch/.err" || [ ! -e "$scratch/image.squashfs" ] || { echo "left an image"; return 1; }
  if [ "$1" = 0 ]; then
    unsquashfs -s "$scratch/image.squashfs" > /dev/null
  else
    [ ! -e "$scratch/image.squashfs" ] || unsquashfs -s "$scratch/image.squashfs" > /dev/null
  fi
}
judge_ext4() {
  ! grep -q "a library" "$scratch/.err" || [ ! -e "$scratch/image.ext4" ] || { echo "left an image"; return 1; }
  [ "$1" != 0 ] || [ -e "$scratch/image.ext4" ] || { echo "no image"; return 1; }
  [ ! -e "$scratch/image.ext4" ] || e2fsck -fn "$scratch/image.ext4"
}
judge_erofs() {
  [ "$1" != 0 ] || [ -e "$scratch/image.erofs" ] || { echo "no image"; return 1; }
  [ ! -e "$scratch/image.erofs" ] || fsck.erofs "$scratch/image.erofs"
}
judge_lazy() {
  ! grep -q "a library" "$scratch/.err" || [ ! -e "$scratch/image.lazy" ] || { echo "left an image"; return 1; }
  [ "$1" != 0 ] || [ -e "$scratch/image.lazy" ] || { echo "no image"; return 1; }
  [ ! -e "$scratch/image.lazy" ] || "$RAMET" verify "$scratch/image.lazy"
}
judge_content() {
  [ "$1" != 0 ] || cmp "$scratch/.out" "$scratch/tree/folder/again"
}
"$RAMET" build "$scratch/tree" "$scratch/base.squashfs" > /dev/null || not_ok "a base can be built"
