/* SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>

#include "base/text.h"
#include "changes/forms.h"
#include "tests/unit/memfs.h"
#include "tests/unit/tap.h"

static void check_list(
	struct memfs *old, struct memfs *new, const char *const *paths, const char *expected)
{
	struct ramet_error err = {0};
	struct ramet_diff_result result;
	_cleanup_free_ char *out = NULL;
	size_t length;
	CHECK_EQ(memfs_diff("list", old, new, paths, &out, &length, &result, &err), 0);
	CHECK_STR(err.message, "");
	CHECK_STR(out, expected);
}

static void test_each_kind(void)
{
	struct memfs old = MEMFS({"/gone"}, {"/grown", .content = "a"}, {"/kept", .content = "k"},
		{"/turned", .content = "t"});
	struct memfs new = MEMFS({"/grown", .content = "ab"}, {"/kept", .content = "k"}, {"/new"},
		{"/turned", S_IFLNK | 0777, "kept"});
	check_list(&old, &new, NULL, "D /gone\nM /grown\nA /new\nT /turned\n");
}

static void test_only_what_matters(void)
{
	struct memfs old = MEMFS({"/content", .content = "one"},
		{"/device", S_IFCHR | 0600, .major = 1}, {"/link", S_IFLNK | 0777, "one"},
		{"/mode"}, {"/owner"}, {"/time", .mtime = 1},
		{"/value", .xattr = "user.a", .value = "1"}, {"/xattr"});
	struct memfs new = MEMFS({"/content", .content = "two"},
		{"/device", S_IFCHR | 0600, .major = 2}, {"/link", S_IFLNK | 0755, "two"},
		{"/mode", S_IFREG | 0755}, {"/owner", .gid = 7}, {"/time", .mtime = 2},
		{"/value", .xattr = "user.a", .value = "2"},
		{"/xattr", .xattr = "security.capability", .value = "x"});
	check_list(&old, &new, NULL,
		"M /content\nM /device\nM /link\nM /mode\nM /owner\nM /value\nM /xattr\n");
}

static void test_order_is_that_of_bytes(void)
{
	struct memfs old = MEMFS({"/a", S_IFDIR | 0755});
	struct memfs new = MEMFS({"/a", S_IFDIR | 0700}, {"/a/z"}, {"/a-b"}, {"/a.c"}, {"/a0"},
		{"/\xc3\xa9"}, {"/Z"});
	check_list(&old, &new, NULL, "A /Z\nM /a\nA /a-b\nA /a.c\nA /a/z\nA /a0\nA /\xc3\xa9\n");
}

static void test_whole_directories(void)
{
	struct memfs old = MEMFS({"/d", S_IFDIR | 0755}, {"/d/e", S_IFDIR | 0755}, {"/d/e/f"},
		{"/t", S_IFDIR | 0755}, {"/t/x"});
	struct memfs new = MEMFS(
		{"/n", S_IFDIR | 0755}, {"/n/m", S_IFDIR | 0755}, {"/n/m/o"}, {"/t"});
	check_list(
		&old, &new, NULL, "D /d\nD /d/e\nD /d/e/f\nA /n\nA /n/m\nA /n/m/o\nT /t\nD /t/x\n");
	check_list(
		&new, &old, NULL, "A /d\nA /d/e\nA /d/e/f\nD /n\nD /n/m\nD /n/m/o\nT /t\nA /t/x\n");
}

static void test_limits(void)
{
	struct memfs old = MEMFS({"/etc", S_IFDIR | 0755});
	struct memfs new = MEMFS({"/etc", S_IFDIR | 0700}, {"/etc/a"}, {"/etc/ab"},
		{"/etc/b", S_IFDIR | 0755}, {"/etc/b/c"}, {"/x"});
	check_list(&old, &new, (const char *[]){"/etc/a", NULL}, "A /etc/a\n");
	check_list(&old, &new, (const char *[]){"//etc//b/", "/x", NULL},
		"A /etc/b\nA /etc/b/c\nA /x\n");
	check_list(&old, &new, (const char *[]){"/etc/b/c", NULL}, "A /etc/b/c\n");
	check_list(&old, &new, (const char *[]){"/nowhere", NULL}, "");
	check_list(&old, &new, (const char *[]){"/", NULL},
		"M /etc\nA /etc/a\nA /etc/ab\nA /etc/b\nA /etc/b/c\nA /x\n");
	struct ramet_error err = {0};
	struct changes_limits limits;
	CHECK_EQ(changes_limits_parse((const char *[]){"etc", NULL}, &limits, &err), -EINVAL);
	CHECK_EQ(changes_limits_parse((const char *[]){"/a/../b", NULL}, &limits, &err), -EINVAL);
	CHECK_EQ(changes_limits_parse((const char *[]){"/./b", NULL}, &limits, &err), -EINVAL);
}

static void test_proofs_are_taken(void)
{
	struct memfs old = MEMFS({"/d", S_IFDIR | 0755}, {"/d/x", .content = "a"},
		{"/f", .content = "a"}, {"/g", .content = "a"});
	struct memfs new = MEMFS({"/d", S_IFDIR | 0755, .same = true}, {"/d/x", .content = "b"},
		{"/f", .content = "b", .same = true}, {"/g", .content = "ab"});
	check_list(&old, &new, NULL, "M /g\n");
	CHECK_EQ(old.reads + new.reads, 0); /* another size: nothing is read */
}

