#!/bin/sh
# Container images as sources: what is in an image comes out the same, whatever it is kept in, and
# each thing that is wrong with one is refused by name.
. "$(dirname "$0")/lib.sh"
need umoci skopeo jq python3 setfattr
if [ "$(id -u)" != 0 ]; then
  echo "1..0 # SKIP images with owners and devices are unpacked by root only"
  exit 0
fi
TREE_DUMP=${TREE_DUMP:-$BUILD_ROOT/tests/tools/tree-dump}
export TREE_DUMP
tools=$SOURCE_ROOT/tests/tools
cd "$scratch" || exit 1
sh "$tools/oci-make" "$scratch" > make.log 2>&1 || { echo "Bail out! $(tail -n 1 make.log)"; exit 1; }

# The oracle: what umoci unpacks.
umoci unpack --image layout:v1 bundle > unpack.log 2>&1
"$RAMET" build bundle/rootfs oracle.squashfs > out
"$TREE_DUMP" squashfs oracle.squashfs > oracle
"$TREE_DUMP" dir bundle/rootfs > unpacked
check "the oracle has what the layers say" sh -c '
  ! grep -qE "^/(old|dir/fifo|opaque/below|opaque/gone)|/never-there" oracle &&
  grep -q "^/dir/zz-across " oracle && grep -q "^/dir/new/below " oracle'
# same NAME SOURCE [FORMAT]: an image of SOURCE holds what umoci unpacked.
same() {
  "$RAMET" build "$2" same."${3:-squashfs}" > out 2> same.err || { not_ok "$1" "$(cat same.err)"; return; }
  "$TREE_DUMP" "${3:-squashfs}" same."${3:-squashfs}" | grep -v '^/lost+found ' > same
  if cmp -s oracle same; then ok "$1"; else not_ok "$1" "$(diff oracle same | head -20)"; fi
}
same "an OCI layout" oci:layout:v1
same "the same, whose only image needs no name" oci:layout
rm -f same.squashfs && "$RAMET" build oci:layout first.squashfs > out
check "the same image gives the same bytes" sh -c '"$RAMET" build oci:layout:v1 same.squashfs && cmp same.squashfs first.squashfs'
same "a bundle" bundle:bundle
tar --xattrs --xattrs-include='user.*' --format=pax -C bundle/rootfs -cf root.tar .
same "a tar archive of what was unpacked" root.tar
zstd -q root.tar
same "the same, compressed" root.tar.zst
skopeo copy -q oci:layout:v1 docker-archive:skopeo.tar:docker.io/test/image:v1
same "an archive that skopeo wrote" docker-archive:skopeo.tar
same "the same by its tag, as Docker shortens it" docker-archive:skopeo.tar:test/image:v1
same "the same, known by its content" skopeo.tar
gzip -k skopeo.tar
same "the same, compressed" skopeo.tar.gz
"$tools/oci-edit" layout --save old.tar old && "$tools/oci-edit" layout --save new.tar new
same "what old versions of docker save write" old.tar
same "what new versions of docker save write, descriptions first" new.tar
mkdir pipe
check "and from a pipe" sh -c 'cat old.tar | "$RAMET" build - pipe/piped.squashfs 2> pipe/err &&
  "$TREE_DUMP" squashfs pipe/piped.squashfs | cmp - oracle'
