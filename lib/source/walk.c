/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk of a directory: each directory is read whole, its names sorted, each looked at once.
 * A directory whose time moves while it is read is being written to: the walk says so rather than
 * make an image of a state that never was.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "source/walk_inside.h"

#define DIRENT_BUFFER ((size_t)64 * 1024)
#define COUNT_STEP    64 /* entries are counted in such steps: threads share the sum */

/* fd is at its start: it was opened for this walk. */
static int read_names(struct walker *walker, int fd)
{
	if (!walker->buffer)
		walker->buffer = malloc(DIRENT_BUFFER);
	if (!walker->buffer)
		return -ENOMEM;
	text_truncate(&walker->names, 0);
	for (;;) {
		ssize_t n = getdents64(fd, walker->buffer, DIRENT_BUFFER);
		if (n <= 0)
			return n < 0 ? -errno : 0;
		for (ssize_t at = 0; at < n;) {
			const struct dirent64 *entry = (const void *)(walker->buffer + at);
			const char *name = entry->d_name;
			if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
				text_append_bytes(&walker->names, name, strlen(name) + 1);
			at += entry->d_reclen;
		}
		if (walker->names.failed)
			return -ENOMEM;
	}
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int sort_names(struct walker *walker)
{
	walker->sorted.count = 0;
	const char *end = walker->names.data + walker->names.length;
	for (const char *name = walker->names.data; name < end; name += strlen(name) + 1) {
		const char **place = vector_push(&walker->sorted);
		if (!place)
			return -ENOMEM;
		*place = name;
	}
	if (walker->sorted.count)
		qsort(walker->sorted.items, walker->sorted.count, sizeof(char *), compare_names);
	return 0;
}

static int read_target(
	struct tree *tree, struct tree_node *node, int dirfd, struct ramet_error *err)
{
	char target[4096];
	ssize_t n = readlinkat(dirfd, node->name, target, sizeof target);
	if (n < 0)
		return errno == ENOENT || errno == EINVAL
			       ? tree_node_stale(tree, node, "vanished", err)
			       : tree_node_error(tree, node, errno, "read the link", err);
	node->target = arena_copy(&tree->arena, target, (size_t)n);
	node->size = (uint64_t)n;
	return node->target ? 0 : error_memory(err);
}

/* As fstatat(2), and when the file was made. */
static int look_at(int dirfd, const char *name, int flags, struct stat *st, uint32_t *birth)
{
	struct statx is;
	if (statx(dirfd, name, flags, STATX_BASIC_STATS | STATX_BTIME, &is) < 0)
		return -1;
	*birth = tree_birth(&is);
	*st = (struct stat){
		.st_dev = makedev(is.stx_dev_major, is.stx_dev_minor),
		.st_ino = is.stx_ino,
		.st_nlink = is.stx_nlink,
		.st_mode = is.stx_mode,
		.st_uid = is.stx_uid,
		.st_gid = is.stx_gid,
		.st_rdev = makedev(is.stx_rdev_major, is.stx_rdev_minor),
		.st_size = (off_t)is.stx_size,
		.st_blocks = (blkcnt_t)is.stx_blocks,
		.st_mtim = {is.stx_mtime.tv_sec, is.stx_mtime.tv_nsec},
	};
	return 0;
}

static int take_stat(
	struct tree *tree, struct tree_node *node, const struct stat *st, uint32_t birth)
{
	int device = tree_device_index(tree, st->st_dev);
	if (device < 0)
		return device;
	node->device = (uint16_t)device;
	node->host_inode = st->st_ino;
	node->mode = (uint16_t)st->st_mode;
	node->uid = st->st_uid;
	node->gid = st->st_gid;
	node->mtime = tree_time(st->st_mtim.tv_sec);
	node->mtime_nsec = (uint32_t)st->st_mtim.tv_nsec;
	if (!S_ISDIR(st->st_mode) && st->st_nlink > 1)
		node->flags |= TREE_LINKED;
	if (S_ISREG(st->st_mode)) {
		node->size = (uint64_t)st->st_size;
		node->birth = birth;
		if ((uint64_t)st->st_blocks < (node->size + 511) / 512)
			node->flags |= TREE_SPARSE;
	} else if (S_ISBLK(st->st_mode) || S_ISCHR(st->st_mode)) {
		node->rdev = st->st_rdev;
	}
	return 0;
}

static int refuse_output(const struct tree *tree, const struct source_options *options,
	const struct tree_node *node, const struct stat *st, struct ramet_error *err)
{
	const struct stat *avoid = options->avoid;
	if (!avoid || st->st_ino != avoid->st_ino || st->st_dev != avoid->st_dev)
		return 0;
	_cleanup_text_ struct text path = {0};
	tree_host_path(tree, node, &path);
	return error_set(err, EINVAL,
		"the image would be written into %s, which is part of what it is made of; "
		"write it somewhere else",
		path.failed ? "a folder" : path.data);
}

/* Everything about one name but the entries of a directory. */
static int take_entry(
	struct walker *walker, int dirfd, struct tree_node *node, struct ramet_error *err)
{
	struct tree *tree = walker->tree;
	struct stat st;
	uint32_t birth;
	if (look_at(dirfd, node->name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, &st, &birth) < 0)
		return errno == ENOENT ? tree_node_stale(tree, node, "vanished", err)
				       : tree_node_error(tree, node, errno, "look at", err);
	int r = take_stat(tree, node, &st, birth);
	if (r < 0)
		return tree_node_error(tree, node, -r, "take in", err);
	if (S_ISDIR(st.st_mode)) {
		struct tree_node **place = vector_push(&walker->found);
		if (!place)
			return error_memory(err);
		*place = node;
		r = refuse_output(tree, walker->walk->options, node, &st, err);
	} else if (S_ISLNK(st.st_mode)) {
		r = read_target(tree, node, dirfd, err);
	}
	return r < 0 ? r : source_read_xattrs(tree, node, dirfd, node->name, err);
}

/* Progress is told by the caller's own thread, of all of them. */
static void count_entries(struct walker *walker)
{
	struct walk *walk = walker->walk;
	uint64_t walked = atomic_fetch_add(&walk->walked, walker->uncounted) + walker->uncounted;
	walker->uncounted = 0;
	if (walker == walk->walkers[0] && walk->options->meter)
		meter_advance(walk->options->meter, *walk->options->walked + walked);
}

static int take_entries(
	struct walker *walker, struct tree_node *directory, int dirfd, struct ramet_error *err)
{
	struct tree_node **place = &directory->first;
	for (size_t i = 0; i < walker->sorted.count && !atomic_load(&walker->walk->stopped); i++) {
		const char *name = walker->sorted.items[i];
		struct tree_node *node = tree_node_new(walker->tree, name, strlen(name));
		if (!node)
			return error_memory(err);
		node->parent = directory;
		node->origin = walker->walk->origin;
		*place = node;
		place = &node->next;
		int r = take_entry(walker, dirfd, node, err);
		if (r < 0)
			return r;
		if (++walker->uncounted == COUNT_STEP)
			count_entries(walker);
	}
	count_entries(walker);
	return 0;
}

int walk_directory(struct walker *walker, struct tree_node *node, struct ramet_error *err)
{
	struct tree *tree = walker->tree;
	int fd = tree_directory_fd(tree, node, err);
	if (fd < 0)
		return fd;
	int r = read_names(walker, fd);
	if (r == 0)
		r = sort_names(walker);
	if (r < 0)
		return tree_node_error(tree, node, -r, "read the folder", err);
	r = take_entries(walker, node, fd, err);
	if (r < 0)
		return r;
	struct stat st;
	if (fstat(fd, &st) < 0)
		return tree_node_error(tree, node, errno, "look at", err);
	if (tree_time(st.st_mtim.tv_sec) != node->mtime ||
		st.st_mtim.tv_nsec != (long)node->mtime_nsec)
		return tree_node_stale(tree, node, "changed", err);
	return 0;
}

/* Open path itself: an O_PATH fd, so that a fifo or a device is not disturbed by a look at it. */
static int open_origin(struct tree *tree, const char *path, struct stat *st, uint32_t *birth,
	struct ramet_error *err)
{
	struct tree_origin *origin;
	int r = tree_origin_new(tree, path, &origin, err);
	if (r < 0)
		return r;
	if (look_at(AT_FDCWD, path, 0, st, birth) < 0)
		return error_errno(err, errno, "cannot open %s", path);
	if (S_ISDIR(st->st_mode)) {
		origin->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	} else {
		/* The file is opened by name in its folder, once the symlinks are resolved. */
		_cleanup_free_ char *real = realpath(path, NULL);
		char *slash = real ? strrchr(real, '/') : NULL;
		if (slash) {
			origin->name = strdup(slash + 1);
			slash[slash == real] = '\0';
			origin->fd = open(real, O_PATH | O_DIRECTORY | O_CLOEXEC);
		}
	}
	if (origin->fd < 0)
		return error_errno(err, errno, "cannot open %s", path);
	if (S_ISDIR(st->st_mode) && fstat(origin->fd, st) < 0)
		return error_errno(err, errno, "cannot look at %s", path);
	return 0;
}

int source_take(struct tree *tree, const char *path, const char *name, bool allow_file,
	const struct source_options *options, struct tree_node **top, struct ramet_error *err)
{
	struct stat st;
	uint32_t birth;
	int r = open_origin(tree, path, &st, &birth, err);
	if (r < 0)
		return r;
	if (!S_ISDIR(st.st_mode) && !(allow_file && S_ISREG(st.st_mode)))
		return error_set(err, ENOTDIR, "%s is not a folder%s", path,
			allow_file ? " or a regular file" : "");
	struct tree_node *node = tree_node_new(tree, name, strlen(name));
	if (!node)
		return error_memory(err);
	node->origin = (uint16_t)(tree->origins.count - 1);
	node->flags = TREE_ORIGIN;
	r = take_stat(tree, node, &st, birth);
	if (r < 0)
		return error_errno(err, -r, "cannot take in %s", path);
	const struct tree_origin *origin = &tree->origins.items[node->origin];
	r = source_read_xattrs(tree, node, origin->fd, origin->name ? origin->name : ".", err);
	if (r == 0 && S_ISDIR(st.st_mode))
		r = refuse_output(tree, options, node, &st, err);
	if (r == 0 && S_ISDIR(st.st_mode))
		r = walk_below(tree, node, options, err);
	*top = node;
	return r;
}

int source_walk(struct tree *tree, const char *path, const struct source_options *options,
	struct ramet_error *err)
{
	return source_take(tree, path, "", false, options, &tree->root, err);
}