static void test_odd_names(void)
{
	struct memfs old = MEMFS({"/z"});
	struct memfs new = MEMFS({"/a\nb"}, {"/back\\slash"}, {"/bell\a\x7f"}, {"/quote\""},
		{"/raw\xff"}, {"/space "}, {"/z"});
	check_list(&old, &new, NULL,
		"A \"/a\\nb\"\nA \"/back\\\\slash\"\nA \"/bell\\a\\177\"\nA \"/quote\\\"\"\n"
		"A /raw\xff\nA /space \n");
}

static void test_huge_holes_cost_nothing(void)
{
	struct memfs old = MEMFS({"/f", .content = "a", .hole = 1ULL << 60});
	struct memfs new = MEMFS({"/f", .content = "b", .hole = 1ULL << 60});
	check_list(&old, &new, NULL, "M /f\n");
	struct memfs equal = MEMFS({"/f", .content = "a", .hole = 1ULL << 60});
	check_list(&old, &equal, NULL, "");
}

static void test_a_hole_is_zeros(void)
{
	struct memfs old = MEMFS({"/f", .content = "\0\0\0a", .size = 4});
	struct memfs new = MEMFS({"/f", .content = "a", .hole = 3});
	check_list(&old, &new, NULL, "");
}

static void test_a_directory_twice_is_damage(void)
{
	struct memfs old = MEMFS({"/a", S_IFDIR | 0755});
	struct memfs new = MEMFS({"/a", S_IFDIR | 0755}, {"/b", S_IFDIR | 0755, .inode = 9},
		{"/b/c", S_IFDIR | 0755, .inode = 9});
	struct ramet_error err = {0};
	struct ramet_diff_result result;
	_cleanup_free_ char *out = NULL;
	size_t length;
	CHECK_EQ(memfs_diff("list", &old, &new, NULL, &out, &length, &result, &err), -EUCLEAN);
	CHECK_STR(err.message,
		"the fork: /b/c is a directory that stands in another place too (a loop)");
}

static void test_json_is_json(void)
{
	struct memfs old = MEMFS({"/gone", .content = "abc"}, {"/m"});
	struct memfs new = MEMFS(
		{"/l\n\xff", S_IFLNK | 0777, "\xfe"}, {"/m", S_IFREG | 04755, .uid = 70000});
	struct ramet_error err = {0};
	struct ramet_diff_result result;
	_cleanup_free_ char *out = NULL;
	size_t length;
	REQUIRE(memfs_diff("json", &old, &new, NULL, &out, &length, &result, &err) == 0);
	json_t *json = json_loadb(out, length, JSON_REJECT_DUPLICATES, NULL);
	REQUIRE(json != NULL);
	CHECK_STR(json_string_value(json_object_get(json, "fork")), "vm-1");
	json_t *changes = json_object_get(json, "changes");
	CHECK_EQ(json_array_size(changes), 3);
	json_t *link = json_array_get(changes, 1), *m = json_array_get(changes, 2);
	CHECK_STR(json_string_value(json_object_get(link, "path")), "/l\n\xef\xbf\xbd");
	CHECK_STR(json_string_value(json_object_get(link, "path_base64")), "L2wK/w==");
	CHECK_STR(json_string_value(json_object_get(link, "target_base64")), "/g==");
	CHECK_STR(json_string_value(json_object_get(m, "kind")), "M");
	CHECK_STR(json_string_value(json_object_get(m, "mode")), "4755");
	CHECK_EQ(json_integer_value(json_object_get(m, "uid")), 70000);
	CHECK_EQ(json_array_size(json_object_get(m, "what")), 2);
	json_t *summary = json_object_get(json, "summary");
	CHECK_EQ(json_integer_value(json_object_get(summary, "deleted")), 1);
	json_decref(json);
	_cleanup_free_ char *none = NULL;
	REQUIRE(memfs_diff("json", &old, &old, NULL, &none, &length, &result, &err) == 0);
	json = json_loadb(none, length, 0, NULL);
	CHECK_EQ(json_array_size(json_object_get(json, "changes")), 0);
	CHECK(json_is_array(json_object_get(json, "changes")));
	json_decref(json);
}

