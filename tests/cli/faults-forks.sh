#!/bin/sh
# Forks, what they changed, and layers: when the N-th allocation, or write, fails.
# shellcheck source=tests/cli/faults-lib.sh
. "$SOURCE_ROOT/tests/cli/faults-lib.sh"

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
