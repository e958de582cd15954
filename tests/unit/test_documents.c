/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptions of images and bundles from outside: what is taken, and how what is not is refused. */
#include "base/digest.h"
#include "source/bundle.h"
#include "source/oci_json.h"
#include "source/oci_platform.h"
#include "tests/unit/tap.h"

#define HEX              "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define MANIFEST_TYPE    "application/vnd.oci.image.manifest.v1+json"
#define LAYER_TYPE       "application/vnd.oci.image.layer.v1.tar+gzip"
#define DESCRIPTOR(type) "{\"mediaType\":\"" type "\",\"digest\":\"sha256:" HEX "\",\"size\":7}"
#define CONFIG           DESCRIPTOR("application/vnd.oci.image.config.v1+json")
#define MANIFEST(layers) "{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[" layers "]}"
#define IMAGE(config) \
	"{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{\"type\":\"layers\"," \
	"\"diff_ids\":[\"sha256:" HEX "\"]},\"config\":" config "}"
#define BUNDLE(rest) "{\"ociVersion\":\"1.0.2\",\"root\":{\"path\":\"rootfs\"}" rest "}"

static struct ramet_error err;

static int index_of(const char *text)
{
	_cleanup_oci_index_ struct oci_index index;
	return oci_index_parse(&index, "F", text, strlen(text), &err);
}

static int manifest_of(const char *text)
{
	_cleanup_oci_manifest_ struct oci_manifest manifest;
	return oci_manifest_parse(&manifest, "F", text, strlen(text), &err);
}

static int config_of(const char *text)
{
	_cleanup_oci_config_ struct oci_config config;
	return oci_config_parse(&config, "F", text, strlen(text), &err);
}

static int docker_of(const char *text)
{
	_cleanup_docker_manifest_ struct docker_manifest manifest;
	return docker_manifest_parse(&manifest, "F", text, strlen(text), &err);
}

static int bundle_of(const char *text)
{
	_cleanup_bundle_config_ struct bundle_config config;
	return bundle_config_parse(&config, "F", text, strlen(text), &err);
}

static int layout_of(const char *text)
{
	return oci_layout_check("F", text, strlen(text), &err);
}

struct refusal {
	int (*parse)(const char *text);
	const char *text, *sentence;
};

static void check_refusals(const struct refusal *cases, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		err = (struct ramet_error){0};
		int r = cases[i].parse(cases[i].text);
		bool sound = r < 0 && err.code == -r && strstr(err.message, cases[i].sentence) &&
			     strncmp(err.message, "F", 1) == 0;
		if (!sound)
			printf("# %s: %d: %s\n", cases[i].text, r, err.message);
		CHECK(sound);
	}
}

static void test_json(void)
{
	static const struct refusal cases[] = {
		{index_of, "", "F is not sound JSON"},
		{index_of, "{\"a\":1", "F is not sound JSON: line 1"},
		{index_of, "[]", "F is an array and must be an object"},
		{index_of, "{\"schemaVersion\":2,\"schemaVersion\":2}", "duplicate object key"},
		{index_of, "{\"a\":\"\\u0000\"}", "\\u0000"},
		{index_of, "{\"a\":\"\xff\"}", "not sound JSON"},
		{index_of, "{\"a\":18446744073709551616}", "too big integer"},
		{index_of, "{\"schemaVersion\":2} x", "not sound JSON"},
		{index_of, "{\"schemaVersion\":\"2\"}",
			"F: schemaVersion is a string and must be a whole"},
		{index_of, "{\"schemaVersion\":2.0,\"manifests\":[]}",
			"schemaVersion is a fraction"},
		{index_of, "{\"schemaVersion\":-1}", "schemaVersion is -1 and must be from 0"},
		{docker_of, "{}", "F is an object and must be an array"},
		{docker_of, "[]", "F tells of 0 images"},
	};
	check_refusals(cases, sizeof cases / sizeof *cases);
}

/* A text of n times piece. */
static char *repeated(const char *before, const char *piece, size_t n, const char *after)
{
	char *text = malloc(strlen(before) + n * strlen(piece) + strlen(after) + 1), *at = text;
	if (!text)
		abort();
	at = stpcpy(at, before);
	while (n-- > 0)
		at = stpcpy(at, piece);
	strcpy(at, after);
	return text;
}

