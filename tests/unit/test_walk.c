/* SPDX-License-Identifier: Apache-2.0 */
/* A walk by several threads: the same tree as by one, and the same errors. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/folder.h"
#include "source/source.h"
#include "tests/unit/tap.h"

enum { FOLDERS = 12, INNER = 12, FILES = 20 };

static char folder[] = "/tmp/ramet-walk.XXXXXX";

static void make_files(const char *path, unsigned seed)
{
	_cleanup_close_ int dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (unsigned i = 0; i < FILES; i++) {
		char name[32];
		snprintf(name, sizeof name, "file-%u-%u", (i * 7 + seed) % FILES, seed);
		_cleanup_close_ int fd = openat(
			dirfd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600 + i);
		CHECK(fd >= 0 && write_full(fd, "content", i % 8) == 0);
		if (i % 5 == 0)
			(void)fsetxattr(fd, "user.number", name, strlen(name), 0);
		if (i == 3)
			CHECK_EQ(linkat(dirfd, name, dirfd, "link", 0), 0);
	}
	CHECK_EQ(symlinkat("somewhere else", dirfd, "symlink"), 0);
	/* One inode with a name in every folder. */
	CHECK_EQ(linkat(AT_FDCWD, "shared", dirfd, "shared", 0), 0);
}

/* A folder of folders of files, in a new place; the tests' paths are relative to it. */
static void enter(void)
{
	strcpy(folder + strlen(folder) - 6, "XXXXXX");
	CHECK(mkdtemp(folder) != NULL && chdir(folder) == 0 && mkdir("top", 0755) == 0);
	_cleanup_close_ int fd = open("shared", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	CHECK(fd >= 0);
	for (unsigned i = 0; i < FOLDERS; i++) {
		char path[64];
		snprintf(path, sizeof path, "top/%u", i);
		CHECK_EQ(mkdir(path, 0755), 0);
		for (unsigned j = 0; j < INNER; j++) {
			snprintf(path, sizeof path, "top/%u/inner-%u", i, j);
			CHECK_EQ(mkdir(path, 0755), 0);
			make_files(path, i * INNER + j);
		}
	}
}

static void leave(void)
{
	CHECK(chdir("/tmp") == 0);
	CHECK_EQ(folder_remove(AT_FDCWD, folder), 0);
}

static int walk(struct tree **tree, unsigned threads, const struct stat *avoid, uint64_t *walked,
	struct ramet_error *err)
{
	const struct source_options options = {
		.threads = threads, .avoid = avoid, .walked = walked};
	*walked = 0;
	CHECK_EQ(tree_new(tree, err), 0);
	int r = source_walk(*tree, "top", &options, err);
	return r < 0 ? r : tree_finish(*tree, err);
}

static void describe(const struct tree *tree, struct tree_node *node, struct text *text)
{
	tree_path(node, text);
	text_format(text, " %o %u %u %llu %lld.%u %u %llu %llu", (unsigned)node->mode, node->uid,
		node->gid, (unsigned long long)node->size, (long long)node->mtime, node->mtime_nsec,
		node->nlink, (unsigned long long)node->host_inode,
		(unsigned long long)tree->devices->items[node->device]);
	if (tree_link(node))
		tree_path(tree_link(node), text);
	else if (S_ISLNK(node->mode))
		text_append(text, node->target);
	for (const struct tree_xattr *x = node->xattrs; x; x = x->next)
		text_format(text, " %s=%.*s", x->name, (int)x->size, (const char *)x->value);
	text_append(text, "\n");
}

static char *describe_all(const struct tree *tree)
{
	struct text text = {0};
	for (struct tree_node *node = tree->root; node; node = tree_next(node))
		describe(tree, node, &text);
	return text.data;
}

static void test_same(void)
{
	enter();
	struct ramet_error err = {0};
	uint64_t walked;
	_cleanup_tree_ struct tree *alone = NULL;
	CHECK_EQ(walk(&alone, 1, NULL, &walked, &err), 0);
	const uint64_t entries = alone->entries;
	CHECK_EQ(entries, 1 + FOLDERS + FOLDERS * INNER * (FILES + 4));
	CHECK_EQ(walked + 1, entries);
	_cleanup_free_ char *expected = describe_all(alone);
	for (unsigned round = 0; round < 20; round++) {
		_cleanup_tree_ struct tree *together = NULL;
		CHECK_EQ(walk(&together, 1 + round % WALK_MOST, NULL, &walked, &err), 0);
		_cleanup_free_ char *all = describe_all(together);
		CHECK(strcmp(all, expected) == 0);
		CHECK_EQ(together->inodes, alone->inodes);
		CHECK_EQ(walked + 1, entries);
	}
	leave();
}

/* The output's folder may not be met: which thread meets it does not matter. */
static void test_fails(void)
{
	enter();
	struct stat avoid;
	uint64_t walked;
	CHECK_EQ(mkdir("top/11/inner-9/output", 0755), 0);
	CHECK_EQ(stat("top/11/inner-9/output", &avoid), 0);
	for (unsigned threads = 1; threads <= WALK_MOST; threads++) {
		struct ramet_error err = {0};
		_cleanup_tree_ struct tree *tree = NULL;
		CHECK_EQ(walk(&tree, threads, &avoid, &walked, &err), -EINVAL);
		CHECK(strstr(err.message, "top/11/inner-9/output") != NULL);
	}
	leave();
}

/* None may be left for whoever forks next. */
static unsigned count_threads(void)
{
	struct stat st;
	CHECK_EQ(stat("/proc/self/task", &st), 0);
	return (unsigned)st.st_nlink - 2;
}

static void test_threads_end(void)
{
	enter();
	struct ramet_error err = {0};
	uint64_t walked;
	unsigned before = count_threads();
	_cleanup_tree_ struct tree *tree = NULL;
	CHECK_EQ(walk(&tree, WALK_MOST, NULL, &walked, &err), 0);
	CHECK_EQ(count_threads(), before);
	leave();
}

/* Directories are reached through others that another thread has opened, as deep as they are. */
static void test_deep(void)
{
	enter();
	enum { DEPTH = 150 };
	_cleanup_close_ int fd = open("top/5", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < DEPTH; i++) {
		const char *name = "a-name-of-thirty-two-characters-";
		CHECK(mkdirat(fd, name, 0755) == 0 && mkdirat(fd, "beside", 0755) == 0 &&
			mkdirat(fd, "beside/below", 0755) == 0);
		int next = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		close(fd);
		fd = next;
	}
	struct ramet_error err = {0};
	uint64_t walked;
	_cleanup_tree_ struct tree *tree = NULL;
	CHECK_EQ(walk(&tree, WALK_MOST, NULL, &walked, &err), 0);
	CHECK_EQ(tree->entries, 1 + FOLDERS + FOLDERS * INNER * (FILES + 4) + 3 * DEPTH);
	leave();
}

TEST_MAIN({"several threads make the tree that one makes", test_same},
	{"what one thread refuses ends the walk of all, by its name", test_fails},
	{"no thread is left when the walk is over", test_threads_end},
	{"folders deeper than PATH_MAX are walked by several threads", test_deep})
