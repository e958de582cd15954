/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file is looked up beneath its root, through no symlink: the walk followed none. Its path may be
 * longer than a system call takes, so it is opened in pieces.
 */
#include "image/lazy_content.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

const char *lazy_place(const struct lazy *lazy, const struct lazy_places *places, uint32_t i)
{
	return i < places->count && places->items[i] ? places->items[i] : lazy_root(lazy, i);
}

int lazy_roots_open(const struct lazy *lazy, const struct lazy_places *places, int **out)
{
	struct lazy_facts facts;
	lazy_describe(lazy, &facts);
	int *roots = calloc((size_t)facts.roots + 1, sizeof *roots);
	if (!roots)
		return -ENOMEM;
	for (uint32_t i = 0; i < facts.roots; i++) {
		roots[i] = open(lazy_place(lazy, places, i), O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (roots[i] < 0)
			roots[i] = -errno;
	}
	*out = roots;
	return 0;
}

void lazy_roots_close(const struct lazy *lazy, int *roots)
{
	struct lazy_facts facts;
	lazy_describe(lazy, &facts);
	for (uint32_t i = 0; roots && i < facts.roots; i++)
		cleanup_close(&roots[i]);
	free(roots);
}

static int open_beneath(int folder, const char *path, uint64_t flags)
{
	const struct open_how how = {.flags = flags | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
	int fd = (int)syscall(SYS_openat2, folder, path, &how, sizeof how);
	return fd < 0 ? -errno : fd;
}

/* As many names of a long path as one call takes; *rest is what comes after them. */
static int open_piece(int folder, char *path, char **rest)
{
	char *end = path;
	for (char *slash = path; (slash = strchr(slash, '/')) && slash - path < PATH_MAX; slash++)
		end = slash;
	if (end == path)
		return -ENAMETOOLONG;
	*end = '\0';
	*rest = end + 1;
	return open_beneath(folder, path, O_PATH | O_DIRECTORY);
}

/* path is written to. */
static int open_path(int root, char *path)
{
	_cleanup_close_ int kept = -1;
	int folder = root;
	while (strlen(path) >= PATH_MAX) {
		int next = open_piece(folder, path, &path);
		if (next < 0)
			return next;
		cleanup_close(&kept);
		folder = kept = next;
	}
	/* O_NONBLOCK: a fifo put in the file's place must not stop us. */
	return open_beneath(folder, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
}

static int stale(const struct lazy *lazy, uint32_t index, const char *how, struct ramet_error *err)
{
	_cleanup_text_ struct text path = {0};
	struct lazy_file file;
	lazy_file(lazy, index, &file);
	text_format(&path, "%s/", lazy_root(lazy, file.root));
	lazy_file_path(lazy, index, &path);
	return error_set(err, ESTALE, "%s %s since the lazy image was built",
		path.failed ? "a source file" : path.data, how);
}

int lazy_content_check(const struct lazy *lazy, uint32_t index, int fd, struct ramet_error *err)
{
	struct lazy_file file;
	struct statx is;
	lazy_file(lazy, index, &file);
	if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &is) < 0)
		return error_errno(err, errno, "cannot look at a source file");
	if (!S_ISREG(is.stx_mode) || is.stx_ino != file.inode ||
		!tree_same_birth(tree_birth(&is), file.birth))
		return stale(lazy, index, "was replaced", err);
	if (is.stx_size != file.size)
		return stale(lazy, index,
			is.stx_size < file.size ? "became shorter" : "became longer", err);
	if (tree_time(is.stx_mtime.tv_sec) != file.mtime || is.stx_mtime.tv_nsec != file.mtime_nsec)
		return stale(lazy, index, "was written to", err);
	return 0;
}

int lazy_content_open(
	const struct lazy *lazy, const int *roots, uint32_t index, struct ramet_error *err)
{
	struct lazy_file file;
	_cleanup_text_ struct text path = {0};
	lazy_file(lazy, index, &file);
	const char *root = lazy_root(lazy, file.root);
	if (roots[file.root] < 0)
		return error_errno(err, -roots[file.root],
			"cannot open %s, the folder that the lazy image's content is in", root);
	int r = lazy_file_path(lazy, index, &path);
	if (r < 0)
		return error_errno(err, -r, "cannot name a source file");
	_cleanup_free_ char *name = strdup(path.data);
	if (!name)
		return error_memory(err);
	_cleanup_close_ int fd = open_path(roots[file.root], name);
	if (fd == -ENOENT)
		return stale(lazy, index, "vanished", err);
	if (fd == -ELOOP || fd == -ENXIO || fd == -ENOTDIR)
		return stale(lazy, index, "was replaced", err);
	if (fd < 0)
		return error_errno(err, -fd, "cannot open %s/%s", root, path.data);
	r = lazy_content_check(lazy, index, fd, err);
	return r < 0 ? r : TAKE_FD(fd);
}
