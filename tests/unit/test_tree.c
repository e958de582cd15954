/* SPDX-License-Identifier: Apache-2.0 */
/* The tree of a source: order, hard links, grafts, and files that change under the reader. */
#include "source/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "source/content.h"
#include "tests/unit/top.h"

static void write_file(const char *path, const char *content)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	CHECK(fd >= 0 && write_full(fd, content, strlen(content)) == 0);
}

/* All paths in order, one a line. */
static char *paths(struct tree *tree)
{
	struct text all = {0};
	for (struct tree_node *node = tree->root; node; node = tree_next(node)) {
		tree_path(node, &all);
		text_append(&all, "\n");
	}
	return all.data;
}

static void test_order(void)
{
	enter();
	write_file("top/b", "");
	write_file("top/a-", "");
	write_file("top/\xff", "");
	CHECK_EQ(mkdir("top/a", 0755), 0);
	write_file("top/a/z", "");
	struct ramet_error err = {0};
	_cleanup_tree_ struct tree *tree = walk(&err);
	_cleanup_free_ char *all = paths(tree);
	CHECK_STR(all, "/\n/a\n/a/z\n/a-\n/b\n/\xff\n");
	struct text after = {0};
	for (struct tree_node *n = tree_first_leaf(tree->root); n; n = tree_next_after(n))
		text_append(&after, *n->name ? n->name : "/");
	CHECK_STR(after.data, "zaa-b\xff/");
	text_free(&after);
	leave();
}

static void test_links(void)
{
	enter();
	write_file("top/m", "twelve bytes");
	CHECK_EQ(link("top/m", "top/a"), 0);
	CHECK_EQ(link("top/m", "top/z"), 0);
	CHECK_EQ(link("top/m", "other/outside"), 0);
	struct ramet_error err = {0};
	_cleanup_tree_ struct tree *tree = walk(&err);
	CHECK_EQ(tree_finish(tree, &err), 0);
	struct tree_node *first = tree_find(tree->root, "a");
	CHECK(first && !tree_link(first));
	CHECK_EQ(first->nlink, 3);
	CHECK(tree_link(tree_find(tree->root, "m")) == first);
	CHECK(tree_link(tree_find(tree->root, "z")) == first);
	CHECK_EQ(tree->content_bytes, 12);
	CHECK_EQ(tree->entries, 4);
	CHECK_EQ(tree->inodes, 2);
	leave();
}

static void test_grafted_links(void)
{
	enter();
	write_file("other/one", "x");
	CHECK_EQ(link("other/one", "other/two"), 0);
	struct ramet_error err = {0};
	_cleanup_tree_ struct tree *tree = walk(&err);
	CHECK_EQ(tree_graft(tree, "other", "/x", &quiet, NULL, &err), 0);
	CHECK_EQ(tree_graft(tree, "other", "/y", &quiet, NULL, &err), 0);
	CHECK_EQ(tree_finish(tree, &err), 0);
	struct tree_node *x = tree_find(tree->root, "x"), *y = tree_find(tree->root, "y");
	CHECK_EQ(tree_find(x, "one")->nlink, 2);
	CHECK(tree_link(tree_find(y, "one")) == NULL);
	CHECK(tree_link(tree_find(y, "two")) == tree_find(y, "one"));
	leave();
}

static void test_graft(void)
{
	enter();
	CHECK_EQ(mkdir("top/old", 0755), 0);
	write_file("top/old/file", "");
	write_file("other/new", "");
	struct ramet_error err = {0};
	_cleanup_tree_ struct tree *tree = walk(&err);
	_cleanup_free_ char *resolved = NULL;
	CHECK_EQ(tree_graft(tree, "other", "/old", &quiet, &resolved, &err), 0);
	CHECK_STR(resolved, "/old");
	CHECK_EQ(tree_graft(tree, "other/new", "/made/by/graft", &quiet, NULL, &err), 0);
	_cleanup_free_ char *all = paths(tree);
	CHECK_STR(all, "/\n/made\n/made/by\n/made/by/graft\n/old\n/old/new\n");
	struct tree_node *made = tree_find(tree->root, "made");
	CHECK_EQ(made->mode, S_IFDIR | 0755);
	CHECK_EQ(made->mtime, tree->root->mtime);
	leave();
}

static void test_graft_symlinks(void)
{
	enter();
	CHECK_EQ(mkdir("top/usr", 0755), 0);
	CHECK_EQ(mkdir("top/usr/lib", 0755), 0);
	CHECK_EQ(symlink("usr/lib", "top/lib"), 0);
	CHECK_EQ(symlink("/lib", "top/usr/absolute"), 0);
	CHECK_EQ(symlink("../../../../lib", "top/usr/up"), 0);
	CHECK_EQ(symlink("loop", "top/loop"), 0);
	struct ramet_error err = {0};
	_cleanup_tree_ struct tree *tree = walk(&err);
	const char *targets[] = {"/lib/x", "/usr/absolute/x", "/usr/up/x", "//lib/./x/"};
	for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
		_cleanup_free_ char *resolved = NULL;
		CHECK_EQ(tree_graft(tree, "other", targets[i], &quiet, &resolved, &err), 0);
		CHECK_STR(resolved, "/usr/lib/x");
	}
	_cleanup_free_ char *whole = NULL;
	CHECK_EQ(tree_graft(tree, "other", "/usr/up", &quiet, &whole, &err), 0);
	CHECK_STR(whole, "/usr/lib");
	CHECK_EQ(tree_graft(tree, "other", "/loop/x", &quiet, NULL, &err), -ELOOP);
	CHECK_EQ(tree_graft(tree, "other", "/", &quiet, NULL, &err), -EINVAL);
	CHECK_EQ(tree_graft(tree, "other", "x", &quiet, NULL, &err), -EINVAL);
	CHECK_EQ(tree_graft(tree, "other", "/a/../b", &quiet, NULL, &err), -EINVAL);
	leave();
}

