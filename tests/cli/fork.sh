#!/bin/sh
# Forks as an operator sees them: made, listed, shown, removed, refused.
. "$(dirname "$0")/lib.sh"
need e2fsck dumpe2fs

mkdir -p "$scratch/tree/a"
echo hello > "$scratch/tree/a/file"
head -c 300000 /dev/urandom > "$scratch/tree/a/data"
base=$scratch/base.squashfs
"$RAMET" build "$scratch/tree" "$base" > /dev/null 2>&1 || {
  not_ok "a base is built" "ramet build failed"
  finish
}

"$RAMET" fork "$base" vm --count 12 > "$scratch/said"
check "many forks are made and named" grep -qE \
  '^vm-1 \.\. vm-12: 12 forks of base.squashfs, overlay on file volumes of 10.0 GiB \(auto: no reflink, as the base is squashfs.*\), [0-9.]+ ms$' "$scratch/said"
check "one fork is made by its own name" sh -c \
  '"$RAMET" fork "$1" single --size 1G | grep -q "^single: a fork of base.squashfs, overlay on file volume of 1.00 GiB"' - "$base"

"$RAMET" ls --names > "$scratch/names"
{ echo single; seq -f 'vm-%g' 1 12; } > "$scratch/expected"
check "names are listed with their numbers in order" diff "$scratch/expected" "$scratch/names"
check "ls shows mode, provider, size and base" sh -c \
  '"$RAMET" ls | grep -qE "^vm-7 +overlay +file +10.0 GiB +[0-9.]+ KiB +- +$1$"' - "$base"
check "ls --images shows the base and its forks" sh -c \
  '"$RAMET" ls --images | grep -qE "^squashfs +.* 13 +unchanged +$1$"' - "$base"
check "show tells of one fork" sh -c '"$RAMET" show vm-3 | grep -qx "mode       overlay"'
if command -v python3 > /dev/null; then
  cat > "$scratch/asked.py" << 'END'
import json, subprocess, os
ramet = os.environ["RAMET"]
def ask(*words):
    return json.loads(subprocess.check_output([ramet, *words]))
forks = ask("ls", "--json")
assert [f["name"] for f in forks][:2] == ["single", "vm-1"], forks
assert ask("show", "vm-2", "--json") == forks[2]
assert forks[2]["size"] == 10 << 30 and 0 < forks[2]["allocated"] <= 256 << 10
assert forks[2]["holder"] is None and forks[2]["read_only_paths"] == []
assert ask("ls", "--images", "--json")[0]["forks"] == 13
made = ask("fork", forks[0]["base"], "j", "--count", "2", "--json")
assert made["forks"] == ["j-1", "j-2"] and made["provider"] == "file", made
assert ask("fork", forks[0]["base"], "j", "--json")["forks"] == ["j"]
END
  check "--json says the same" python3 "$scratch/asked.py"
  "$RAMET" rm j j-1 j-2
else
  skip "--json says the same" "python3 is missing"
fi

# What the volumes are.
bad=""
for volume in "$RAMET_ROOT"/forks/*/volume; do
  e2fsck -fn "$volume" > "$scratch/fsck" 2>&1 || bad="$bad $volume: $(cat "$scratch/fsck")"
done
[ -z "$bad" ] && ok "every volume passes e2fsck -fn" || not_ok "every volume passes e2fsck -fn" "$bad"
used=$(du -k "$RAMET_ROOT/forks/vm-1/volume" | cut -f1)
[ "$used" -le 256 ] && ok "a volume of 10 GiB takes at most 256 KiB ($used)" ||
  not_ok "a volume of 10 GiB takes at most 256 KiB" "$used KiB"
if [ "$(id -u)" = 0 ] && mkdir "$scratch/mnt" &&
  mount -o loop "$RAMET_ROOT/forks/vm-1/volume" "$scratch/mnt" 2> "$scratch/.err"; then
  check "the kernel mounts a volume and writes in it" sh -c \
    'mkdir "$0/root" && echo x > "$0/root/f" && sync -f "$0/root/f"' "$scratch/mnt"
  sleep 2
  umount "$scratch/mnt"
  used=$(du -k "$RAMET_ROOT/forks/vm-1/volume" | cut -f1)
  [ "$used" -le 512 ] && ok "mounting does not fill the inode tables ($used KiB)" ||
    not_ok "mounting does not fill the inode tables" "$used KiB"
  check "the mounted volume still passes e2fsck" e2fsck -fn "$RAMET_ROOT/forks/vm-1/volume"
else
  skip "the kernel mounts a volume and writes in it" "loop mounts (root)"
fi
"$RAMET" fork "$base" many --count 1000 > /dev/null
uuids=$(for volume in "$RAMET_ROOT"/forks/many-*/volume; do
  od -An -tx1 -j1128 -N16 "$volume"
