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
  lenient=1
done
finish
