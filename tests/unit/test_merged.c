/* SPDX-License-Identifier: Apache-2.0 */
/* Many layers seen as one tree. (tests/cli/chain.sh asks the kernel for the same.) */
#include "image/merged.h"

#include "base/text.h"
#include "image/overlay.h"
#include "tests/unit/memfs.h"
#include "tests/unit/tap.h"

#define DIR          S_IFDIR | 0755
#define WHITEOUT     S_IFCHR
#define OPAQUE       .xattr = "trusted.overlay.opaque", .value = "y"
#define REDIRECT(to) .xattr = "trusted.overlay.redirect", .value = to

static struct ramet_error err;

/* "/a/\n/a/x=text\n": what is below dir. */
static int write_tree(struct fs *fs, fs_ref dir, const char *path, struct text *out)
{
	_cleanup_entries_ struct fs_entries entries = {0};
	int r = fs->ops->list(fs, dir, &entries, &err);
	for (size_t i = 0; r == 0 && i < entries.count; i++) {
		const struct fs_entry *entry = &entries.items[i];
		struct fs_stat stat;
		char name[256], content[64] = "";
		size_t done = 0;
		snprintf(name, sizeof name, "%s/%s", path, entry->name);
		r = fs->ops->stat(fs, entry->ref, &stat, &err);
		if (r == 0 && S_ISREG(stat.mode))
			r = fs->ops->read(
				fs, entry->ref, 0, content, sizeof content - 1, &done, &err);
		if (r < 0)
			return r;
		CHECK(!entry->type || entry->type == (stat.mode & S_IFMT));
		text_format(out, S_ISDIR(stat.mode) ? "%s/\n" : "%s=%s\n", name, content);
		if (S_ISDIR(stat.mode))
			r = write_tree(fs, entry->ref, name, out);
	}
	return r;
}

static int merge(struct memfs *const *images, size_t count, struct fs **fs)
{
	struct merged_layer layers[RAMET_CHAIN_MAX];
	for (size_t i = 0; i < count; i++)
		layers[i] = (struct merged_layer){&images[i]->fs, "the layer"};
	return merged_open(layers, count, fs, &err);
}

static void check_tree(struct memfs *const *images, size_t count, const char *expected)
{
	_cleanup_fs_ struct fs *fs = NULL;
	_cleanup_text_ struct text tree = {0};
	fs_ref root;
	REQUIRE(merge(images, count, &fs) == 0);
	text_append(&tree, "");
	CHECK_EQ(fs->ops->root(fs, &root, &err), 0);
	CHECK_EQ(write_tree(fs, root, "", &tree), 0);
	CHECK_STR(tree.data, expected);
	/* The same once more, now that everything was met before. */
	text_truncate(&tree, 0);
	CHECK_EQ(write_tree(fs, root, "", &tree), 0);
	CHECK_STR(tree.data, expected);
}

static void check_refused(struct memfs *const *images, size_t count, int code, const char *word)
{
	_cleanup_fs_ struct fs *fs = NULL;
	_cleanup_text_ struct text tree = {0};
	fs_ref root;
	REQUIRE(merge(images, count, &fs) == 0);
	CHECK_EQ(fs->ops->root(fs, &root, &err), 0);
	CHECK_EQ(write_tree(fs, root, "", &tree), code);
	CHECK(strstr(err.message, word));
}
#define TREE(expected, ...) \
	check_tree((struct memfs *const[]){__VA_ARGS__}, \
		sizeof((struct memfs *const[]){__VA_ARGS__}) / sizeof(struct memfs *), expected)
#define REFUSED(code, word, ...) \
	check_refused((struct memfs *const[]){__VA_ARGS__}, \
		sizeof((struct memfs *const[]){__VA_ARGS__}) / sizeof(struct memfs *), code, word)

static struct memfs base = MEMFS({"/a", DIR}, {"/a/deep", DIR}, {"/a/deep/f", .content = "base"},
	{"/a/x", .content = "base"}, {"/a/y", .content = "base"}, {"/b", DIR},
	{"/b/z", .content = "base"}, {"/file", .content = "base"});

