#!/bin/sh
# Images of a folder: built when the N-th allocation, or write, fails.
# shellcheck source=tests/cli/faults-lib.sh
. "$SOURCE_ROOT/tests/cli/faults-lib.sh"

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
  # The lazy file is ramet's own, too; the squashfs tables in it are libsquashfs's.
  faults "build of a lazy erofs survives every failure" "$kind" judge_lazy \
    "$RAMET" build --lazy --format erofs "$scratch/tree" "$scratch/image.lazy"
  lenient=1
  faults "build of a lazy squashfs survives every failure" "$kind" judge_lazy \
    "$RAMET" build --lazy "$scratch/tree" "$scratch/image.lazy"
done
"$RAMET" build --lazy --format erofs "$scratch/tree" "$scratch/base.lazy" > /dev/null || not_ok "a lazy image can be built"
lenient=""
faults "content of a lazy image is read, or not, at every failure" allocation judge_content \
  "$RAMET" cat "$scratch/base.lazy:/folder/again"
finish