static int open_and_read(struct tree *tree, const char *name, struct ramet_error *err)
{
	_cleanup_content_ struct content content;
	struct tree_node *node = tree_find(tree->root, name);
	char buffer[64];
	int r = content_open(&content, tree, node, err);
	if (r == 0)
		r = content_read(&content, 0, buffer, node->size, err);
	return r < 0 ? r : content_verify(&content, err);
}

static void test_stale(void)
{
	enter();
	static const char *const names[] = {"gone", "fifo", "link", "long", "same", "short"};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char path[32];
		snprintf(path, sizeof path, "top/%s", names[i]);
		write_file(path, "content");
	}
	struct ramet_error err = {0};
	_cleanup_tree_ struct tree *tree = walk(&err);
	CHECK_EQ(open_and_read(tree, "same", &err), 0);
	CHECK(unlink("top/gone") == 0 && unlink("top/fifo") == 0 && unlink("top/link") == 0);
	CHECK(mkfifo("top/fifo", 0644) == 0 && symlink("same", "top/link") == 0);
	CHECK_EQ(truncate("top/short", 2), 0);
	write_file("top/long", "longer content");
	CHECK_EQ(open_and_read(tree, "gone", &err), -ESTALE);
	CHECK(strstr(err.message, "top/gone vanished") != NULL);
	CHECK_EQ(open_and_read(tree, "fifo", &err), -ESTALE);
	CHECK_EQ(open_and_read(tree, "link", &err), -ESTALE);
	CHECK_EQ(open_and_read(tree, "short", &err), -ESTALE);
	CHECK(strstr(err.message, "became shorter") != NULL);
	CHECK_EQ(open_and_read(tree, "long", &err), -ESTALE);
	CHECK_EQ(open_and_read(tree, "same", &err), 0);
	leave();
}

static void test_replaced_directory(void)
{
	enter();
	CHECK_EQ(mkdir("top/d", 0755), 0);
	write_file("top/d/file", "content");
	struct ramet_error err = {0};
	_cleanup_tree_ struct tree *tree = walk(&err);
	struct tree_node *directory = tree_find(tree->root, "d");
	/* What the walk opened is forgotten, as it is in a large tree. */
	for (size_t i = 0; i < TREE_OPEN_DIRECTORIES; i++)
		tree->open[i].node = NULL;
	CHECK_EQ(rename("top/d", "top/e"), 0);
	CHECK_EQ(symlink("../other", "top/d"), 0);
	CHECK_EQ(tree_directory_fd(tree, directory, &err), -ESTALE);
	leave();
}

static void test_deep(void)
{
	enter();
	enum { DEPTH = 200 };
	int fd = open("top", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < DEPTH; i++) {
		CHECK_EQ(mkdirat(fd, "a-name-of-thirty-two-characters-", 0755), 0);
		int next = openat(
			fd, "a-name-of-thirty-two-characters-", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		close(fd);
		fd = next;
	}
	_cleanup_close_ int file = openat(fd, "z", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	CHECK(file >= 0 && write_full(file, "deep", 4) == 0);
	close(fd);
	struct ramet_error err = {0};
	_cleanup_tree_ struct tree *tree = walk(&err);
	struct tree_node *node = tree_first_leaf(tree->root);
	CHECK_STR(node->name, "z");
	_cleanup_content_ struct content content;
	char buffer[4];
	REQUIRE(content_open(&content, tree, node, &err) == 0);
	CHECK(content_read(&content, 0, buffer, 4, &err) == 0 && memcmp(buffer, "deep", 4) == 0);
	leave();
}

static void test_holes(void)
{
	enter();
	write_file("top/sparse", "");
	_cleanup_close_ int fd = open("top/sparse", O_WRONLY | O_CLOEXEC);
	CHECK(ftruncate(fd, 10 << 20) == 0 && pwrite_full(fd, "data", 4, 5 << 20) == 0);
	struct ramet_error err = {0};
	_cleanup_tree_ struct tree *tree = walk(&err);
	struct tree_node *node = tree_find(tree->root, "sparse");
	if (!(node->flags & TREE_SPARSE)) {
		leave();
		SKIP("this filesystem has no holes");
	}
	_cleanup_content_ struct content content;
	REQUIRE(content_open(&content, tree, node, &err) == 0);
	uint64_t start, end;
	CHECK_EQ(content_data(&content, 0, &start, &end, &err), 0);
	CHECK(start > 0 && start <= 5 << 20 && end > 5 << 20 && end < 10 << 20);
	CHECK_EQ(content_data(&content, end, &start, &end, &err), 0);
	CHECK(start == 10 << 20 && end == 10 << 20);
	leave();
}

TEST_MAIN({"names come sorted by their bytes, directories before and after", test_order},
	{"hard links are found, and those outside do not count", test_links},
	{"two grafts of one folder share no hard links", test_grafted_links},
	{"a graft replaces what was there and makes its parents", test_graft},
	{"a graft's target is resolved inside the tree", test_graft_symlinks},
	{"a file that is not what the walk saw is named", test_stale},
	{"a directory replaced by a symlink is not followed", test_replaced_directory},
	{"a tree deeper than PATH_MAX is walked and read", test_deep},
	{"holes are told from data", test_holes})