[ "$(ls -A pipe)" = "err
piped.squashfs" ] && ok "a pipe leaves no file behind" || not_ok "a pipe leaves no file behind" "$(ls -A pipe)"
skopeo copy -q --dest-compress-format zstd oci:layout:v1 oci:zstd:v1
check "skopeo wrote zstd" sh -c 'jq -r .layers[0].mediaType zstd/blobs/*/"$(jq -r ".manifests[0].digest" zstd/index.json | cut -d : -f 2)" | grep zstd'
same "layers in zstd" oci:zstd
skopeo copy -q --format v2s2 oci:layout:v1 dir:docker-dir
"$tools/oci-edit" layout index 'd["manifests"].append(d["manifests"][0])' &&
  same "an entry that is there twice" oci:layout:v1
"$tools/oci-edit" layout index 'd["manifests"].pop()'
same "an ext4" oci:layout:v1 ext4
process=$("$RAMET" build oci:layout x.squashfs > out && "$RAMET" fork x.squashfs vm --size 64M > out && "$RAMET" show vm --json | jq -c .process)
[ "$process" = '{"args":["/bin/sh","-c","id; pwd; echo \"A is $A\"; echo \"HOME is $HOME\"; exit 3"],"env":["A=b c,d","PATH=/bin"],"cwd":"/srv/app","user":"app"}' ] &&
  ok "the default command is known" || not_ok "the default command is known" "$process"
"$RAMET" show vm > out
grep -q '^runs as    app$' out && grep -q '^starts in  /srv/app$' out && ok "show tells it" || not_ok "show tells it" "$(cat out)"
# umoci adds an environment and a terminal of its own; the command is the same.
"$RAMET" prepare bundle b.squashfs --json > out && jq -e '.process.args[0] == "/bin/sh" and .process.cwd == "/srv/app" and
  .process.user == "1000:1000" and (.process.env | index("A=b c,d"))' out > out2 &&
  ok "a bundle of it names the same command" || not_ok "a bundle of it names the same command" "$(cat out)"

# Which image, for which platform.
cp -a layout two
umoci tag --image two:v1 v2
refused "several images, and no name" 1 'holds several images; name one behind a colon: v1, v2' "$RAMET" build oci:two x.squashfs
refused "a name that is not there" 1 "has no image 'v3'; there is v1" "$RAMET" build oci:layout:v3 x.squashfs
refused "a tag that is not there" 1 "has no image 'x'; there is" "$RAMET" build docker-archive:skopeo.tar:x x.squashfs
cp -a layout many
"$tools/oci-edit" many index '
entry = d["manifests"][0]
arm = json.loads(json.dumps(config)); arm["architecture"] = "arm"
other = json.loads(json.dumps(manifest)); other["config"].update(blob(json.dumps(arm).encode()))
second = dict(entry, platform={"os": "linux", "architecture": "arm", "variant": "v7"}, **blob(json.dumps(other).encode()))
first = dict(entry, platform={"os": "linux", "architecture": "amd64"})
inner = blob(json.dumps({"schemaVersion": 2, "manifests": [first, second]}).encode())
d["manifests"] = [dict(inner, mediaType="application/vnd.oci.image.index.v1+json", annotations={"org.opencontainers.image.ref.name": "v1"})]'
if [ "$(uname -m)" = x86_64 ]; then same "an index within the index, by the host's platform" oci:many:v1; fi
check "by the platform that is named" "$RAMET" build oci:many x.squashfs --platform linux/arm
check "by its variant" "$RAMET" build oci:many x.squashfs --platform linux/arm/v7
refused "a platform that is not there" 1 'has nothing for linux/s390x; there is linux/amd64, linux/arm/v7' \
  "$RAMET" build oci:many x.squashfs --platform linux/s390x
refused "a variant that is not there" 1 'has nothing for linux/arm/v5' "$RAMET" build oci:many x.squashfs --platform linux/arm/v5
refused "a platform that is none" 1 'must be OS/ARCHITECTURE' "$RAMET" build oci:many x.squashfs --platform linux
refused "an image that is only for another" 1 'is for linux/amd64 and not for linux/arm64' \
  "$RAMET" build oci:layout x.squashfs --platform linux/arm64
cp -a layout foreign
"$tools/oci-edit" foreign config 'd["architecture"] = "s390x"'
refused "nobody asked: it is built, and said" 0 'the image is for linux/s390x, and this host is linux/' "$RAMET" build oci:foreign x.squashfs

# What is wrong. damaged NAME PATTERN: the layout is spoiled by the commands on standard input.
damaged() {
  rm -rf bad
  cp -a layout bad
  manifest=$(jq -r '.manifests[0].digest' bad/index.json | cut -d : -f 2)
  # shellcheck disable=SC2034 # for what is on standard input
  config=$(jq -r .config.digest "bad/blobs/sha256/$manifest" | cut -d : -f 2)
  # shellcheck disable=SC2034
  layer=$(jq -r '.layers[1].digest' "bad/blobs/sha256/$manifest" | cut -d : -f 2)
  cat > spoil
  # shellcheck disable=SC1091
  (cd bad/blobs/sha256 && . ../../../spoil) > spoil.log 2>&1
  refused "$1" 1 "$2" "$RAMET" build oci:bad x.squashfs
}
flip() { printf '\001' | dd of="$1" bs=1 seek="${2:-40}" conv=notrunc 2> /dev/null; }
edit() { "$tools/oci-edit" ../.. "$@"; }
rm -f x.squashfs
damaged "a manifest that was changed" 'bad/blobs/sha256/[0-9a-f]+ is damaged: its digest is sha256:' << 'END'
flip "$manifest"
END
damaged "a configuration that was changed" 'is damaged: its digest is sha256:' << 'END'
flip "$config"
END
damaged "a layer that was changed" 'is damaged' << 'END'
flip "$layer" 60
END
damaged "a layer whose gzip header was changed, and nothing else" 'is damaged: the sha256 of its bytes' << 'END'
flip "$layer" 4
END
damaged "a manifest of another size" 'bytes and should have' << 'END'
echo >> "$manifest"
END
damaged "a layer of another size" 'bytes and should have' << 'END'
truncate -s -1 "$layer"
END
damaged "a layer that is not there" "cannot open bad/blobs/sha256/.*No such file" << 'END'
rm "$layer"
END
damaged "a configuration that is not there" "cannot open bad/blobs/sha256/.*No such file" << 'END'
rm "$config"
END
damaged "a layer that is a symlink" 'is a symbolic link' << 'END'
mv "$layer" ../../../stolen && ln -s "$PWD/../../../stolen" "$layer"
END
damaged "blobs that are a symlink" 'symbolic link|cannot open' << 'END'
cd ../.. && mv blobs ../blobs.away && ln -s ../blobs.away blobs
END
rm -rf blobs.away
damaged "a diff_id that is not the layer's" 'is damaged: the sha256 of its content is [0-9a-f]+, and should be' << 'END'
edit config 'd["rootfs"]["diff_ids"][1] = "sha256:" + 64 * "0"'
END
damaged "a diff_id too few" 'has 6 layers, and .* tells of 5' << 'END'
edit config 'd["rootfs"]["diff_ids"].pop()'
END
damaged "a digest that would lead elsewhere" "digest is 'sha256:../../../etc/passwd' and must be" << 'END'
edit manifest 'd["layers"][0]["digest"] = "sha256:../../../etc/passwd"'
END
cat > sha512.py << 'END'
import hashlib, os
data = open(path(d["layers"][1]["digest"]), "rb").read()
os.makedirs(path("sha512:"), exist_ok=True)
d["layers"][1]["digest"] = "sha512:" + hashlib.sha512(data).hexdigest()
open(path(d["layers"][1]["digest"]), "wb").write(data)
END
cp -a layout sha512
"$tools/oci-edit" sha512 manifest "$(cat sha512.py)" && same "digests of sha512" oci:sha512
damaged "a layer that is not what its sha512 says" 'is damaged: its digest is sha512:' << 'END'
edit manifest "$(cat ../../../sha512.py)
d['layers'][1]['digest'] = d['layers'][1]['digest'][:-4] + 'ffff'
open(path(d['layers'][1]['digest']), 'wb').write(data)"
END
damaged "an encrypted layer" 'layers\[0\] is encrypted' << 'END'
edit manifest 'd["layers"][0]["mediaType"] += "+encrypted"'
END
damaged "an artifact" 'is an artifact \(application/vnd.x\) and not an image' << 'END'
edit manifest 'd["config"]["mediaType"] = "application/vnd.x"'
END
damaged "a manifest that is an index too" 'an index and a manifest at once' << 'END'
edit manifest 'd["manifests"] = []'
END
damaged "a schema of yesterday" 'schema 1' << 'END'
edit index 'd["manifests"][0]["mediaType"] = "application/vnd.docker.distribution.manifest.v1+prettyjws"'
END
damaged "a version of tomorrow" 'only 1.x is known' << 'END'
echo '{"imageLayoutVersion":"2.0.0"}' > ../../oci-layout
END
damaged "a folder that is no layout" 'there is no file oci-layout' << 'END'
rm ../../oci-layout
END
damaged "an index that is no JSON" 'bad/index.json is not sound JSON: line' << 'END'
echo '{' > ../../index.json
END
damaged "an index of 300 levels" 'bad/index.json is nested more than 64 levels' << 'END'
python3 -c 'print("[" * 300 + "]" * 300)' > ../../index.json
END
damaged "an index of millions of values" 'bad/index.json has more than 100000 values' << 'END'
python3 -c 'print("[" + "{}," * 1000000 + "{}]")' > ../../index.json
END
damaged "an index of gigabytes" 'bad/index.json has more than 4194304 bytes' << 'END'
truncate -s 8G ../../index.json
END
damaged "an index that names itself a thousand times over" 'too many indexes within indexes' << 'END'
edit index 'inner = d["manifests"][0]
for i in range(12): inner = dict(blob(json.dumps({"schemaVersion": 2, "manifests": [inner] * 50}).encode()), mediaType="application/vnd.oci.image.index.v1+json")
d["manifests"] = [inner]'
END
[ -e x.squashfs ] && not_ok "nothing of a refused image is left" || ok "nothing of a refused image is left"

# Archives.
python3 - << 'END'
import io, json, tarfile
def make(name, **members):
    with tarfile.open(name, "w") as tar:
        for key, data in members.items():
            info = tarfile.TarInfo(key.replace("__", "/").replace("_json", ".json"))
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
j = lambda o: json.dumps(o).encode()
config = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": ["sha256:" + 64 * "0"]}}
make("no-manifest.tar", a=b"b")
make("no-config.tar", manifest_json=j([{"Config": "c", "Layers": []}]))
make("no-layer.tar", manifest_json=j([{"Config": "c", "Layers": ["../../etc/passwd"]}]), c=j(config))
make("wrong-layer.tar", manifest_json=j([{"Config": "c", "Layers": ["l"]}]), c=j(config), l=1024 * b"\0")
make("wrong-config.tar", manifest_json=j([{"Config": 64 * "0" + ".json", "Layers": ["l"]}]), **{64 * "0" + "_json": j(config)})
make("no-json.tar", manifest_json=b"[{]")
make("huge.tar", manifest_json=b" " * (5 << 20))
END
refused "an archive without manifest.json" 1 'no-manifest.tar is no archive of docker save' "$RAMET" build docker-archive:no-manifest.tar x.squashfs
refused "a configuration that is not in it" 1 'names the configuration c, which is not in the archive' "$RAMET" build docker-archive:no-config.tar x.squashfs
refused "a layer that is not in it" 1 'names the layer ../../etc/passwd, which is not' "$RAMET" build docker-archive:no-layer.tar x.squashfs
refused "a layer that is not the one" 1 'the sha256 of its content is' "$RAMET" build docker-archive:wrong-layer.tar x.squashfs
refused "a configuration that is not the one" 1 'is damaged: its digest is' "$RAMET" build docker-archive:wrong-config.tar x.squashfs
refused "a manifest.json that is none" 1 'no-json.tar: manifest.json is not sound JSON' "$RAMET" build docker-archive:no-json.tar x.squashfs
refused "a manifest.json of megabytes" 1 'manifest.json has 5242880 bytes' "$RAMET" build docker-archive:huge.tar x.squashfs
head -c 3000 old.tar > cut.tar
refused "an archive that is cut off" 1 'cut.tar' "$RAMET" build docker-archive:cut.tar x.squashfs
head -c 20000 skopeo.tar.gz > cut.tar.gz
refused "a compressed one that is" 1 'cut.tar.gz' "$RAMET" build docker-archive:cut.tar.gz x.squashfs
check "a plain archive with a manifest.json in it stays what it is" sh -c '
  mkdir -p app/src && echo "{}" > app/manifest.json && tar -C app -cf app.tar . &&
  "$RAMET" build app.tar app.squashfs && "$TREE_DUMP" squashfs app.squashfs | grep "^/manifest.json "'
finish
