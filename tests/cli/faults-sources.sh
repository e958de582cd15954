#!/bin/sh
# Images of archives: built when the N-th allocation, or write, fails.
# shellcheck source=tests/cli/faults-lib.sh
. "$SOURCE_ROOT/tests/cli/faults-lib.sh"

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
finish
