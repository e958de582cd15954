#!/bin/sh
# What doctor says is so.
. "$(dirname "$0")/lib.sh"

names="kvm firecracker qemu fuse reflink device-mapper nbd ublk io_uring landlock server exports"
check "doctor succeeds" "$RAMET" doctor
"$RAMET" doctor > "$scratch/out" 2>&1
for name in $names; do
  check "doctor tells of $name" grep -qE "^$name +(yes|no)  ?." "$scratch/out"
done
check "every no has an advice" awk \
  '/^[a-z_-]+ +no /{wanted=1; next} wanted && !/^ +-> ./{exit 1} {wanted=0} END{exit wanted}' "$scratch/out"

# A host that is made up: two programs that answer, one that hangs, none at all.
mkdir "$scratch/bin"
printf '#!/bin/sh\necho Firecracker v9.9.9\n' > "$scratch/bin/firecracker"
printf '#!/bin/sh\nexec /bin/sleep 100\n' > "$scratch/bin/qemu-system-x86_64"
chmod +x "$scratch/bin/firecracker" "$scratch/bin/qemu-system-x86_64"
PATH=$scratch/bin "$RAMET" doctor > "$scratch/out" 2>&1
check "a program in PATH is asked for its version" grep -qE "^firecracker +yes +$scratch/bin/firecracker, Firecracker v9.9.9" "$scratch/out"
check "a program that hangs is no program" grep -qE "^qemu +no +.*does not tell its version" "$scratch/out"
PATH=/none "$RAMET" doctor > "$scratch/out" 2>&1
check "a program that is missing is told" grep -qE "^qemu +no +qemu-system-x86_64 is not in PATH" "$scratch/out"

if command -v python3 > /dev/null; then
  check "--json says the same" sh -c '"$RAMET" doctor --json | python3 -c "
import json, sys
answer = json.load(sys.stdin)
assert [f[\"name\"] for f in answer[\"findings\"]] == sys.argv[1].split()
assert answer[\"recommended_provider\"] in (\"file\", \"reflink\")
assert all(f[\"ok\"] or f[\"advice\"] for f in answer[\"findings\"])
" "$0"' "$names"
else
  skip "--json says the same" "python3 is missing"
fi
finish
