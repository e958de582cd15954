#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The default command of a container image and of a bundle, in a guest: with its environment, its
# folder and its user, as `docker run` has it.
# shellcheck source=tests/guest/lib.sh
. "$(dirname "$0")/lib.sh"
need umoci python3 setfattr jq
if [ "$(id -u)" != 0 ]; then
  echo "1..0 # SKIP images with owners and devices are made by root only"
  exit 0
fi
sh "$SOURCE_ROOT/tests/tools/oci-make" "$scratch/oci" > "$scratch/make.log" 2>&1 ||
  bail_out "the image could not be made: $(tail -n 1 "$scratch/make.log")"
"$RAMET" build "oci:$scratch/oci/layout" "$scratch/image.squashfs" > /dev/null
"$RAMET" fork "$scratch/image.squashfs" vm --size 64M > /dev/null
run() {
  timeout -k 1 120 "$RAMET" run --vmm qemu --kernel "$KERNEL" --modules "$MODULES" --memory 128 --quiet "$@"
}
# output NAME WANT ARGUMENT...: standard output and status, to the byte.
output() {
  output_name=$1 want=$2
  shift 2
  got=$(run "$@" < /dev/null 2> "$scratch/err"; echo " status $?")
  if [ "$got" = "$want" ]; then
    ok "$output_name"
  else
    not_ok "$output_name" "got: $got" "want: $want" "$(cat "$scratch/err")"
  fi
}

output 'without a command the default one runs, as its user, in its folder, with its environment' \
  'uid=1000(app) gid=1000(app) groups=29(audio)
/srv/app
A is b c,d
HOME is /home/app
 status 3' vm
[ "$("$RAMET" diff vm | grep -v "/proc$\|/sys$")" = "A /srv
A /srv/app" ] && ok 'the folder to start in was made' || not_ok 'the folder to start in was made' "$("$RAMET" diff vm)"
output 'a command that is given runs likewise' '/srv/app b c,d app
 status 0' vm -- sh -c 'echo "$PWD $A $USER"'
output '/dev/stdout can be opened by the user, and the rest is not its own' 'out
refused
 status 0' vm -- sh -c 'echo out > /dev/stdout; echo x 2> /dev/null > /etc/passwd || echo refused'
# More than a kernel's command line holds, and bytes of every kind.
long=$(seq 1 3000 | tr '\n' ' ')
output 'a command of 14 KB arrives whole' "$long,%41 \"'
 status 0" vm -- sh -c 'echo "$1$2"' sh "$long" ",%41 \"'"
output 'the kernel arguments of one boot count more' 'uid=0(root) gid=44(video) here
 status 0' vm --append 'ramet.user=root:video A=here' -- sh -c 'echo "$(id) $A"'
output 'a number that nobody has is a user too' 'uid=1234 gid=0(root) /
 status 0' vm --append ramet.user=1234 -- sh -c 'echo "$(id) $HOME"'
run vm --append ramet.user=nobody -- id < /dev/null > "$scratch/out" 2> "$scratch/err"
grep -q "the command's user nobody is not in the image's /etc/passwd" "$scratch/err" &&
  ok 'a name that nobody has is refused by name' || not_ok 'a name that nobody has' "$(cat "$scratch/err")"
run vm --boot < /dev/null > "$scratch/out" 2> "$scratch/err"
grep -q 'the image has no init' "$scratch/err" && ok '--boot wants the own init of the image' ||
  not_ok '--boot wants the own init of the image' "$(cat "$scratch/err")"

umoci unpack --image "$scratch/oci/layout:v1" "$scratch/bundle" > /dev/null 2>&1
echo bound > "$scratch/bound"
jq --arg bound "$scratch/bound" '.root.readonly = true | .process.args = ["/bin/sh", "-c",
  "id; pwd; touch /x || echo read-only; cat /bound; exit 4"] | .process.user.additionalGids = [44, 77] |
  .mounts += [{destination: "/bound", type: "bind", source: $bound, options: ["ro"]}]' \
  "$scratch/bundle/config.json" > "$scratch/config" && cp "$scratch/config" "$scratch/bundle/config.json"
"$RAMET" prepare "$scratch/bundle" > /dev/null 2>&1
"$RAMET" fork "$scratch/bundle.squashfs" bundle --size 64M > /dev/null
output "a bundle's process runs, with its groups, over a root that is read-only" \
  'uid=1000(app) gid=1000(app) groups=44(video),77
/srv/app
touch: /x: Read-only file system
read-only
bound
 status 4' bundle
finish