static void test_names_of_all_layers(void)
{
	struct memfs one = MEMFS({"/a", DIR}, {"/a/deep", DIR}, {"/a/deep/g", .content = "1"},
		{"/a/x", .content = "1"});
	struct memfs two = MEMFS(
		{"/a", DIR}, {"/a/w", .content = "2"}, {"/new", DIR}, {"/new/n", .content = "2"});
	TREE("/a/\n/a/deep/\n/a/deep/f=base\n/a/deep/g=1\n/a/w=2\n/a/x=1\n/a/y=base\n/b/\n"
	     "/b/z=base\n/file=base\n/new/\n/new/n=2\n",
		&base, &one, &two);
	TREE("/a/\n/a/deep/\n/a/deep/f=base\n/a/x=base\n/a/y=base\n/b/\n/b/z=base\n/file=base\n",
		&base);
}

static void test_whiteouts(void)
{
	struct memfs one = MEMFS({"/a", DIR}, {"/a/x", WHITEOUT}, {"/b", WHITEOUT});
	struct memfs back = MEMFS(
		{"/a", DIR}, {"/a/x", .content = "2"}, {"/b", DIR}, {"/b/n", .content = "2"});
	TREE("/a/\n/a/deep/\n/a/deep/f=base\n/a/y=base\n/file=base\n", &base, &one);
	/* A directory that comes back has nothing of the one that was removed. */
	TREE("/a/\n/a/deep/\n/a/deep/f=base\n/a/x=2\n/a/y=base\n/b/\n/b/n=2\n/file=base\n", &base,
		&one, &back);
	/* Of what is not there. */
	struct memfs none = MEMFS({"/nothing", WHITEOUT}, {"/b", DIR}, {"/b/none", WHITEOUT},
		{"/only", DIR}, {"/only/none", WHITEOUT});
	TREE("/a/\n/a/deep/\n/a/deep/f=base\n/a/x=base\n/a/y=base\n/b/\n/b/z=base\n/file=base\n"
	     "/only/\n",
		&base, &none);
}

static void test_opaque_directories(void)
{
	struct memfs one = MEMFS({"/a", DIR, OPAQUE}, {"/a/n", .content = "1"});
	struct memfs two = MEMFS({"/a", DIR}, {"/a/m", .content = "2"});
	TREE("/a/\n/a/m=2\n/a/n=1\n/b/\n/b/z=base\n/file=base\n", &base, &one, &two);
	/* Roots are merged whatever they say. */
	struct memfs root = {.fs = {&memfs_ops},
		.files = (const struct memfile[]){{"/", DIR, OPAQUE}, {"/r", .content = "1"}},
		.count = 2};
	TREE("/a/\n/a/deep/\n/a/deep/f=base\n/a/x=base\n/a/y=base\n/b/\n/b/z=base\n/file=base\n/r=1\n",
		&base, &root);
}

static void test_types_change(void)
{
	struct memfs one = MEMFS(
		{"/a", .content = "1"}, {"/file", DIR}, {"/file/n", .content = "1"});
	struct memfs two = MEMFS(
		{"/a", DIR}, {"/a/n", .content = "2"}, {"/file", DIR}, {"/file/m", .content = "2"});
	TREE("/a=1\n/b/\n/b/z=base\n/file/\n/file/n=1\n", &base, &one);
	/* A file in between parts two directories. */
	TREE("/a/\n/a/n=2\n/b/\n/b/z=base\n/file/\n/file/m=2\n/file/n=1\n", &base, &one, &two);
}

