#!/bin/sh
# ramet verify: good images are good, whoever wrote them; each kind of damage is found; the digest is
# that of sha256sum, and is compared.
. "$(dirname "$0")/lib.sh"
need mksquashfs mke2fs debugfs dumpe2fs perl python3 sha256sum
export LC_ALL=C
seed=${SEED:-$(date +%s)}
echo "# SEED=$seed"
tree=$scratch/tree
mkdir -p "$tree/d/e" "$tree/many"
perl -e 'srand $ARGV[1]; my @w = map { join "", map { chr 97 + rand 26 } 1 .. 2 + rand 9 } 1 .. 3000;
  for my $n (1 .. 60) { open my $f, ">", "$ARGV[0]/many/$n"; print $f $w[rand @w], " " for 1 .. rand 9000 }' "$tree" "$seed"
echo hello > "$tree/d/f" && ln "$tree/d/f" "$tree/d/g" && ln -s f "$tree/d/link" && truncate -s 300k "$tree/d/hole"
head -c 300000 /dev/urandom > "$tree/d/noise"
setfattr -n user.test -v "$(printf '%0300d' 7)" "$tree/d/f" 2> /dev/null
digest_of() { echo "sha256:$(sha256sum < "$1" | cut -c 1-64)"; }

# Good ones.
formats="squashfs ext4"
"$RAMET" help build | grep -q erofs && formats="$formats erofs"
for format in $formats; do
  image=$scratch/good.$format
  "$RAMET" build "$tree" "$image" --json > "$scratch/build.json" || continue
  sum=$(digest_of "$image")
  check "$format: build tells the digest that sha256sum gives" grep -q "\"digest\": \"$sum\"" "$scratch/build.json"
  check "$format: and the catalogue has it" sh -c "'$RAMET' ls --images --json | grep -q '\"digest\": \"$sum\"'"
  "$RAMET" verify "$image" > "$scratch/out"
  check "$format: an image that was built is good, its digest right" \
    grep -q "^$image: good: $format, .*; digest right$" "$scratch/out"
  check "$format: verify --json says so" sh -c "'$RAMET' verify --json '$image' | python3 -c 'import json, sys
