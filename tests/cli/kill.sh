#!/bin/sh
# kill -9 at random moments of fork, rm and build; then the store opens clean: what is listed is
# whole, what is not listed has left nothing, and every name is free again.
# $KILLS: how many of each (default 200). $SEED: the moments again.
. "$(dirname "$0")/lib.sh"
need e2fsck unsquashfs python3

mkdir "$scratch/tree"
i=0
while [ $i -lt 200 ]; do
  head -c 20000 /dev/urandom > "$scratch/tree/$i"
  i=$((i + 1))
done
base=$scratch/base.squashfs
"$RAMET" build "$scratch/tree" "$base" > /dev/null 2>&1
"$RAMET" fork "$base" warm --size 64M > /dev/null && "$RAMET" rm warm

cat > "$scratch/kill.py" << 'END'
"""kill.py COUNT JUDGE COMMAND...: run COMMAND, kill it at a random moment of its life, judge."""
import os, random, subprocess, sys, time
count, judge, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
seed = int(os.environ.get("SEED") or time.time())
print("SEED=%d" % seed)
moments = random.Random(seed)
lives = []
for n in range(5):
    start = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    lives.append(time.monotonic() - start)
    subprocess.run(["sh", "-c", judge, "judge", "1"], check=True, stdout=subprocess.DEVNULL)
life = sorted(lives)[2]
killed = 0
for n in range(count):
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    time.sleep(moments.uniform(0, life))
    child.kill()
    status = child.wait()
    killed += status == -9
    said = child.stderr.read().decode()
    if status not in (0, -9):
        sys.exit("run %d was refused: %s" % (n, said))
    answer = subprocess.run(["sh", "-c", judge, "judge", str(n % 10)], capture_output=True, text=True)
    if answer.returncode:
        sys.exit("after run %d (status %d): %s%s" % (n, status, answer.stdout, answer.stderr))
print("%d of %d were killed" % (killed, count))
sys.exit(killed < count // 4)
END

# kills NAME JUDGE COMMAND...: the judge gets $1: 0 for each tenth time, when it may take longer.
kills() {
  name=$1
  shift
  if python3 "$scratch/kill.py" "${KILLS:-200}" "$@" > "$scratch/.out" 2>&1; then
    ok "$name ($(tail -n 1 "$scratch/.out"))"
  else
    not_ok "$name" "$(tail -n 20 "$scratch/.out")"
  fi
}

# All of a batch or none; the folders are the listed forks; nothing lies around; e2fsck each tenth.
clean='
names=$("$RAMET" ls --names) || exit 1
[ "$names" = "$(ls -v "$RAMET_ROOT/forks")" ] || { echo "listed: $names; there: $(ls "$RAMET_ROOT/forks")"; exit 1; }
[ -z "$(ls -A "$RAMET_ROOT" | grep -vxE "catalogue.db|catalogue.db-wal|catalogue.db-shm|forks|makers|reserve|templates")" ] || { ls -A "$RAMET_ROOT"; exit 1; }
[ -z "$(ls -A "$RAMET_ROOT/templates" | grep -vE "^ext4-1-[0-9]+$")" ] || { ls -A "$RAMET_ROOT/templates"; exit 1; }
for volume in $([ "$1" != 0 ] || ls -d "$RAMET_ROOT"/forks/*/volume 2> /dev/null); do
  e2fsck -fn "$volume" > "$RAMET_ROOT.fsck" 2>&1 || { cat "$RAMET_ROOT.fsck"; exit 1; }
done'
kills "fork --count is all or nothing at any moment" "$clean
case \$(echo \$names) in
  ''|'vm-1 vm-2 vm-3 vm-4 vm-5 vm-6 vm-7 vm-8 vm-9 vm-10') ;;
  *) echo \"half a batch: \$names\"; exit 1 ;;
esac
[ -z \"\$names\" ] || \"\$RAMET\" rm \$names" "$RAMET" fork "$base" vm --count 10 --size 64M

kills "a single fork is whole or not there" "$clean
[ -z \"\$names\" ] || \"\$RAMET\" rm \$names" "$RAMET" fork "$base" one --size 64M

# With layers: the rows of both tables come and go together.
"$RAMET" build "$scratch/tree" "$scratch/layer.squashfs" --compression gzip > /dev/null 2>&1
kills "forks of a chain are all or nothing" "$clean
for name in \$names; do
  \"\$RAMET\" show \$name | grep -q '^layer .*layer.squashfs' || { echo \"no layer: \$name\"; exit 1; }
done
case \$(echo \$names) in
  ''|'vm-1 vm-2 vm-3 vm-4 vm-5 vm-6') ;;
  *) echo \"half a batch: \$names\"; exit 1 ;;
esac
[ -z \"\$names\" ] || \"\$RAMET\" rm \$names" "$RAMET" fork "$base+$scratch/layer.squashfs" vm --count 6 --size 64M

# A removal that was killed is either not begun or ends at the next open.
"$RAMET" fork "$base" rm --count 20 --size 64M > /dev/null
kills "rm removes whole forks at any moment" "$clean
[ -n \"\$names\" ] && \"\$RAMET\" rm \$names
\"\$RAMET\" fork '$base' rm --count 20 --size 64M" sh -c 'exec "$RAMET" rm $(seq -f rm-%g 1 20)'
"$RAMET" ls --names | xargs "$RAMET" rm

# An image is the old one, or the new one, or not there; no temporary file is left beside it.
mkdir "$scratch/out"
kills "build leaves a whole image or none" "$clean
[ -z \"\$(ls -A '$scratch/out' | grep -vx image)\" ] || { ls -A '$scratch/out'; exit 1; }
[ ! -e '$scratch/out/image' ] || unsquashfs -s '$scratch/out/image' || exit 1
[ \"\$1\" != 0 ] || [ ! -e '$scratch/out/image' ] || unsquashfs -d '$scratch/got' -f '$scratch/out/image' > /dev/null || exit 1
rm -f '$scratch/out/image'" "$RAMET" build "$scratch/tree" "$scratch/out/image"

# A commit: the same, and the volume is as it was.
if command -v debugfs > /dev/null; then
  "$RAMET" fork "$base" written --size 64M > /dev/null
  volume=$RAMET_ROOT/forks/written/volume
  { printf 'mkdir root\nmkdir work\ncd root\n' && seq 0 199 | sed "s,.*,write $scratch/tree/& new-&,"; } |
    debugfs -w -f - "$volume" > /dev/null 2>&1
  "$RAMET" commit written "$scratch/good" > /dev/null
  sum=$(cksum < "$volume")
  kills "commit leaves a whole layer or none" "$clean
[ -z \"\$(ls -A '$scratch/out' | grep -vx image)\" ] || { ls -A '$scratch/out'; exit 1; }
[ ! -e '$scratch/out/image' ] || cmp '$scratch/out/image' '$scratch/good' || exit 1
[ \"\$(cksum < '$volume')\" = '$sum' ] || { echo 'the volume was written to'; exit 1; }
rm -f '$scratch/out/image'" "$RAMET" commit written "$scratch/out/image"
else
  skip "commit leaves a whole layer or none" "debugfs is missing"
fi
finish