static void test_redirects(void)
{
	struct memfs moved = MEMFS(
		{"/a", WHITEOUT}, {"/c", DIR, REDIRECT("/a")}, {"/c/n", .content = "1"});
	struct memfs again = MEMFS(
		{"/c", WHITEOUT}, {"/d", DIR}, {"/d/e", DIR, REDIRECT("/c/deep")});
	struct memfs near = MEMFS({"/b", WHITEOUT}, {"/bb", DIR, REDIRECT("b")});
	TREE("/b/\n/b/z=base\n/c/\n/c/deep/\n/c/deep/f=base\n/c/n=1\n/c/x=base\n/c/y=base\n"
	     "/file=base\n",
		&base, &moved);
	/* A path that leads through another redirect, and a whiteout for what is left of it. */
	TREE("/b/\n/b/z=base\n/d/\n/d/e/\n/d/e/f=base\n/file=base\n", &base, &moved, &again);
	TREE("/bb/\n/bb/z=base\n/d/\n/d/e/\n/d/e/f=base\n/file=base\n", &base, &moved, &again,
		&near);
	/* To what is not there: a directory alone. */
	struct memfs nowhere = MEMFS(
		{"/c", DIR, REDIRECT("/none/there")}, {"/c/n", .content = "1"});
	TREE("/a/\n/a/deep/\n/a/deep/f=base\n/a/x=base\n/a/y=base\n/b/\n/b/z=base\n/c/\n/c/n=1\n"
	     "/file=base\n",
		&base, &nowhere);
	struct memfs bad = MEMFS({"/c", DIR, REDIRECT("a/b")});
	REFUSED(-EUCLEAN, "no path", &base, &bad);
	/* Two that want one directory: it would be in two places. */
	struct memfs twice = MEMFS({"/c", DIR, REDIRECT("/a")}, {"/d", DIR, REDIRECT("/a")});
	REFUSED(-EUCLEAN, "another", &base, &twice);
}

/* Each layer's directories lead through two directories of the one below, which do so too, and to
 * nothing: found anew each time it would take 2^60 steps. */
static void test_redirects_are_followed_once(void)
{
	enum { LAYERS = 60 };
	static struct memfile files[LAYERS][4];
	static struct memfs layers[LAYERS];
	struct memfs *images[LAYERS];
	for (size_t i = 0; i < LAYERS; i++) {
		files[i][0] = (struct memfile){"/", DIR};
		files[i][1] = (struct memfile){"/p", DIR, REDIRECT("/p/q/none")};
		files[i][2] = (struct memfile){"/p/q", DIR, REDIRECT("/p/q/none")};
		layers[i] = (struct memfs){.fs = {&memfs_ops}, .files = files[i], .count = 3};
		images[i] = &layers[i];
	}
	_cleanup_fs_ struct fs *fs = NULL;
	_cleanup_text_ struct text tree = {0};
	fs_ref root;
	REQUIRE(merge(images, LAYERS, &fs) == 0);
	CHECK_EQ(fs->ops->root(fs, &root, &err), 0);
	CHECK_EQ(write_tree(fs, root, "", &tree), 0);
	CHECK_STR(tree.data, "/p/\n/p/q/\n");
}

static void test_what_guests_refuse(void)
{
	struct memfs metacopy = MEMFS(
		{"/a", DIR}, {"/a/x", .xattr = "trusted.overlay.metacopy", .value = ""});
	REFUSED(-EOPNOTSUPP, "metacopy", &base, &metacopy);
	struct memfs by_attribute = MEMFS(
		{"/a", DIR, .xattr = "trusted.overlay.opaque", .value = "x"});
	REFUSED(-EOPNOTSUPP, "by attribute", &base, &by_attribute);
}

static void test_attributes(void)
{
	struct memfs one = MEMFS({"/a", DIR, OPAQUE},
		{"/b", DIR, .xattr = "trusted.overlay.overlay.opaque", .value = "y"},
		{"/u", .xattr = "user.x", .value = "1"});
	struct memfs *images[] = {&base, &one};
	_cleanup_fs_ struct fs *fs = NULL, *over = NULL;
	REQUIRE(merge(images, 2, &fs) == 0);
	struct memfs upper = MEMFS({"/n"});
	CHECK_EQ(overlay_open(fs, &upper.fs, 0, &over, &err), 0);
	static const struct {
		const char *path, *name;
	} cases[] = {{"/a", NULL}, {"/b", "trusted.overlay.opaque"}, {"/u", "user.x"}};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		/* A view on top takes nothing more away. */
		struct fs *views[] = {fs, over};
		for (size_t v = 0; v < 2; v++) {
			_cleanup_xattrs_ struct fs_xattrs xattrs = {0};
			fs_ref ref;
			CHECK_EQ(fs_lookup(views[v], cases[i].path, &ref, &err), 0);
			CHECK_EQ(views[v]->ops->xattrs(views[v], ref, &xattrs, &err), 0);
			CHECK_EQ(xattrs.count, cases[i].name ? 1 : 0);
			if (xattrs.count)
				CHECK_STR(xattrs.items[0].name, cases[i].name);
		}
	}
}

