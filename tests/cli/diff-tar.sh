#!/bin/sh
# ramet diff --tar: put over the base by others, the layer yields what the guest saw.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/volume.sh"
. "$(dirname "$0")/edits.sh"
need mksquashfs tar
need_overlay
base=$scratch/base.squashfs
base_tree "$scratch/tree"
mksquashfs "$scratch/tree" "$base" -quiet -no-progress -comp gzip > /dev/null
"$RAMET" fork "$base" vm --size 200M > /dev/null
vm_mount vm "$base"
guest_edits "$vm"
# What a layer does not say: a time alone.
for file in usr/share/doc/a etc/motd; do
  [ ! -e "$vm/$file" ] || touch -r "$scratch/lower/$file" "$vm/$file"
done
cp -a "$vm" "$scratch/truth"

nothing() { [ ! -s "$1" ] || { cat "$1"; return 1; }; }
vm_umount
"$RAMET" diff vm --tar "$scratch/layer.tar" 2> "$scratch/note"
check "the layer is made without a note" nothing "$scratch/note"
"$RAMET" diff vm --tar - > "$scratch/again.tar"
check "it is the same each time, to a file or not" cmp "$scratch/layer.tar" "$scratch/again.tar"
check "holes are not in it" test "$(stat -c %s "$scratch/layer.tar")" -lt 2000000

# Whiteouts first, then tar: what the image specification says of a layer, in ten lines.
apply() (
  cp -a "$scratch/lower" "$scratch/applied" && cd "$scratch/applied" || exit 1
  tar -tf "$scratch/layer.tar" --quoting-style=literal --null > /dev/null || exit 1
  mkdir "$scratch/whiteouts" && tar -xf "$scratch/layer.tar" -C "$scratch/whiteouts" --wildcards '*.wh.*' || exit 1
  (cd "$scratch/whiteouts" && find . -name '.wh.*' -print0) | perl -0 -ne '
    chomp; my ($folder, $name) = m{^(.*)/([^/]*)$}s;
    if ($name eq ".wh..wh..opq") { system "find", $folder, "-mindepth", 1, "-delete" }
    else { system "rm", "-r", "--", "$folder/" . substr $name, 4 }' || exit 1
  # Something of another type goes before what replaces it.
  tar -xf "$scratch/layer.tar" --exclude '.wh.*' --recursive-unlink --xattrs --xattrs-include='*' \
    --numeric-owner --same-owner -p
)
check "tar applies it" apply
"$TREE_DIFF" --times "$scratch/applied" "$scratch/truth" > "$scratch/left" 2>&1
check "and the result is what the guest saw" nothing "$scratch/left"
check "hard links are links" test "$scratch/applied/new/hard" -ef "$scratch/applied/new/deep/er/n"
check "sparse files are sparse" test "$(du -k "$scratch/applied/new/sparse" | cut -f1)" -lt 100

# umoci: an image with the base and our layer, unpacked.
if command -v umoci > /dev/null && command -v skopeo > /dev/null; then
  tar -C "$scratch/lower" --numeric-owner --xattrs --xattrs-include='*' -cf "$scratch/base.tar" .
  image=$scratch/oci
  check "umoci takes the layer" sh -c "umoci init --layout '$image' && umoci new --image '$image:vm' &&
    umoci raw add-layer --image '$image:vm' '$scratch/base.tar' &&
    umoci raw add-layer --image '$image:vm' '$scratch/layer.tar'"
  check "skopeo copies the image" skopeo copy -q "oci:$image:vm" "dir:$scratch/copied"
  check "umoci unpacks it" umoci raw unpack --image "$image:vm" "$scratch/unpacked"
  "$TREE_DIFF" "$scratch/unpacked" "$scratch/truth" > "$scratch/left" 2>&1
  check "and the result is what the guest saw, too" nothing "$scratch/left"
else
  skip "umoci unpacks the layer" "umoci or skopeo is missing"
fi

# A layer cannot have names that look like whiteouts, nor sockets.
vm_mount vm "$base"
touch "$vm/.wh.motd" && perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0); chdir $ARGV[0]; bind(S, sockaddr_un("s"))' "$vm"
vm_umount
"$RAMET" diff vm --tar "$scratch/more.tar" 2> "$scratch/note"
check "what a layer cannot say is left out" cmp "$scratch/layer.tar" "$scratch/more.tar"
check "and counted" grep -q "note: 2 changes" "$scratch/note"
finish
