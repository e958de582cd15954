#!/bin/sh
# The N-th allocation fails, then the N-th write, for N = 1, 2, 3 ... until a run meets no failure:
# each run ends in one sentence or in success, never in a crash, and leaves nothing half made.
# There are some 3,000 of them: $FAULT_STRIDE (default 11; 1 for all) takes each N-th, from a start that
# $SEED decides, so that many days' runs see them all.
. "$(dirname "$0")/lib.sh"
need unsquashfs e2fsck debugfs fsck.erofs
stride=${FAULT_STRIDE:-11}
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
  n=$((1 + seed % stride)) bad="" runs=0 crashes=0
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
    n=$((n + stride)) runs=$((runs + 1))
  done
  if [ -n "$bad" ]; then
    not_ok "$name ($kind)" "$bad"
  elif [ "$runs" = 0 ]; then
    not_ok "$name ($kind)" "no failure was met at all"
  else
    echo "# $runs failures, the last at $((n - stride))"
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
"$RAMET" build "$scratch/tree" "$scratch/base.squashfs" > /dev/null || not_ok "a base can be built"
for kind in allocation write; do
  faults "build of squashfs survives every failure" "$kind" judge_squashfs \
    "$RAMET" build "$scratch/tree" "$scratch/image.squashfs"
  faults "build of ext4 survives every failure" "$kind" judge_ext4 \
    "$RAMET" build "$scratch/tree" "$scratch/image.ext4" --format ext4
  # The writer is ramet's own: nothing crashes there.
  lenient=""
  for dedupe in "" --dedupe; do
    # shellcheck disable=SC2086 # nothing, or one word
    faults "build of erofs survives every failure${dedupe:+, with $dedupe}" "$kind" judge_erofs \
      "$RAMET" build "$scratch/tree" "$scratch/image.erofs" $dedupe
  done
  lenient=1
done

# The same through the sandbox, from an archive.
tar -c --format=pax --sparse --xattrs -C "$scratch/tree" . | gzip > "$scratch/tree.tar.gz"
for kind in allocation write; do
  faults "build from an archive survives every failure" "$kind" judge_squashfs \
    "$RAMET" build "$scratch/tree.tar.gz" "$scratch/image.squashfs"
done
# And from an archive of docker save, which is listed in a sandbox before.
if command -v umoci > /dev/null && [ "$(id -u)" = 0 ] &&
  sh "$SOURCE_ROOT/tests/tools/oci-make" "$scratch/oci" > "$scratch/.out" 2>&1 &&
  "$SOURCE_ROOT/tests/tools/oci-edit" "$scratch/oci/layout" --save "$scratch/saved.tar" old; then
  for kind in allocation write; do
    faults "build from docker save survives every failure" "$kind" judge_squashfs \
      "$RAMET" build "$scratch/saved.tar" "$scratch/image.squashfs"
  done
else
  skip "build from docker save survives every failure" "umoci, or root"
fi
faults "build from standard input survives every failure" write judge_ext4 \
  "$RAMET" build - "$scratch/image.ext4" < "$scratch/tree.tar.gz"

# A fork that was reported is whole; one that failed is not there, and its name is free.
before() { "$RAMET" rm f-1 f-2 > /dev/null 2>&1 || true; }
judge_fork() {
  names=$("$RAMET" ls --names | tr '\n' ' ')
  if [ "$1" = 0 ]; then
    [ "$names" = "f-1 f-2 " ] || { echo "listed: $names"; return 1; }
  else
    [ -z "$names" ] || { echo "listed after a failure: $names"; return 1; }
    [ -z "$(ls "$RAMET_ROOT/forks")" ] || { echo "left behind: $(ls "$RAMET_ROOT/forks")"; return 1; }
  fi
  for volume in "$RAMET_ROOT"/forks/*/volume; do
    [ ! -e "$volume" ] || e2fsck -fn "$volume" || return 1
  done
}
for kind in allocation write; do
  faults "fork survives every failure" "$kind" judge_fork \
    "$RAMET" fork "$scratch/base.squashfs" f --count 2 --size 64M
done
"$RAMET" rm f-1 f-2 > /dev/null 2>&1

lenient=""
# The answer is right or there is none.
before() { :; }
"$RAMET" fork "$scratch/base.squashfs" changed --size 64M > /dev/null
volume=$(echo "$RAMET_ROOT"/forks/changed/volume*)
printf 'mkdir root\nmkdir work\ncd root\nwrite %s new\n' "$scratch/tree/file" |
  debugfs -w -f - "$volume" > /dev/null 2>&1
judge_diff() {
  [ "$1" != 0 ] || [ "$(cat "$scratch/.out")" = "A /new" ] || { cat "$scratch/.out"; return 1; }
}
# Over an EROFS base, files with another content too, so that both sides are read.
"$RAMET" build "$scratch/tree" "$scratch/base.erofs" --dedupe > /dev/null
"$RAMET" fork "$scratch/base.erofs" plain --size 64M > /dev/null
volume=$(echo "$RAMET_ROOT"/forks/plain/volume*)
tr '\0-\377' '\1-\377\0' < "$scratch/tree/folder/data" > "$scratch/other"
printf 'mkdir root\nmkdir work\ncd root\nwrite %s file\nmkdir folder\ncd folder\nwrite %s data\n' \
  "$scratch/other" "$scratch/other" | debugfs -w -f - "$volume" > /dev/null 2>&1
expected=$("$RAMET" diff plain)
case $expected in
  *"M /folder/data"*) ;;
  *) not_ok "an EROFS base is compared" "$expected" ;;
esac
judge_erofs() {
  [ "$1" != 0 ] || [ "$(cat "$scratch/.out")" = "$expected" ] || { cat "$scratch/.out"; return 1; }
}
judge_any() { :; }
faults "the command line survives every failure" allocation judge_any \
  "$RAMET" build "$scratch/none" "$scratch/image" --bind "$scratch/tree:/a" --bind "$scratch/tree:/b"
for kind in allocation write; do
  faults "diff survives every failure" "$kind" judge_diff "$RAMET" diff changed
  faults "diff --tar survives every failure" "$kind" judge_any "$RAMET" diff changed --tar "$scratch/out.tar"
  faults "diff --patch survives every failure" "$kind" judge_any "$RAMET" diff changed --patch
  faults "diff over an EROFS base survives every failure" "$kind" judge_erofs "$RAMET" diff plain
done

# Layers: the right one, or none.
"$RAMET" commit plain "$scratch/good.erofs" > /dev/null
"$RAMET" commit plain "$scratch/whole.erofs" --flatten > /dev/null
mkdir "$scratch/into"
layer=$scratch/into/layer.erofs
before() { rm -f "$layer"; }
judge_layer() {
  [ "$1" != 0 ] || [ -e "$layer" ] || { echo "no layer"; return 1; }
  [ ! -e "$layer" ] || cmp "$layer" "$good" || return 1
  case $(ls -A "$scratch/into") in
    '' | layer.erofs) ;;
    *) ls -A "$scratch/into" && return 1 ;;
  esac
}
for kind in allocation write; do
  good=$scratch/good.erofs
  faults "commit survives every failure" "$kind" judge_layer "$RAMET" commit plain "$layer"
  faults "build --parent survives every failure" "$kind" judge_layer \
    "$RAMET" build "$scratch/whole.erofs" "$layer" --parent "$scratch/base.erofs"
  good=$scratch/whole.erofs
  faults "commit --flatten survives every failure" "$kind" judge_layer \
    "$RAMET" commit plain "$layer" --flatten
done
finish
