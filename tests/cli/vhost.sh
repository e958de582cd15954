#!/bin/sh
# shellcheck shell=sh
# vhost-user-blk by the server itself, in its sandbox: a lazy base and a raw file, to a frontend of ours.
# shellcheck source=tests/cli/lib.sh
. "$SOURCE_ROOT/tests/cli/lib.sh"
frontend=$BUILD_ROOT/tests/tools/vhost-frontend
at_exit() {
  "$RAMET" detach --all > /dev/null 2>&1
}
cd "$scratch" || exit 1
mkdir -p tree/dir
head -c 3000000 /dev/urandom > tree/big
seq 20000 > tree/dir/numbers
: > tree/empty
"$RAMET" fork tree vm --size 64M > /dev/null || exit 1
socket=$RAMET_ROOT/forks/vm/export/base.sock

check "a folder is attached by vhost-user-blk" "$RAMET" attach vm --via vhost-user-blk
check "only its owner may connect" sh -c '[ "$(stat -c %a "$1")" = 600 ]' sh "$socket"
check "it is read by many requests at once" "$frontend" "$socket" read 0.2 32 4096
check "memory that vanishes ends the connection, and not the server" "$frontend" "$socket" vanish -
check "which is told" grep -q "memory vanished" "$RAMET_ROOT/forks/vm/log"
"$RAMET" materialize vm > /dev/null
check "byte for byte it is the image that would have been written" \
  "$frontend" "$socket" check "$RAMET_ROOT"/lazy/*.squashfs
check "it is detached" "$RAMET" detach vm
check "and its socket is gone" test ! -e "$socket"
{ "$RAMET" build tree plain.squashfs && "$RAMET" fork plain.squashfs plain --size 64M &&
  "$RAMET" attach plain --via vhost-user-blk; } > /dev/null
check "large reads of a plain image, which two threads share" \
  "$frontend" "$RAMET_ROOT/forks/plain/export/base.sock" seq 0.3 8 131072
check "byte for byte" "$frontend" "$RAMET_ROOT/forks/plain/export/base.sock" check plain.squashfs
finish