/* ------------------------------------------------------------------------------------------- */
/* Random trees, against a comparison of their sorted path lists.                               */

enum { RANDOM_MAX = 80 };

struct random_tree {
	struct memfile files[RANDOM_MAX];
	size_t count;
};

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct memfile *)a)->path, ((const struct memfile *)b)->path);
}

static void random_fill(struct random_tree *tree, const char *folder, int depth)
{
	static const char *const names[] = {"a", "a-", "a.b", "b", "b0", "~", "\xc3\xa9"};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (rand() % 2 || tree->count == RANDOM_MAX)
			continue;
		char *path;
		if (asprintf(&path, "%s/%s", folder, names[i]) < 0)
			abort();
		bool directory = depth < 3 && rand() % 3 == 0;
		tree->files[tree->count++] = (struct memfile){.path = path,
			.mode = directory ? S_IFDIR | 0755 : S_IFREG | 0644,
			.content = directory    ? NULL
				   : rand() % 2 ? "x"
						: "y",
			.uid = rand() % 4 == 0};
		if (directory)
			random_fill(tree, path, depth + 1);
	}
}

static void random_tree(struct random_tree *tree)
{
	*tree = (struct random_tree){.count = 1};
	tree->files[0] = (struct memfile){.path = "/", .mode = S_IFDIR | 0755};
	random_fill(tree, "", 0);
	qsort(tree->files + 1, tree->count - 1, sizeof *tree->files, by_path);
}

static void expect(struct text *out, const struct random_tree *a, const struct random_tree *b)
{
	for (size_t i = 1, j = 1; i < a->count || j < b->count;) {
		const struct memfile *x = &a->files[i], *y = &b->files[j];
		int order = i == a->count ? 1 : j == b->count ? -1 : strcmp(x->path, y->path);
		i += order <= 0;
		j += order >= 0;
		if (order < 0)
			text_format(out, "D %s\n", x->path);
		else if (order > 0)
			text_format(out, "A %s\n", y->path);
		else if (x->mode != y->mode)
			text_format(out, "T %s\n", x->path);
		else if (x->uid != y->uid || (x->content && strcmp(x->content, y->content) != 0))
			text_format(out, "M %s\n", x->path);
	}
}

static void test_random_trees(void)
{
	srand(tap_seed());
	for (int round = 0; round < 500 && !tap_failed; round++) {
		struct random_tree a, b;
		random_tree(&a);
		random_tree(&b);
		struct memfs old = {.fs = {&memfs_ops}, .files = a.files, .count = a.count};
		struct memfs new = {.fs = {&memfs_ops}, .files = b.files, .count = b.count};
		_cleanup_text_ struct text expected = {0};
		text_append(&expected, "");
		expect(&expected, &a, &b);
		check_list(&old, &new, NULL, expected.data);
		for (size_t i = 1; i < a.count; i++)
			free((char *)a.files[i].path);
		for (size_t i = 1; i < b.count; i++)
			free((char *)b.files[i].path);
	}
}

TEST_MAIN({"added, modified, deleted and retyped", test_each_kind},
	{"times are no change; content, mode, owner and attributes are", test_only_what_matters},
	{"the order is that of the paths' bytes", test_order_is_that_of_bytes},
	{"whole directories come and go with all that is in them", test_whole_directories},
	{"paths limit the answer, at whole names", test_limits},
	{"what a view can prove is not looked at", test_proofs_are_taken},
	{"names with control bytes are quoted, others are not", test_odd_names},
	{"holes of 2^60 bytes are not read", test_huge_holes_cost_nothing},
	{"a hole is what zeros are", test_a_hole_is_zeros},
	{"a directory in two places ends the walk", test_a_directory_twice_is_damage},
	{"JSON is valid whatever the names", test_json_is_json},
	{"random trees give what their sorted lists say", test_random_trees})
