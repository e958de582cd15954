/* SPDX-License-Identifier: Apache-2.0 */
/* Patches are given to git itself: what they yield on the old tree must be the new one. */
#include <fcntl.h>

#include "base/fd.h"
#include "base/text.h"
#include "changes/forms.h"
#include "tests/unit/memfs.h"
#include "tests/unit/tap.h"

enum { TREE_MAX = 64, FOLDER = S_IFDIR | 0755, LINK = S_IFLNK | 0777 };

static char scratch[64];

/* In the scratch folder; what a failure said is shown. */
static bool run(const char *command)
{
	_cleanup_text_ struct text line = {0};
	text_format(&line,
		"cd %s && { { %s; } >out 2>&1 || { tail -n 20 out | sed 's/^/# /'; false; } }",
		scratch, command);
	return system(line.data) == 0;
}

/* Write the tree into the folder `name` of the scratch folder. */
static void materialize(const struct memfs *tree, const char *name)
{
	for (size_t i = 0; i < tree->count; i++) {
		const struct memfile *f = &tree->files[i];
		_cleanup_text_ struct text path = {0};
		text_format(&path, "%s/%s%s", scratch, name, f->path);
		if (S_ISDIR(f->mode)) {
			CHECK(mkdir(path.data, 0755) == 0);
		} else if (S_ISLNK(f->mode)) {
			CHECK(symlink(f->content, path.data) == 0);
		} else {
			int fd = open(path.data, O_CREAT | O_EXCL | O_WRONLY,
				f->mode ? f->mode & 0777 : 0644);
			size_t length = f->size ? f->size : f->content ? strlen(f->content) : 0;
			CHECK(fd >= 0 && write_full(fd, f->content ? f->content : "", length) == 0);
			close(fd);
		}
	}
}

static uint64_t make_patch(struct memfs *old, struct memfs *new, const char *const *paths)
{
	struct ramet_error err = {0};
	struct ramet_diff_result result;
	_cleanup_free_ char *out = NULL;
	_cleanup_text_ struct text path = {0};
	size_t length = 0;
	CHECK_EQ(memfs_diff("patch", old, new, paths, &out, &length, &result, &err), 0);
	CHECK_STR(err.message, "");
	text_format(&path, "%s/patch", scratch);
	int fd = open(path.data, O_CREAT | O_TRUNC | O_WRONLY, 0644);
	CHECK_EQ(write_full(fd, out, length), 0);
	close(fd);
	return result.omitted;
}

/* The patch of old and new makes a copy of old, as files, into new. */
static bool patch_yields(struct memfs *old, struct memfs *new, uint64_t omitted)
{
	CHECK(run("rm -rf old new"));
	materialize(old, "old");
	materialize(new, "new");
	CHECK_EQ(make_patch(old, new, NULL), omitted);
	return run("[ ! -s patch ] || (cd old && git apply --whitespace=nowarn ../patch)") &&
	       run("for t in old new; do (cd $t && find . ! -type d -printf '%p %y %m %l\\n' | "
		   "sort) > $t.list; done; diff old.list new.list && "
		   "diff -r --no-dereference old new");
}

static bool prepare(void)
{
	strcpy(scratch, "/tmp/ramet-patch.XXXXXX");
	return system("command -v git >/dev/null") == 0 && mkdtemp(scratch);
}

static void clean(void)
{
	_cleanup_text_ struct text line = {0};
	text_format(&line, "rm -rf %s", scratch);
	CHECK(system(line.data) == 0);
}

#define PREPARE() \
	umask(022); \
	if (!prepare()) \
	SKIP("git is missing")

