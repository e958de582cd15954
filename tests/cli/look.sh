#!/bin/sh
# ramet ls IMAGE:/PATH and ramet cat, of each format: what the source has, as other programs see it.
. "$(dirname "$0")/lib.sh"
need mksquashfs unsquashfs tar setfattr python3 perl script
export TZ=UTC LC_ALL=C
TREE_DUMP=${TREE_DUMP:-$BUILD_ROOT/tests/tools/tree-dump}
tree=$scratch/tree
same() { diff "$1" "$2"; }

# A tree with all that a name can be. Times are whole minutes, for ls -l shows no more.
mkdir -p "$tree/d/deep/er" "$tree/empty" "$tree/usr/bin"
echo hello > "$tree/d/f" && ln "$tree/d/f" "$tree/d/g" && ln "$tree/d/f" "$tree/usr/other-name"
ln -s f "$tree/d/to-f" && ln -s ../../usr/bin "$tree/d/deep/up" && ln -s /usr/bin "$tree/bin"
ln -s nowhere "$tree/dangling" && ln -s loop "$tree/loop" && ln -s ../../../../d "$tree/out"
mkfifo "$tree/fifo" && seq 100000 > "$tree/usr/bin/numbers" && : > "$tree/void"
truncate -s 5M "$tree/sparse" && echo middle | dd of="$tree/sparse" bs=1 seek=2097152 conv=notrunc status=none
truncate -s 3M "$tree/hole"
long=$(printf '%0255d' 0)
echo long > "$tree/$long"
printf 'x' > "$tree/$(printf 'new\nline\033[31m')"
printf 'y' > "$tree/$(printf 'latin-\351')"
chmod 4755 "$tree/usr/bin/numbers" && chmod 1777 "$tree/empty" && chmod 2750 "$tree/d/deep"
if [ "$(id -u)" = 0 ]; then
  mknod "$tree/console" c 5 1 && mknod "$tree/disk" b 259 70000
  chown 1234:70001 "$tree/d/f"
fi
setfattr -n user.test -v value "$tree/d/f" 2> /dev/null
find "$tree" -exec touch -h -d '2024-03-04 05:06:00 UTC' {} +
"$TREE_DUMP" dir "$tree" > "$scratch/tree.dump"
formats="squashfs ext4"
"$RAMET" help build | grep -q 'erofs' && formats="$formats erofs"