static void test_bombs(void)
{
	const struct {
		int (*parse)(const char *text);
		char *text;
		const char *sentence;
	} cases[] = {
		{index_of, repeated("", "[", 65, ""), "nested more than 64 levels"},
		{index_of, repeated("", "{\"a\":", 300, "1"), "nested more than 64 levels"},
		{index_of, repeated("[", "[],", 60000, "[]]"), "more than 100000 values"},
		{index_of, repeated("{\"a\":\"", "x", DOCUMENT_BYTES_MAX, "\"}"),
			"bytes; a description"},
		{manifest_of,
			repeated("{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[",
				DESCRIPTOR(LAYER_TYPE) ",", 500, DESCRIPTOR(LAYER_TYPE) "]}"),
			"F: layers has 501 items; an image can have 500"},
		{docker_of, repeated("[{\"Config\":\"c\",\"Layers\":[", "\"l\",", 500, "\"l\"]}]"),
			"F: [0].Layers has 501 items"},
		{config_of,
			repeated("{\"os\":\"linux\",\"architecture\":\"x\",\"rootfs\":{\"type\":"
				 "\"layers\"},\"config\":{\"Cmd\":[",
				"\"a\",", 512, "\"b\"]}}"),
			"F: config.Cmd has 513 items; the default command can have 512"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		err = (struct ramet_error){0};
		CHECK(cases[i].parse(cases[i].text) < 0);
		if (!strstr(err.message, cases[i].sentence))
			printf("# %zu: %s\n", i, err.message);
		CHECK(strstr(err.message, cases[i].sentence));
		free(cases[i].text);
	}
	/* Brackets in strings count for nothing. */
	char *text = repeated(
		"{\"schemaVersion\":2,\"manifests\":[],\"a\":\"", "[\\\"", 200, "\"}");
	CHECK_EQ(index_of(text), 0);
	free(text);
}

static void test_layouts(void)
{
	static const struct refusal cases[] = {
		{layout_of, "{}", "F: imageLayoutVersion is missing"},
		{layout_of, "{\"imageLayoutVersion\":\"2.0.0\"}", "'2.0.0', and only 1.x is known"},
		{index_of, "{\"schemaVersion\":1,\"manifests\":[]}",
			"schemaVersion is 1, and only 2"},
		{index_of, "{\"schemaVersion\":2}", "F: manifests is missing"},
		{index_of, "{\"schemaVersion\":2,\"manifests\":[],\"layers\":[]}",
			"an index and a manifest at once"},
		{index_of, "{\"schemaVersion\":2,\"manifests\":[1]}",
			"F: manifests[0] is a whole number"},
		{index_of, "{\"schemaVersion\":2,\"manifests\":[{}]}",
			"manifests[0].mediaType is missing"},
		{index_of,
			"{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"m\",\"digest\":"
			"\"sha256:../../../../etc/passwd\",\"size\":1}]}",
			"manifests[0].digest is 'sha256:../../../../etc/passwd' and must be sha256"},
		{index_of,
			"{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"m\",\"digest\":\"sha256:" HEX
			"\",\"size\":-1}]}",
			"manifests[0].size is -1"},
		{index_of,
			"{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"m\",\"digest\":\"sha256:" HEX
			"\",\"size\":1,\"platform\":{\"os\":\"linux\"}}]}",
			"manifests[0].platform.architecture is missing"},
		{manifest_of, "{\"schemaVersion\":2,\"config\":" CONFIG "}",
			"F: layers is missing"},
		{manifest_of,
			"{\"schemaVersion\":2,\"config\":" DESCRIPTOR(
				"application/vnd.x") ",\"layers\":[]}",
			"F is an artifact (application/vnd.x)"},
		{manifest_of, MANIFEST(DESCRIPTOR(LAYER_TYPE "+encrypted")),
			"F: layers[0] is encrypted"},
		{manifest_of,
			MANIFEST(DESCRIPTOR(LAYER_TYPE) "," DESCRIPTOR(
				"application/vnd.oci.image.layer.nondistributable.v1.tar")),
			"F: layers[1] is a layer that may not be distributed"},
		{manifest_of,
			MANIFEST(DESCRIPTOR(
				"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")),
			"may not be distributed"},
		{manifest_of, MANIFEST(DESCRIPTOR("text/plain")), "text/plain, which is no layer"},
	};
	check_refusals(cases, sizeof cases / sizeof *cases);
	CHECK_EQ(manifest_of(MANIFEST(DESCRIPTOR(LAYER_TYPE))), 0);
	CHECK_EQ(layout_of("{\"imageLayoutVersion\":\"1.0.0\"}"), 0);
}

static void test_configs(void)
{
	static const struct refusal cases[] = {
		{config_of, "{}", "F: os is missing"},
		{config_of, "{\"os\":\"linux\",\"architecture\":\"x\"}", "F: rootfs is missing"},
		{config_of,
			"{\"os\":\"linux\",\"architecture\":\"x\",\"rootfs\":{\"type\":\"layers\","
			"\"diff_ids\":[\"md5:1\"]}}",
			"F: rootfs.diff_ids[0] is 'md5:1'"},
		{config_of, IMAGE("{\"Cmd\":\"sh\"}"),
			"F: config.Cmd is a string and must be an array"},
		{config_of, IMAGE("{\"Cmd\":[1]}"), "F: config.Cmd[0] is a whole number"},
		{config_of, IMAGE("{\"Cmd\":[\"\"]}"), "without a name of a program"},
		{config_of, IMAGE("{\"Env\":[\"A\"]}"), "F: config.Env[0] is not NAME=VALUE"},
		{config_of, IMAGE("{\"Env\":[\"=A\"]}"), "F: config.Env[0] is not NAME=VALUE"},
		{config_of, IMAGE("{\"WorkingDir\":\"srv\"}"),
			"F: config.WorkingDir is 'srv' and must be"},
		{config_of, IMAGE("{\"User\":\"a b\"}"),
			"F: config.User is 'a b' and must be USER"},
		{config_of, IMAGE("{\"User\":\"a:b:c\"}"), "F: config.User is 'a:b:c'"},
	};
	check_refusals(cases, sizeof cases / sizeof *cases);
	static const char text[] = IMAGE(
		"{\"Entrypoint\":[\"/e\",\"x\"],\"Cmd\":[\"y z\"],\"Env\":["
		"\"A=b\"],\"WorkingDir\":\"/srv\",\"User\":\"app:27\"}");
	struct oci_config config;
	REQUIRE(oci_config_parse(&config, "F", text, strlen(text), &err) == 0);
	CHECK_EQ(config.diff_ids.count, 1);
	CHECK_STR(config.process, "{\"args\":[\"/e\",\"x\",\"y z\"],\"env\":[\"A=b\"],"
				  "\"cwd\":\"/srv\",\"user\":\"app:27\"}");
	oci_config_free(&config);
	static const char plain[] = IMAGE("{\"Cmd\":null,\"User\":\"\",\"WorkingDir\":\"\"}");
	REQUIRE(oci_config_parse(&config, "F", plain, strlen(plain), &err) == 0);
	CHECK(!config.process);
	oci_config_free(&config);
}

static void test_bundles(void)
{
	static const struct refusal cases[] = {
		{bundle_of, "{}", "F: ociVersion is missing"},
		{bundle_of, "{\"ociVersion\":\"2.0\"}", "'2.0', and only 1.x"},
		{bundle_of, "{\"ociVersion\":\"1.0.0\"}", "F: root is missing"},
		{bundle_of, "{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"\"}}",
			"F: root has an empty path"},
		{bundle_of, BUNDLE(",\"mounts\":[{}]"), "F: mounts[0].destination is missing"},
		{bundle_of, BUNDLE(",\"mounts\":[{\"destination\":\"/x\",\"type\":\"bind\"}]"),
			"F: mounts[0] is a bind mount without a source"},
		{bundle_of, BUNDLE(",\"mounts\":[{\"destination\":\"/x\",\"options\":[1]}]"),
			"F: mounts[0].options[0] is a whole number"},
		{bundle_of, BUNDLE(",\"process\":{\"user\":{\"uid\":4294967295}}"),
			"F: process.user.uid is 4294967295"},
		{bundle_of, BUNDLE(",\"process\":{\"user\":{\"additionalGids\":[-1]}}"),
			"F: process.user.additionalGids[0] is no number of a group"},
		{bundle_of, BUNDLE(",\"process\":{\"cwd\":\"x\"}"), "F: process.cwd is 'x'"},
	};
	check_refusals(cases, sizeof cases / sizeof *cases);
	static const char text[] = BUNDLE(
		",\"mounts\":[{\"destination\":\"/a\",\"type\":\"none\",\"source\":\"s\",\"options\":["
		"\"rbind\",\"ro\"]},{\"destination\":\"/b\",\"type\":\"bind\",\"source\":\"s\","
		"\"options\":[\"ro\",\"rw\"]},{\"destination\":\"/proc\",\"type\":\"proc\"}],"
		"\"process\":{\"args\":[\"sh\"],\"cwd\":\"/\",\"user\":{\"uid\":5,\"gid\":6,"
		"\"additionalGids\":[7,8]}}");
	struct bundle_config config;
	REQUIRE(bundle_config_parse(&config, "F", text, strlen(text), &err) == 0);
	CHECK_EQ(config.mounts.count, 3);
	CHECK(config.mounts.items[0].bind && config.mounts.items[0].read_only);
	CHECK(config.mounts.items[1].bind && !config.mounts.items[1].read_only);
	CHECK(!config.mounts.items[2].bind);
	CHECK_STR(config.process, "{\"args\":[\"sh\"],\"cwd\":\"/\",\"user\":\"5:6\","
				  "\"groups\":[\"7\",\"8\"]}");
	bundle_config_free(&config);
}

static void test_digests(void)
{
	struct digest digest;
	char word[DIGEST_TEXT_MAX];
	CHECK_EQ(digest_parse("sha256:" HEX, &digest), 0);
	CHECK_STR(digest_text(&digest, word), "sha256:" HEX);
	CHECK_EQ(digest_parse("sha512:" HEX HEX, &digest), 0);
	CHECK_STR(digest_text(&digest, word), "sha512:" HEX HEX);
	static const char *const bad[] = {"", ":", "sha256", "sha256:", "sha1:" HEX,
		"sha256:" HEX "0", "sha512:" HEX, "SHA256:" HEX, "sha256:" HEX HEX,
		"sha256:A123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
		"sha256:/123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		CHECK_EQ(digest_parse(bad[i], &digest), -EINVAL);
	struct digest_context context;
	digest_begin(&context, DIGEST_SHA256);
	digest_update(&context, "abc", 3);
	digest_end(&context, &digest);
	/* FIPS 180-2, appendix B.1. */
	CHECK_STR(digest_text(&digest, word),
		"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void test_platforms(void)
{
	struct platform_wish wish;
	REQUIRE(platform_wish_parse("linux/arm", &wish, &err) == 0);
	CHECK_EQ(platform_match(&wish, &(struct oci_platform){"linux", "arm", "v7"}), 3);
	CHECK_EQ(platform_match(&wish, &(struct oci_platform){"linux", "arm", "v6"}), 2);
	CHECK_EQ(platform_match(&wish, &(struct oci_platform){"linux", "arm", "v5"}), 1);
	CHECK_EQ(platform_match(&wish, &(struct oci_platform){"linux", "arm64", NULL}), 0);
	CHECK_EQ(platform_match(&wish, &(struct oci_platform){0}), 0);
	REQUIRE(platform_wish_parse("linux/amd64", &wish, &err) == 0);
	CHECK_EQ(platform_match(&wish, &(struct oci_platform){"linux", "amd64", NULL}), 3);
	CHECK_EQ(platform_match(&wish, &(struct oci_platform){"linux", "amd64", "v3"}), 0);
	REQUIRE(platform_wish_parse("linux/arm64/v8", &wish, &err) == 0);
	CHECK_EQ(platform_match(&wish, &(struct oci_platform){"linux", "arm64", ""}), 3);
	static const char *const bad[] = {"", "linux", "linux/", "/amd64", "linux/amd64/",
		"linux/a/b/c", "linux//v7", "linux/am d64", "Linux/amd64"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		CHECK_EQ(platform_wish_parse(bad[i], &wish, &err), -EINVAL);
}

TEST_MAIN({"what is no sound JSON is refused by name and line", test_json},
	{"bombs of depth, number and length are refused before they are parsed", test_bombs},
	{"indexes and manifests: each refusal names its field", test_layouts},
	{"configurations of images, and the command they name", test_configs},
	{"bundles: mounts and the process", test_bundles},
	{"digests are hexadecimal or nothing", test_digests},
	{"platforms are matched as the index means them", test_platforms})