static void test_text(void)
{
	PREPARE();
	struct memfs old = MEMFS({"/edited", .content = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n"},
		{"/empty"}, {"/filled"}, {"/gone", .content = "x\n"}, {"/gone-empty"},
		{"/no newline", .content = "a\nb"}, {"/tab\there", .content = "1\n"},
		{"/was full", .content = "x\n"}, {"/\xc3\xa9\xff", .content = "1\n"});
	struct memfs new = MEMFS({"/edited", .content = "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n12"},
		{"/d", FOLDER}, {"/d/new", .content = "n\n"}, {"/d/new-empty"}, {"/empty"},
		{"/filled", .content = "f"}, {"/no newline", .content = "a\nb\n"},
		{"/tab\there", .content = "2\n"}, {"/was full"},
		{"/\xc3\xa9\xff", .content = "2\r\n"});
	CHECK(patch_yields(&old, &new, 0));
	CHECK(patch_yields(&new, &old, 0));
	clean();
}

static void test_modes_and_types(void)
{
	PREPARE();
	struct memfs old = MEMFS({"/dir-file", FOLDER}, {"/dir-file/x", .content = "x\n"},
		{"/dir-link", FOLDER}, {"/dir-link/x", .content = "x\n"},
		{"/file-link", .content = "f\n"}, {"/run", .content = "r\n"},
		{"/run too", .content = "r\n"}, {"/to", LINK, "one"});
	struct memfs new = MEMFS({"/dir-file", .content = "f\n"}, {"/dir-link", LINK, "run"},
		{"/file-link", LINK, "run"}, {"/run", S_IFREG | 0755, "r\n"},
		{"/run too", S_IFREG | 0755, "s\n"}, {"/to", LINK, "two\nlines"});
	CHECK(patch_yields(&old, &new, 0));
	CHECK(patch_yields(&new, &old, 0));
	clean();
}

static void test_binary_files(void)
{
	PREPARE();
	srand(tap_seed());
	enum { SIZE = 300001 };
	_cleanup_free_ char *noise = malloc(SIZE), *other = malloc(SIZE);
	for (size_t i = 0; i < SIZE; i++) {
		noise[i] = (char)rand();
		other[i] = (char)(i % 251);
	}
	noise[0] = '\0';
	struct memfs old = MEMFS({"/gone", .content = noise, .size = 999},
		{"/m", .content = noise, .size = SIZE}, {"/text", .content = "t\n"},
		{"/x", .content = "\0", .size = 1});
	struct memfs new = MEMFS({"/m", .content = other, .size = SIZE},
		{"/n", .content = noise, .size = SIZE}, {"/text", .content = "t\0", .size = 2},
		{"/x", S_IFREG | 0755, "\0\0", 2});
	CHECK(patch_yields(&old, &new, 0));
	CHECK(patch_yields(&new, &old, 0));
	clean();
}

/* The lines of a binary hunk are as long as the deflated bytes make them: all lengths. */
static void test_binary_files_of_all_lengths(void)
{
	PREPARE();
	srand(tap_seed());
	enum { COUNT = 70 };
	struct memfile files[COUNT + 1] = {{"/", FOLDER}};
	char paths[COUNT][8], noise[COUNT + 1];
	for (size_t i = 0; i < sizeof noise; i++)
		noise[i] = i ? (char)rand() : '\0';
	for (size_t i = 1; i <= COUNT; i++) {
		snprintf(paths[i - 1], sizeof paths[0], "/%zu", i);
		files[i] = (struct memfile){.path = paths[i - 1], .content = noise, .size = i};
	}
	struct memfs old = MEMFS({"/z"});
	struct memfs new = {.fs = {&memfs_ops}, .files = files, .count = COUNT + 1};
	CHECK(patch_yields(&old, &new, 0));
	clean();
}

static void test_relative_to_one_folder(void)
{
	PREPARE();
	struct memfs old = MEMFS({"/etc", FOLDER}, {"/etc/x", .content = "1\n"}, {"/w", FOLDER},
		{"/w/a", .content = "1\n"});
	struct memfs new = MEMFS({"/etc", FOLDER}, {"/etc/x", .content = "2\n"}, {"/w", FOLDER},
		{"/w/a", .content = "2\n"}, {"/w/b", FOLDER}, {"/w/b/c", .content = "3\n"});
	materialize(&old, "old");
	CHECK_EQ(make_patch(&old, &new, (const char *[]){"/w", NULL}), 0);
	CHECK(run(
		"cd old/w && git apply ../../patch && [ \"$(cat a b/c)\" = \"$(printf '2\\n3')\" ]"));
	CHECK_EQ(make_patch(&old, &new, (const char *[]){"/etc/x", NULL}), 0);
	CHECK(run("cd old/etc && git apply ../../patch && [ $(cat x) = 2 ]"));
	clean();
}

static void test_what_a_patch_cannot_say(void)
{
	PREPARE();
	struct memfs old = MEMFS({"/.git", FOLDER}, {"/.git/config", .content = "1\n"}, {"/both"},
		{"/dir", FOLDER}, {"/owner"}, {"/private"}, {"/was", FOLDER}, {"/was/full"});
	struct memfs new = MEMFS({"/.GIT ", .content = "x"}, {"/.git", FOLDER},
		{"/.git/config", .content = "2\n"}, {"/.gitmodules", LINK, "x"},
		{"/both", .content = "b\n", .uid = 1}, {"/dir", S_IFDIR | 0700}, {"/empty", FOLDER},
		{"/fifo", S_IFIFO | 0644}, {"/owner", .uid = 1}, {"/private", S_IFREG | 0600},
		{"/setuid", S_IFREG | 04755, "x"}, {"/was", FOLDER});
	CHECK_EQ(make_patch(&old, &new, NULL), 11);
	CHECK(run(
		"[ \"$(grep ^diff patch)\" = 'diff --git a/both b/both\ndiff --git a/setuid b/setuid\n"
		"diff --git a/was/full b/was/full' ]"));
	clean();
}

/* ------------------------------------------------------------------------------------------- */

struct tree {
	struct memfile files[TREE_MAX];
	size_t count;
};

static char *random_content(void)
{
	_cleanup_text_ struct text text = {0};
	text_append(&text, "");
	for (int lines = rand() % 60; lines > 0; lines--)
		text_format(&text, "line %d\n", rand() % 12);
	if (rand() % 4 == 0)
		text_append(&text, "no end");
	return TAKE_PTR(text.data);
}

static char *edited_content(const char *content)
{
	_cleanup_text_ struct text text = {0};
	text_append(&text, "");
	for (const char *p = content; *p;) {
		size_t length = strcspn(p, "\n");
		length += p[length] == '\n';
		if (rand() % 8)
			text_append_bytes(&text, p, length);
		if (rand() % 10 == 0)
			text_format(&text, "new %d\n", rand() % 5);
		p += length;
	}
	return TAKE_PTR(text.data);
}

/* content is the tree's from here on. */
static void add(struct tree *tree, const char *path, uint32_t mode, char *content)
{
	tree->files[tree->count++] = (struct memfile){
		.path = strdup(path), .mode = mode, .content = content};
}

static void tree_free(struct tree *tree)
{
	for (size_t i = 0; i < tree->count; i++) {
		free((char *)tree->files[i].path);
		free((char *)tree->files[i].content);
	}
}

static void random_trees(struct tree *a, struct tree *b)
{
	static const char *const names[] = {
		"a", "a b", "b.c", "b\"q", "c\\d", "e\nf", "\xc3\xa9", "zz"};
	a->count = b->count = 0;
	add(a, "/", FOLDER, NULL);
	add(b, "/", FOLDER, NULL);
	for (size_t i = 0; i < 2 * ARRAY_SIZE(names); i++) {
		char path[32];
		uint32_t mode = rand() % 4 ? S_IFREG | 0644 : S_IFREG | 0755;
		bool below = i >= ARRAY_SIZE(names);
		if (i == ARRAY_SIZE(names)) {
			add(a, "/d", FOLDER, NULL);
			add(b, "/d", FOLDER, NULL);
		}
		snprintf(path, sizeof path, "/%s%s", below ? "d/" : "",
			names[i % ARRAY_SIZE(names)]);
		_cleanup_free_ char *content = random_content();
		int fate = rand() % 6;
		if (fate != 0 || i % ARRAY_SIZE(names) == 0)
			add(a, path, mode, strdup(content));
		if (fate == 1 && i % ARRAY_SIZE(names))
			continue;
		if (fate == 2)
			add(b, path, LINK, strdup("target"));
		else
			add(b, path, rand() % 5 ? mode : S_IFREG | 0755,
				fate == 3 ? strdup(content) : edited_content(content));
	}
}

static void test_random_edits(void)
{
	PREPARE();
	srand(tap_seed());
	for (int round = 0; round < 40 && !tap_failed; round++) {
		struct tree a, b;
		random_trees(&a, &b);
		struct memfs old = {.fs = {&memfs_ops}, .files = a.files, .count = a.count};
		struct memfs new = {.fs = {&memfs_ops}, .files = b.files, .count = b.count};
		CHECK(patch_yields(&old, &new, 0));
		tree_free(&a);
		tree_free(&b);
	}
	clean();
}

TEST_MAIN({"text is edited, created, deleted", test_text},
	{"modes and types change", test_modes_and_types},
	{"binary files are whole", test_binary_files},
	{"binary files of all lengths are whole", test_binary_files_of_all_lengths},
	{"one path makes the patch relative to it", test_relative_to_one_folder},
	{"what git does not know or refuses is counted", test_what_a_patch_cannot_say},
	{"random edits are what git makes of the patch", test_random_edits})