for format in $formats; do
  image=$scratch/image.$format
  "$RAMET" build "$tree" "$image" --format "$format" > /dev/null || { not_ok "$format: build"; continue; }

  # Every line of a long listing, but the names with line breaks, against find.
  "$RAMET" ls -lR "$image:/" | grep -av -e 'new$' -e '^line' -e lost+found |
    sed -e 's/, */,/' | awk '{ $1 = $1; print }' | sort > "$scratch/listed"
  (cd "$tree" && find . -mindepth 1 ! -name "new*" -printf '%M %n %U %G %y %s %TY-%Tm-%Td %TH:%TM /%P %l\n') |
    awk '{ if ($5 == "d") $6 = "SIZE"; l = $1 " " $2 " " $3 " " $4 " " $6 " " $7 " " $8; for (i = 9; i <= NF; i++) l = l " " $i; print l }' \
    > "$scratch/found"
  check "$format: ls -lR has a line for each object, as find has" \
    perl -e 'open my $f, "<", $ARGV[0]; open my $l, "<", $ARGV[1]; my %found;
      while (<$f>) { chomp; my ($m, $n, $u, $g, $s, $d, $t, $p, $to) = split / /, $_; $found{$p} = [$m, $n, $u, $g, $s, "$d $t", $to // ""] }
      my $bad = 0;
      while (<$l>) { chomp; my ($m, $n, $u, $g, $s, $d, $t, $p, $arrow, $to) = split / /, $_;
        my $w = delete $found{$p} or do { print "not in the tree: $_\n"; $bad = 1; next };
        my $dir = $m =~ /^d/; my $dev = $m =~ /^[bc]/;
        $bad = 1, print "$_ against @$w\n" unless $m eq $w->[0] && ($dir || $n == $w->[1]) && $u == $w->[2] && $g == $w->[3]
          && ($dir || $dev || $m =~ /^p/ || $s == $w->[4]) && "$d $t" eq $w->[5] && ($to // "") eq $w->[6]; }
      print "not listed: $_\n" for sort keys %found; exit($bad || %found ? 1 : 0)' "$scratch/found" "$scratch/listed"
  "$RAMET" ls "$image:" | grep -av -e lost+found -e '^line' -e '^new$' | sort > "$scratch/names"
  (cd "$tree" && for name in *; do case $name in new*) ;; *) echo "$name" ;; esac; done) | sort > "$scratch/want"
  check "$format: ls has the names of a directory" same "$scratch/want" "$scratch/names"
  "$RAMET" ls -R "$image:/d" > "$scratch/names"
  printf '%s\n' /d/deep /d/deep/er /d/deep/up /d/f /d/g /d/to-f > "$scratch/want"
  check "$format: ls -R has whole paths" same "$scratch/want" "$scratch/names"
  check "$format: a file is listed as itself" test "$("$RAMET" ls "$image:/d/f")" = /d/f
  check "$format: a symlink at the end is itself" test "$("$RAMET" ls "$image:/bin")" = /bin
  check "$format: a symlink before a slash is what it points to" test "$("$RAMET" ls "$image:/bin/")" = numbers
  check "$format: symlinks in the middle stay within the image" \
    test "$("$RAMET" ls "$image:/out/deep/up/numbers")" = /usr/bin/numbers
  check "$format: .. ends at the root" test "$("$RAMET" ls "$image:/../../d/../../../usr")" = "$(printf 'bin\nother-name')"
  refused "$format: a path that is not there" 1 'there is no "nothing" in /d' "$RAMET" ls "$image:/d/nothing"
  refused "$format: a path through a file" 1 '/d/f is no directory' "$RAMET" ls "$image:/d/f/x"
  refused "$format: a file with a slash behind it" 1 'no directory' "$RAMET" ls "$image:/d/f/"
  refused "$format: symlinks that go round" 1 'more than 40 symlinks' "$RAMET" ls "$image:/loop/x"
  refused "$format: a symlink to nothing" 1 'there is no "nowhere"' "$RAMET" cat "$image:/dangling"

  # JSON is JSON, and says the bytes of names that are no UTF-8.
  "$RAMET" ls -R --json "$image:/" > "$scratch/json"
  check "$format: --json has each object, and odd names by their bytes" \
    python3 -c 'import json, sys, base64, os
a = json.load(open(sys.argv[1])); byte = {base64.b64decode(o["path_base64"]) if "path_base64" in o else o["path"].encode(): o for o in a}
want = set()
top = os.fsencode(sys.argv[2])
for folder, ds, fs in os.walk(top):
    want |= {os.path.join(folder, n)[len(top):] for n in ds + fs}
got = set(byte) - {b"/lost+found"}
assert got == want, got ^ want
assert byte[b"/d/f"]["links"] == 3 and byte[b"/d/f"]["inode"] == byte[b"/usr/other-name"]["inode"]
assert byte[b"/bin"]["target"] == "/usr/bin" and byte[b"/usr/bin/numbers"]["mode"] == "4755"
assert byte[b"/sparse"]["size"] == 5 << 20' "$scratch/json" "$tree"
  check "$format: on a terminal names have no control characters" sh -c \
    "script -qec \"'$RAMET' ls '$image:/'\" /dev/null < /dev/null | grep -q 'new?line?\[31m' &&
     ! script -qec \"'$RAMET' ls '$image:/'\" /dev/null < /dev/null | grep -q \"\$(printf '\\033')\\[31m\""

  # Bytes.
  check "$format: cat gives a file's bytes" sh -c "'$RAMET' cat '$image:/usr/bin/numbers' | cmp - '$tree/usr/bin/numbers'"
  cat "$tree/d/f" "$tree/usr/bin/numbers" > "$scratch/want"
  check "$format: cat of several files is one after the other, links followed" sh -c \
    "'$RAMET' cat '$image:/d/to-f' '$image:/void' '$image:/bin/numbers' | cmp - '$scratch/want'"
  "$RAMET" cat "$image:/sparse" "$image:/hole" "$image:/d/f" > "$scratch/out"
  cat "$tree/sparse" "$tree/hole" "$tree/d/f" > "$scratch/want"
  check "$format: holes in a pipe are zeros" sh -c "'$RAMET' cat '$image:/sparse' | cmp - '$tree/sparse'"
  check "$format: holes in a file are right" cmp "$scratch/want" "$scratch/out"
  check "$format: and they are holes" test "$(stat -c %b "$scratch/out")" -lt 2000
  echo begin > "$scratch/appended" && "$RAMET" cat "$image:/hole" >> "$scratch/appended"
  { echo begin && cat "$tree/hole"; } > "$scratch/want"
  check "$format: appending is right" cmp "$scratch/want" "$scratch/appended"
  refused "$format: a fifo has no content" 1 '/fifo is a fifo' "$RAMET" cat "$image:/fifo"
  status=0
  sh -c "'$RAMET' cat '$image:/usr/bin/numbers'; echo \$? > '$scratch/status'" 2> "$scratch/err" | head -c 10 > /dev/null
  check "$format: who closes the pipe hears nothing" test ! -s "$scratch/err"
  check "$format: and it is the end that SIGPIPE makes" test "$(cat "$scratch/status")" = 141

  # Trees.
  mkdir "$scratch/x.$format"
  "$RAMET" cat "$image:/" | tar -C "$scratch/x.$format" --xattrs --xattrs-include='*' --numeric-owner -xpf -
  rmdir "$scratch/x.$format/lost+found" 2> /dev/null
  touch -h -d '2024-03-04 05:06:00 UTC' "$scratch/x.$format"
  "$TREE_DUMP" dir "$scratch/x.$format" > "$scratch/x.dump"
  check "$format: cat of / is a tar of all, hard links, attributes and holes too" same "$scratch/tree.dump" "$scratch/x.dump"
  check "$format: holes are not in the tar" test "$("$RAMET" cat "$image:/" | wc -c)" -lt 3000000
  check "$format: names of a directory's tar begin with its own" \
    test "$("$RAMET" cat "$image:/d/deep" | tar t)" = "$(printf 'deep/\ndeep/er/\ndeep/up')"
  check "$format: /. is for what is in it" \
    test "$("$RAMET" cat "$image:/d/deep/." | tar t)" = "$(printf './\ner/\nup')"
  refused "$format: a directory among others" 1 'must be the only one' "$RAMET" cat "$image:/d/f" "$image:/d"
  check "$format: a tar is not for a terminal" sh -c \
    "! script -qec \"'$RAMET' cat '$image:/'\" '$scratch/typescript' < /dev/null > /dev/null && grep -q 'not for a' '$scratch/typescript'"

  # And back: the same image.
  "$RAMET" build "$scratch/x.$format" "$scratch/again.$format" --format "$format" > /dev/null
  check "$format: image, tar, tree, image: the same bytes" cmp "$image" "$scratch/again.$format"
  if [ "$format" = ext4 ]; then # its lost+found has a time of its own
    "$RAMET" cat "$image:/" | "$RAMET" build - "$scratch/tar.$format" > /dev/null 2>&1
    rm -rf "$scratch/y" && mkdir "$scratch/y" && "$RAMET" cat "$scratch/tar.$format:/" |
      tar -C "$scratch/y" --xattrs --xattrs-include='*' --numeric-owner -xpf - && rmdir "$scratch/y/lost+found"
    touch -h -d '2024-03-04 05:06:00 UTC' "$scratch/y"
    "$TREE_DUMP" dir "$scratch/y" > "$scratch/y.dump"
    check "$format: image, tar, image: the same tree" same "$scratch/tree.dump" "$scratch/y.dump"
  else
    "$RAMET" cat "$image:/" | "$RAMET" build - "$scratch/tar.$format" > /dev/null 2>&1
    check "$format: image, tar, image: the same bytes" cmp "$image" "$scratch/tar.$format"
  fi
done

# What others wrote.
mksquashfs "$tree" "$scratch/mk.squashfs" -quiet -no-progress -comp gzip > /dev/null
unsquashfs -lln -d '' "$scratch/mk.squashfs" | grep -av -e 'new$' -e '^line' | awk '{ print $1, $2, $NF }' | sort > "$scratch/want"
"$RAMET" ls -lR "$scratch/mk.squashfs:/" | grep -av -e 'new$' -e '^line' |
  awk '{ print $1, $3 "/" $4, $NF }' | sort > "$scratch/listed"
sed -i '/ [0-9][0-9]:[0-9][0-9]$/d' "$scratch/want" # the root
check "unsquashfs lists the same of mksquashfs's image" same "$scratch/want" "$scratch/listed"

# Two layers are one tree.
mkdir -p "$scratch/upper/d"
echo changed > "$scratch/upper/d/f"
if mknod "$scratch/upper/void" c 0 0 2> /dev/null; then
  "$RAMET" build "$scratch/upper" "$scratch/delta.squashfs" > /dev/null
  chain=$scratch/image.squashfs+$scratch/delta.squashfs
  check "a chain shows the upper file" test "$("$RAMET" cat "$chain:/d/f")" = changed
  check "a chain shows the lower file" test "$("$RAMET" cat "$chain:/d/g")" = hello
  check "a chain hides what is deleted" sh -c "! '$RAMET' ls '$chain:/' | grep -qx void"
  check "a layer by itself shows its whiteout" sh -c "'$RAMET' ls -l '$scratch/delta.squashfs:/void' | grep -q '0, 0'"
  check "inspect knows a layer" sh -c "'$RAMET' inspect '$scratch/delta.squashfs' | grep -q 'layer  *1 whiteouts, 0 opaque'"
else
  skip "a chain" "no right to make devices"
fi

# Wrong words.
image=$scratch/image.squashfs
refused "ls of a plain word" 2 "names no place in an image; write '.*:/'" "$RAMET" ls "$image"
refused "cat of a plain word" 2 'names no place' "$RAMET" cat "$image"
refused "cat of nothing" 2 'it needs IMAGE:/PATH' "$RAMET" cat
refused "--long without a place" 2 'need a place' "$RAMET" ls --long
refused "an unknown letter" 2 'there is no option -lx' "$RAMET" ls -lx "$image:/"
refused "--images with a place" 2 'go without a place' "$RAMET" ls --images "$image:/"
refused "an image that is not there" 1 'No such file' "$RAMET" ls "$scratch/none.squashfs:/"
refused "a folder for an image" 1 'is not a file' "$RAMET" ls "$tree:/"
refused "a file that is no image" 1 'is not an image' "$RAMET" ls "$tree/d/f:/"
refused "no image before the colon" 1 'names no image' "$RAMET" ls ":/"
mkdir "$scratch/odd:" && cp "$image" "$scratch/odd:/i.squashfs"
check "an image below a folder that ends in a colon is named from within" \
  sh -c "cd '$scratch/odd:' && '$RAMET' ls i.squashfs:/d/f"

# Many.
mkdir "$scratch/many"
perl -e 'chdir $ARGV[0]; for (1 .. 100_000) { open my $f, ">", "file-$_" }' "$scratch/many"
"$RAMET" build "$scratch/many" "$scratch/many.squashfs" > /dev/null
check "100,000 names of one directory" test "$("$RAMET" ls "$scratch/many.squashfs:/" | wc -l)" = 100000
check "and in JSON" sh -c "'$RAMET' ls --json '$scratch/many.squashfs:/' | python3 -c 'import json, sys; assert len(json.load(sys.stdin)) == 100000'"
check "a listing whose reader goes away ends" sh -c "'$RAMET' ls '$scratch/many.squashfs:/' | head -n 1 | grep -qx file-1"
finish
