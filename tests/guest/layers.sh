#!/bin/sh
# Layers under the volume: two of different formats, and the longest chain there can be. What the
# guest sees is held against the same layers laid one over the other here by hand.
. "$(dirname "$0")/lib.sh"
need mksquashfs setfattr mke2fs
RAMET_ACCEL=${RAMET_ACCEL:-auto}
export RAMET_ACCEL
# run FORK OPTION... -- COMMAND...: what the guest said is in $scratch/out.
run() {
  "$RAMET" run --kernel "$KERNEL" --modules "$MODULES" --timeout 240 "$@" \
    < /dev/null > "$scratch/out" 2> "$scratch/err" && return
  cat "$scratch/err"
  tail -n 5 "$scratch/out"
  return 1
}
# Everything in the folders that the layers touch: names, and what is in files.
cat > "$scratch/root/bin/tell" << 'END'
#!/bin/sh
cd "${1:-/}" && find n shared sub -type f | sort | while read -r name; do
  read -r line < "$name"
  echo "$name $line"
done
END
chmod 755 "$scratch/root/bin/tell"
sh -c 'cd "$0" && mkdir n shared sub' "$scratch/root"
for i in $(seq 0 140); do echo base > "$scratch/root/sub/f$i"; done

# layer N: the folder $scratch/layerN, and the same done to $scratch/whole.
cp -a "$scratch/root" "$scratch/whole"
layer() {
  number=$1 folder=$scratch/layer$1 whole=$scratch/whole
  mkdir -p "$folder/n" "$folder/shared" "$folder/sub"
  echo "$number" > "$folder/n/top"
  echo "$number" > "$folder/n/own$number"
  mknod "$folder/sub/f$number" c 0 0 || bail_out "there can be no whiteouts here"
  rm -rf "$whole/sub/f$number"
  if [ $((number % 10)) = 5 ]; then
    setfattr -n trusted.overlay.opaque -v y "$folder/shared" || bail_out "root is needed"
    rm -rf "$whole/shared"
    mkdir "$whole/shared"
  fi
  echo "$number" > "$folder/shared/$((number % 7))"
  echo "$number" > "$whole/shared/$((number % 7))"
  echo "$number" > "$whole/n/top"
  echo "$number" > "$whole/n/own$number"
}
if [ "$(id -u)" != 0 ]; then
  echo "1..0 # SKIP layers can be made by root only"
  exit 0
fi

"$RAMET" build "$scratch/root" "$scratch/base.squashfs" > /dev/null 2>&1
"$RAMET" build "$scratch/root" "$scratch/base.ext4" --format ext4 > /dev/null 2>&1
layer 1
layer 2
image ext4 "$scratch/1.ext4" "$scratch/layer1"
image squashfs "$scratch/1.squashfs" "$scratch/layer1"
image squashfs "$scratch/2.squashfs" "$scratch/layer2"
"$scratch/root/bin/tell" "$scratch/whole" > "$scratch/expected"
"$RAMET" fork "$scratch/base.squashfs+$scratch/1.ext4+$scratch/2.squashfs" two --size 64M > /dev/null
"$RAMET" build "$scratch/layer1" "$scratch/1.erofs" > /dev/null 2>&1
"$RAMET" fork "$scratch/base.ext4+$scratch/1.erofs+$scratch/2.squashfs" on-ext4 --size 64M > /dev/null
check "a guest boots with two layers of different formats" run two --memory 128 -- tell
check "and sees them merged" diff "$scratch/expected" "$scratch/out"
check "its writes go to the volume" run two --memory 128 -- \
  sh -c 'rm /sub/f9 && echo changed > /n/top && echo new > /n/new'
check "and are there the next time" run two --memory 128 -- \
  sh -c '[ ! -e /sub/f9 ] && [ "$(cat /n/top /n/new)" = "changed
new" ]'
printf 'A /n/new\nM /n/top\nD /sub/f9\n' > "$scratch/changes"
"$RAMET" diff two > "$scratch/diff" 2>&1
check "diff tells them and nothing else" diff "$scratch/changes" "$scratch/diff"
check "in memory nothing of it is seen" run two --memory 128 --ram -- tell
check "but the layers are" diff "$scratch/expected" "$scratch/out"
check "the init in the base makes the same of it" run two --memory 128 --ram --in-image-init -- tell
check "to the byte" diff "$scratch/expected" "$scratch/out"
check "three formats go together" run on-ext4 --memory 128 -- tell
check "and are merged too" diff "$scratch/expected" "$scratch/out"

chain=$scratch/base.squashfs+$scratch/1.squashfs+$scratch/2.squashfs
for i in $(seq 3 127); do
  layer "$i"
  image squashfs "$scratch/$i.squashfs" "$scratch/layer$i"
  chain=$chain+$scratch/$i.squashfs
done
"$scratch/root/bin/tell" "$scratch/whole" > "$scratch/expected"
"$RAMET" fork "$chain" many --size 64M > /dev/null || bail_out "a chain of 128 cannot be forked"
check "a guest boots with 128 images" run many --vmm qemu --memory 512 -- tell
check "and sees them merged, in their order" diff "$scratch/expected" "$scratch/out"
check "ramet says that the drives are on PCI" grep -q "the 129 drives are on PCI" "$scratch/err"
finish