a = json.load(sys.stdin)[0]; assert a[\"good\"] and a[\"digest\"] == \"$sum\" and a[\"digest_state\"] == \"right\" and a[\"findings\"] == []'"
done
for compression in gzip xz lz4 zstd; do
  mksquashfs "$tree" "$scratch/mk-$compression.squashfs" -comp $compression -quiet -no-progress > /dev/null
  check "mksquashfs's image with $compression is good" "$RAMET" verify "$scratch/mk-$compression.squashfs"
done
image=$scratch/mk-gzip.squashfs
check "an image from elsewhere gets its digest noted, and compared from then on" sh -c \
  "cp '$image' '$scratch/else.squashfs' && '$RAMET' verify '$scratch/else.squashfs' | grep -q 'digest noted' &&
   '$RAMET' verify '$scratch/else.squashfs' | grep -q 'digest right'"
mke2fs -q -t ext4 -d "$tree" "$scratch/mke2fs.ext4" 20M > /dev/null 2>&1
check "mke2fs's image is good" "$RAMET" verify "$scratch/mke2fs.ext4"
check "several at once" test "$("$RAMET" verify "$scratch/mke2fs.ext4" "$image" "$scratch/good.squashfs" | grep -c ': good: ')" = 3

# The digest.
sum=$(digest_of "$scratch/good.ext4")
check "a digest that was asked for is compared" "$RAMET" verify --digest "$sum" "$scratch/good.ext4"
wrong=sha256:$(printf '%064d' 0)
"$RAMET" verify --digest "$wrong" "$scratch/good.ext4" > "$scratch/out"
check "and a wrong one is found" grep -q "its digest is $sum, and must be $wrong" "$scratch/out"
refused "a digest that is none" 1 'is no digest' "$RAMET" verify --digest md5:1 "$scratch/good.ext4"
refused "one digest and two images" 2 'of one image' "$RAMET" verify --digest "$wrong" "$scratch/good.ext4" "$image"

# found NAME PATTERN IMAGE: status 1, and a finding that matches.
found() {
  found_status=0
  timeout 60 "$RAMET" verify "$3" > "$scratch/.out" 2> "$scratch/.err" || found_status=$?
  if [ "$found_status" = 1 ] && grep -qE -- "$2" "$scratch/.out" && [ ! -s "$scratch/.err" ]; then
    ok "$1"
  else
    not_ok "$1" "status $found_status" "$(head -n 5 "$scratch/.out" "$scratch/.err")"
  fi
}
# flip FILE OFFSET: change one bit, and leave the file's times as they are, as a disk that fails does.
flip() {
  perl -e 'my @t = (stat $ARGV[0])[8, 9]; open my $f, "+<", $ARGV[0] or die; seek $f, $ARGV[1], 0; read $f, my $b, 1;
    seek $f, $ARGV[1], 0; print $f chr(ord($b) ^ 0x10); close $f' "$1" "$2"
}
aged() { # keep size, time and inode as the catalogue has them
  touch -r "$1" "$scratch/time" && flip "$1" "$2" && touch -r "$scratch/time" "$1"
}
block_of() { debugfs -R "bmap $2 0" "$1" 2> /dev/null; }

# Bytes of content that nothing but the digest guards.
cp "$scratch/good.ext4" "$scratch/data.ext4" && "$RAMET" verify "$scratch/data.ext4" > /dev/null
aged "$scratch/data.ext4" $(($(block_of "$scratch/data.ext4" /d/noise) * 4096 + 77))
found "a byte of ext4 content that changed" 'its digest is sha256:.*, and must be sha256' "$scratch/data.ext4"
cp "$scratch/good.squashfs" "$scratch/magic.squashfs" && "$RAMET" verify "$scratch/magic.squashfs" > /dev/null
aged "$scratch/magic.squashfs" 1
found "a known image whose magic is gone" 'it is not an image' "$scratch/magic.squashfs"

# Metadata of ext4: its checksums.
damage() { # NAME PATTERN OFFSET
  cp "$scratch/good.ext4" "$scratch/damaged.ext4" && flip "$scratch/damaged.ext4" "$3" && found "$1" "$2" "$scratch/damaged.ext4"
}
place=$(debugfs -R 'imap /d/f' "$scratch/good.ext4" 2> /dev/null | tail -n 1)
table=$(echo "$place" | sed -n 's/.*located at block \([0-9]*\), offset.*/\1/p')
offset=$(printf '%d' "$(echo "$place" | sed -n 's/.*offset \(0x[0-9a-f]*\).*/\1/p')")
damage "a byte of an ext4 inode" 'the wrong checksum' $((table * 4096 + offset + 16))
damage "a byte of the ext4 superblock" 'superblock has the wrong checksum' $((1024 + 200))
damage "a byte of an ext4 directory" '/d: .*(checksum|damaged)' $(($(block_of "$scratch/good.ext4" /d) * 4096 + 30))
damage "a byte of an ext4 group descriptor" 'descriptor of group 0 has the wrong checksum' $((4096 + 12))
cp "$scratch/good.ext4" "$scratch/links.ext4" && debugfs -w -R 'sif /d/f links_count 5' "$scratch/links.ext4" 2> /dev/null
found "an ext4 file with a wrong link count" '/d/f: its link count is 5, and it has 2 names' "$scratch/links.ext4"
cp "$scratch/good.ext4" "$scratch/links.ext4" && debugfs -w -R 'sif /d links_count 7' "$scratch/links.ext4" 2> /dev/null
found "an ext4 directory with a wrong link count" '/d: its link count is 7, and it has 1 directories' "$scratch/links.ext4"

# squashfs with plain inodes, to be changed by hand.
mksquashfs "$tree" "$scratch/plain.squashfs" -noI -noId -quiet -no-progress > /dev/null
cp "$scratch/plain.squashfs" "$scratch/links.squashfs"
perl -e 'open my $f, "+<", $ARGV[0] or die; local $/; my $all = <$f>; my $start = unpack "Q<", substr $all, 64, 8;
  for my $at ($start + 2 .. length($all) - 60) { my ($type, $size, $links) = unpack "v x30 Q< x8 V", substr $all, $at, 60;
    next unless $type == 9 && unpack("Q<", substr $all, $at + 24, 8) == 6 && unpack("V", substr $all, $at + 40, 4) == 2;
    seek $f, $at + 40, 0; print $f pack "V", 9; exit 0 } exit 1' "$scratch/links.squashfs"
found "a squashfs file with a wrong link count" '/d/f: its link count is 9, and it has 2 names' "$scratch/links.squashfs"
cp "$scratch/plain.squashfs" "$scratch/inodes.squashfs" && flip "$scratch/inodes.squashfs" 4
found "a squashfs with a wrong count of inodes" 'says that there are [0-9]* inodes, and the tree has' "$scratch/inodes.squashfs"

# Files that are cut off, anywhere.
cut_off() {
  perl -e 'srand $ARGV[1]; my $used = $ARGV[0]; print int(rand($used)), "\n" for 1 .. 12; print $used - 1, "\n0\n1\n95\n1500\n"' \
    "$2" "$seed" > "$scratch/offsets"
  while read -r offset; do
    cp "$1" "$scratch/cut" && truncate -s "$offset" "$scratch/cut"
    ! "$RAMET" verify "$scratch/cut" > "$scratch/.cut" 2>&1 || { echo "not found: cut at $offset, seed $seed"; return 1; }
    grep -qE 'truncated|cut off|not an image|not a whole' "$scratch/.cut" || { cat "$scratch/.cut"; return 1; }
  done < "$scratch/offsets"
}
used=$(perl -e 'open my $f, "<", $ARGV[0]; seek $f, 40, 0; read $f, my $b, 8; print unpack "Q<", $b' "$scratch/good.squashfs")
check "a squashfs cut off anywhere" cut_off "$scratch/good.squashfs" "$used"
check "an ext4 cut off anywhere" cut_off "$scratch/good.ext4" "$(stat -c %s "$scratch/good.ext4")"
[ ! -e "$scratch/good.erofs" ] ||
  check "an EROFS cut off anywhere" cut_off "$scratch/good.erofs" "$(stat -c %s "$scratch/good.erofs")"

# One bit, anywhere in what a squashfs uses: what the compressors' own checks find, without a digest.
flips() {
  perl -e 'srand $ARGV[1]; print 96 + int(rand($ARGV[0] - 96)), "\n" for 1 .. $ARGV[2]' "$2" "$seed" "${ROUNDS:-60}" > "$scratch/offsets"
  hit=0 all=0
  while read -r offset; do
    cp "$1" "$scratch/flip" && flip "$scratch/flip" "$offset"
    one=0
    timeout 60 "$RAMET" verify "$scratch/flip" > "$scratch/.flip" 2>&1 || one=$?
    [ "$one" -le 1 ] || { echo "status $one at $offset, seed $seed"; cat "$scratch/.flip"; return 1; }
    hit=$((hit + one)) all=$((all + 1))
  done < "$scratch/offsets"
  echo "# $(basename "$1"): $hit of $all flipped bits found without a digest (seed $seed)"
  [ $((hit * 100)) -ge $((all * $3)) ]
}
# The least share, in percent. gzip and xz have checksums; zstd has none in a squashfs, and lz4 finds nearly
# nothing, which is why there are digests.
# What does not compress is stored as it is, and has no check at all: it is left out here.
for kind in gzip:95 xz:95 zstd:3; do
  image=$scratch/text-${kind%:*}.squashfs
  mksquashfs "$tree/many" "$image" -comp "${kind%:*}" -quiet -no-progress > /dev/null
  used=$(perl -e 'open my $f, "<", $ARGV[0]; seek $f, 40, 0; read $f, my $b, 8; print unpack "Q<", $b' "$image")
  if flips "$image" "$used" "${kind#*:}" > "$scratch/.flips"; then
    grep '^#' "$scratch/.flips"
    ok "${kind%:*}: at least ${kind#*:} % of flipped bits are found by the structure alone"
  else
    not_ok "${kind%:*}: at least ${kind#*:} % of flipped bits are found by the structure alone" "$(cat "$scratch/.flips")"
  fi
done
all_by_digest() {
  cp "$scratch/mk-lz4.squashfs" "$scratch/known.squashfs" && "$RAMET" verify "$scratch/known.squashfs" > /dev/null
  size=$(stat -c %s "$scratch/known.squashfs")
  for offset in $(perl -e 'srand $ARGV[1]; print int(rand $ARGV[0]), "\n" for 1 .. 20' "$size" "$seed"); do
    aged "$scratch/known.squashfs" "$offset"
    ! "$RAMET" verify "$scratch/known.squashfs" > /dev/null 2>&1 || { echo "missed at $offset, seed $seed"; return 1; }
    aged "$scratch/known.squashfs" "$offset" # flipped back
  done
  "$RAMET" verify "$scratch/known.squashfs"
}
check "with a digest every flipped bit is found" all_by_digest

# So large that several processes share the work, where there are processors: all of it is read, once.
mkdir "$scratch/large"
perl -e 'srand $ARGV[1]; for my $n (10 .. 49) { open my $f, ">", "$ARGV[0]/$n"; print $f unpack("H*", pack "N*", map { int rand 2 ** 32 } 1 .. 50000), "\n" for 1 .. 2 }' \
  "$scratch/large" "$seed"
mksquashfs "$scratch/large" "$scratch/large.squashfs" -comp gzip -Xcompression-level 1 -quiet -no-progress > /dev/null
check "a large image is good" "$RAMET" verify "$scratch/large.squashfs"
both_ends() {
  size=$(stat -c %s "$scratch/large.squashfs")
  for place in 5 50 95; do
    cp "$scratch/large.squashfs" "$scratch/large.damaged" && flip "$scratch/large.damaged" $((size * place / 100))
    ! "$RAMET" verify "$scratch/large.damaged" > "$scratch/.large" || { echo "not found at $place %"; return 1; }
    [ "$(grep -c ': /[0-9]*: .*cannot be decompressed' "$scratch/.large")" = 1 ] || { cat "$scratch/.large"; return 1; }
  done
}
check "damage anywhere in it is told once, by its path" both_ends

# The corpus: the good are good, the bad are found or refused, each in a word or two.
corpus=$SOURCE_ROOT/tests/corpus
image_of() {
  case $1 in
    */squashfs/*) cp "$1" "$scratch/corpus.image" ;;
    *) "$SOURCE_ROOT/tests/fuzz/pack" -u "$1" "$scratch/corpus.image" ;;
  esac
}
corpus_good() {
  for file in "$corpus"/good/squashfs/* "$corpus"/good/ext4/* "$corpus"/good/erofs/*; do
    case $file in */ext2) continue ;; esac # not ext4
    image_of "$file" && "$RAMET" verify "$scratch/corpus.image" || { echo "$file"; return 1; }
  done
}
corpus_bad() {
  for file in "$corpus"/bad/squashfs/* "$corpus"/bad/ext4/* "$corpus"/bad/erofs/*; do
    image_of "$file"
    one=0
    timeout 60 "$RAMET" verify "$scratch/corpus.image" > "$scratch/.bad" 2>&1 || one=$?
    [ "$one" = 1 ] && grep -qE 'damaged|cannot be read|not known here|truncated|not an image|calls it something else' "$scratch/.bad" ||
      { echo "$file: status $one"; cat "$scratch/.bad"; return 1; }
    for verb in "ls -R" cat; do
      one=0
      # shellcheck disable=SC2086
      timeout 60 "$RAMET" $verb "$scratch/corpus.image:/" > /dev/null 2> "$scratch/.bad" || one=$?
      [ "$one" -le 1 ] || { echo "$file: $verb: status $one"; return 1; }
    done
    timeout 60 "$RAMET" inspect "$scratch/corpus.image" > /dev/null 2> "$scratch/.bad"
    [ $? -le 1 ] || { echo "$file: inspect"; return 1; }
  done
}
check "every image of corpus/good is good" corpus_good
check "every image of corpus/bad is refused or found, by each command" corpus_bad
"$SOURCE_ROOT/tests/fuzz/pack" -u "$corpus/bad/ext4/directory-loop" "$scratch/loop.ext4"
found "a directory in itself is named" '/dir/sub/deep: .*has a second place in the tree' "$scratch/loop.ext4"
cp "$corpus/bad/squashfs/name-twice" "$scratch/twice.squashfs"
found "a name that is there twice is named" '/many: .*has two entries' "$scratch/twice.squashfs"

# Wrong words.
refused "no image at all" 2 'it needs IMAGE' "$RAMET" verify
refused "an image that is not there" 1 'cannot open the image' "$RAMET" verify "$scratch/none"
refused "a folder" 1 'is not a file' "$RAMET" verify "$tree"
refused "a file that was never an image" 1 'is not an image' "$RAMET" verify "$tree/d/noise"
check "one bad word does not keep the others from being read" sh -c \
  "'$RAMET' verify '$scratch/none' '$scratch/good.squashfs' 2> /dev/null | grep -q ': good: '"
finish