/* What the volume did not touch is proved to be the same, merged directories too. */
static void test_a_view_on_top_knows_what_is_the_same(void)
{
	struct memfs one = MEMFS({"/a", DIR}, {"/a/n", .content = "1"}, {"/alone", DIR});
	struct memfs upper = MEMFS({"/b", DIR}, {"/b/n", .content = "up"});
	struct memfs *images[] = {&base, &one};
	_cleanup_fs_ struct fs *fs = NULL, *over = NULL;
	REQUIRE(merge(images, 2, &fs) == 0);
	CHECK_EQ(overlay_open(fs, &upper.fs, 0, &over, &err), 0);
	static const struct {
		const char *path;
		bool same;
	} cases[] = {{"/a", true}, {"/a/n", true}, {"/a/deep", true}, {"/alone", true},
		{"/file", true}, {"/b", false}, {"/b/z", true}};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		fs_ref ref, other;
		CHECK_EQ(fs_lookup(over, cases[i].path, &ref, &err), 0);
		CHECK_EQ(fs_lookup(fs, cases[i].path, &other, &err), 0);
		CHECK_EQ(over->ops->same(over, ref, fs, other), cases[i].same);
	}
	CHECK(base.reads == 0 || one.reads == 0);
}

static void test_the_longest_chain(void)
{
	static struct memfile files[RAMET_CHAIN_MAX][4];
	static char names[RAMET_CHAIN_MAX][16], content[RAMET_CHAIN_MAX][8];
	static struct memfs layers[RAMET_CHAIN_MAX];
	struct memfs *images[RAMET_CHAIN_MAX];
	for (size_t i = 0; i < RAMET_CHAIN_MAX; i++) {
		snprintf(names[i], sizeof names[i], "/d/%03zu", i);
		snprintf(content[i], sizeof content[i], "%zu", i);
		files[i][0] = (struct memfile){"/", DIR};
		files[i][1] = (struct memfile){"/d", DIR};
		files[i][2] = (struct memfile){names[i], .content = content[i]};
		files[i][3] = (struct memfile){"/d/top", .content = content[i]};
		layers[i] = (struct memfs){.fs = {&memfs_ops}, .files = files[i], .count = 4};
		images[i] = &layers[i];
	}
	_cleanup_text_ struct text expected = {0};
	text_append(&expected, "/d/\n");
	for (size_t i = 0; i < RAMET_CHAIN_MAX; i++)
		text_format(&expected, "%s=%zu\n", names[i], i);
	text_append(&expected, "/d/top=127\n");
	check_tree(images, RAMET_CHAIN_MAX, expected.data);
	struct fs *fs = NULL;
	CHECK_EQ(merged_open(NULL, RAMET_CHAIN_MAX + 1, &fs, &err), -EINVAL);
}

TEST_MAIN({"every layer's names are there, the topmost counts", test_names_of_all_layers},
	{"whiteouts hide what is below", test_whiteouts},
	{"opaque directories take nothing in", test_opaque_directories},
	{"a thing of another type parts what is above from what is below", test_types_change},
	{"redirects lead to their directory", test_redirects},
	{"a redirect is followed once", test_redirects_are_followed_once},
	{"what a guest's kernel refuses is refused", test_what_guests_refuse},
	{"overlayfs's own attributes are hidden, once", test_attributes},
	{"what a view on top did not touch is the same", test_a_view_on_top_knows_what_is_the_same},
	{"the longest chain is one tree", test_the_longest_chain})