done | sort -u | wc -l)
[ "$uuids" = 1000 ] && ok "a thousand forks have a thousand UUIDs" ||
  not_ok "a thousand forks have a thousand UUIDs" "$uuids"

# Removing.
check "forks are removed" sh -c '"$RAMET" rm $(seq -f many-%g 1 100)'
check "nothing of a removed fork is left" sh -c '! ls "$RAMET_ROOT/forks" | grep -xE "many-[0-9]{1,2}"'
refused "removing what is not there is refused" 1 "no fork called nobody" "$RAMET" rm nobody
"$RAMET" rm vm-12 nobody vm-11 2> "$scratch/.err" && not_ok "rm goes on after a failure" ||
  check "rm goes on after a failure" sh -c '! "$RAMET" ls --names | grep -E "vm-1[12]"'

# Refusals, each one sentence.
refused "a name that is taken is refused" 1 "fork vm-1 exists already" "$RAMET" fork "$base" vm --count 20
check "and none of the batch is made" sh -c '! "$RAMET" ls --names | grep vm-15'
refused "a base that is not there is refused" 1 "cannot open the image .*No such file" "$RAMET" fork "$scratch/none" x
refused "a base that is no image is refused" 1 "not an image" "$RAMET" fork "$0" x
refused "a base that is neither a file nor a folder is refused" 1 "is not a file" "$RAMET" fork /dev/null x
head -c 200000 "$base" > "$scratch/cut.squashfs"
refused "a truncated base is refused" 1 "cut.squashfs.*(truncated|shorter|cut)" "$RAMET" fork "$scratch/cut.squashfs" x
refused "a bad name is refused" 1 "cannot be a fork's name" "$RAMET" fork "$base" ../x
refused "a size of 0 is refused" 2 "size is 0" "$RAMET" fork "$base" x --size 0
refused "a size of 1 EiB is refused" 1 "1.00 EiB is larger than ramet makes them" "$RAMET" fork "$base" x --size 1E
refused "a size of 1 MiB is refused" 1 "too small" "$RAMET" fork "$base" x --size 1M
refused "a provider that cannot serve is refused, and why" 1 "reflink cannot serve.*the base is squashfs" \
  "$RAMET" fork "$base" x --provider reflink
refused "an unknown provider is refused" 2 "auto.file.reflink" "$RAMET" fork "$base" x --provider zfs
refused "an unknown fork is not shown" 1 "no fork called x" "$RAMET" show x
check "nothing half made is left by any refusal" sh -c '[ "$(ls "$RAMET_ROOT/forks" | wc -l)" = 911 ]'

# In use.
if command -v python3 > /dev/null; then
  python3 -c '
import fcntl, os, sys, time
f = open(sys.argv[1], "w"); fcntl.lockf(f, fcntl.LOCK_EX)
f.write("%d\n" % os.getpid()); f.flush(); print("held", flush=True); time.sleep(60)
' "$RAMET_ROOT/forks/vm-4/lock" > "$scratch/held" &
  holder=$!
  while ! grep -q held "$scratch/held"; do sleep 0.05; done
  refused "a fork in use is not removed, and its holder named" 1 "vm-4 is in use by process $holder" "$RAMET" rm vm-4
  check "ls names the holder" sh -c '"$RAMET" ls | grep -q "in use by $0 "' "$holder"
  kill "$holder"
  wait "$holder" 2> /dev/null
  check "a dead holder holds nothing" "$RAMET" rm vm-4
else
  skip "a fork in use is not removed, and its holder named" "python3 is missing"
fi

# The base's fate.
touch "$base"
check "a base that changed is told" sh -c '"$RAMET" show vm-1 | grep -q "changed since" && "$RAMET" ls | grep -q "(changed)"'
rm "$base"
check "a base that is gone is told" sh -c '"$RAMET" ls | grep -q "(missing)"'
finish
