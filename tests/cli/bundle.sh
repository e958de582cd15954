#!/bin/sh
# Runtime bundles and ramet prepare: root, mounts and process of config.json.
. "$(dirname "$0")/lib.sh"
need jq unsquashfs
cd "$scratch" || exit 1
mkdir -p b/rootfs/etc b/rootfs/mnt b/data/sub host
echo root > b/rootfs/etc/file
echo data > b/data/sub/file
echo host > host/file
# config STATEMENT...: the configuration of runc spec, changed by jq.
cat > plain.json << 'END'
{"ociVersion":"1.0.2-dev","process":{"terminal":true,"user":{"uid":0,"gid":0},"args":["sh"],
"env":["PATH=/usr/bin:/bin","TERM=xterm"],"cwd":"/","noNewPrivileges":true},
"root":{"path":"rootfs"},"hostname":"runc","mounts":[
{"destination":"/proc","type":"proc","source":"proc"},
{"destination":"/dev","type":"tmpfs","source":"tmpfs","options":["nosuid","mode=755"]}],
"linux":{"namespaces":[{"type":"pid"}],"maskedPaths":["/proc/kcore"]}}
END
config() { jq "${1:-.}" plain.json > b/config.json; }
listing() { unsquashfs -lls "$1" | sed -n 's/.*squashfs-root//p'; }

config
"$RAMET" build bundle:b b.squashfs > out 2> err
[ "$(cat err)" = "ramet build: the bundle's mount /proc is left out: its type is proc.
ramet build: the bundle's mount /dev is left out: its type is tmpfs." ] &&
  ok "each mount that is no bind mount is named" || not_ok "each mount that is no bind mount is named" "$(cat err)"
"$RAMET" fork b.squashfs vm --size 64M > out
[ "$("$RAMET" show vm --json | jq -c .process)" = '{"args":["sh"],"env":["PATH=/usr/bin:/bin","TERM=xterm"],"cwd":"/","user":"0:0"}' ] &&
  ok "the process is kept" || not_ok "the process is kept" "$("$RAMET" show vm)"

config '.root.readonly = true | .mounts += [
  {destination: "/mnt/ro", type: "bind", source: "data", options: ["rbind", "ro"]},
  {destination: "/mnt/rw", type: "none", source: "'"$scratch"'/host", options: ["bind", "rw"]},
  {destination: "mnt/ro/sub/file", type: "bind", source: "'"$scratch"'/host/file"},
  {destination: "/run/null", type: "bind", source: "/dev/null"}]'
"$RAMET" prepare b > out 2> err
grep -qE '^rootfs [0-9]+ B(ytes)? -> squashfs [0-9.]+ KiB \([0-9.]+ %\)$|^rootfs .* -> squashfs .* \([0-9.]+ %\)$' out &&
  ok "one line with the sizes" || not_ok "one line with the sizes" "$(cat out)"
grep -qE '^walk [0-9.]+ s, write [0-9.]+ s, sync [0-9.]+ s, catalogue [0-9.]+ s, in all [0-9.]+ s$' out &&
  ok "one with the time of each step" || not_ok "one with the time of each step" "$(cat out)"
check "and the drive" sh -c 'sed 1,2d out | jq -e --arg p "$PWD/b.squashfs" ". == {drive_id: \"rootfs\", path_on_host: \$p, is_root_device: true, is_read_only: true}"'
grep -q "the bundle's mount /run/null is left out: /dev/null is a device" err &&
  ok "a device is left out by name" || not_ok "a device is left out by name" "$(cat err)"
unsquashfs -cat b.squashfs mnt/ro/sub/file | grep -q host && unsquashfs -cat b.squashfs mnt/rw/file | grep -q host &&
  ok "bind mounts are in the image, a later one in an earlier one" || not_ok "bind mounts are in the image" "$(listing b.squashfs)"
"$RAMET" prepare b --json > out 2> err
check "--json: one object, and nothing beside it" sh -c '[ ! -s err ] && jq -e "
  .format == \"squashfs\" and .read_only_paths == [\"/\", \"/mnt/ro\"] and (.notes | length) == 3 and
  (.steps | map(.name)) == [\"walk\", \"write\", \"sync\", \"catalogue\"] and .seconds > 0 and
  .drive.path_on_host == .image and .rootfs_bytes > 0 and .ratio > 0 and .process.args == [\"sh\"]" out'
"$RAMET" prepare b other.ext4 --json | jq -e '.format == "ext4"' > out &&
  ok "the image may be named, and its name chooses the format" || not_ok "the image may be named"
check "from within the bundle too" sh -c 'cd b && "$RAMET" prepare . --format ext4 --bind ../host:/over --json 2> ../err | jq -e ".image | endswith(\"/b.ext4\")"'
"$RAMET" prepare nothing --json > out 2> err
[ $? = 1 ] && [ ! -s out ] && jq -e '.error.command == "prepare" and .error.code == "ENOENT"' err > out2 &&
  ok "a failure is JSON too" || not_ok "a failure is JSON too" "$(cat out err)"

# bad NAME PATTERN STATEMENT
bad() {
  config "$3"
  refused "$1" 1 "$2" "$RAMET" prepare b x.squashfs
}
bad "a mount whose source is missing" "the source b/gone of the bundle's mount /mnt: No such file" \
  '.mounts = [{destination: "/mnt", type: "bind", source: "gone"}]'
bad "a mount outside of the image" "has '\.\.' in it" '.mounts = [{destination: "/../x", type: "bind", source: "data"}]'
bad "a root that is missing" 'cannot open b/nothing: No such file' '.mounts = [] | .root.path = "nothing"'
bad "a configuration without a root" 'b/config.json: root is missing' 'del(.root)'
bad "a number for a path" 'b/config.json: root.path is a whole number and must be a string' '.root.path = 5'
bad "a version of tomorrow" "ociVersion is '2.0.0', and only 1.x" '.ociVersion = "2.0.0"'
bad "a command that is no array" 'process.args is a string and must be an array' '.process.args = "sh"'
bad "an environment that is none" 'process.env\[0\] is not NAME=VALUE' '.process.env = ["X"]'
echo '{"root":{},"root":{}}' > b/config.json
refused "a key that is there twice" 1 'duplicate object key' "$RAMET" prepare b x.squashfs
printf '{"ociVersion":"1.0\\u0000"}' > b/config.json
refused "NUL in a string" 1 'not sound JSON' "$RAMET" prepare b x.squashfs
rm b/config.json
refused "a folder that is no bundle" 1 'cannot read b/config.json: No such file' "$RAMET" prepare b x.squashfs
[ -e x.squashfs ] && not_ok "nothing of a refused bundle is left" || ok "nothing of a refused bundle is left"
finish
