/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open directories of the host. A path is never put together: each directory is opened by its name
 * in the one above it, so depth is not bounded by PATH_MAX and a symlink put in the way is not
 * followed. A small cache makes the usual case, the neighbour of what was asked for last, free.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "source/tree.h"

static int cached_fd(struct tree *tree, const struct tree_node *node)
{
	if (node->flags & TREE_ORIGIN)
		return tree->origins.items[node->origin].fd;
	for (size_t i = 0; i < TREE_OPEN_DIRECTORIES; i++)
		if (tree->open[i].node == node) {
			tree->open[i].used = ++tree->clock;
			return tree->open[i].fd;
		}
	return -1;
}

static void cache_fd(struct tree *tree, const struct tree_node *node, int fd)
{
	struct tree_open *oldest = &tree->open[0];
	for (size_t i = 1; i < TREE_OPEN_DIRECTORIES; i++)
		if (tree->open[i].used < oldest->used)
			oldest = &tree->open[i];
	cleanup_close(&oldest->fd);
	*oldest = (struct tree_open){node, fd, ++tree->clock};
}

static int open_below(
	struct tree *tree, int parent, const struct tree_node *node, struct ramet_error *err)
{
	_cleanup_close_ int fd = openat(
		parent, node->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
		return tree_node_stale(tree, node, "vanished", err);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return tree_node_error(tree, node, errno, "read the folder", err);
	if (st.st_ino != node->host_inode || st.st_dev != tree->devices->items[node->device])
		return tree_node_stale(tree, node, "was replaced", err);
	cache_fd(tree, node, fd);
	return TAKE_FD(fd);
}

int tree_directory_fd(struct tree *tree, const struct tree_node *node, struct ramet_error *err)
{
	int fd = cached_fd(tree, node);
	if (fd >= 0)
		return fd;
	size_t depth = 1;
	const struct tree_node *top = node->parent;
	for (; (fd = cached_fd(tree, top)) < 0; top = top->parent)
		depth++;
	_cleanup_free_ const struct tree_node **chain = calloc(depth, sizeof(*chain));
	if (!chain)
		return error_memory(err);
	for (size_t i = 0; i < depth; i++, node = node->parent)
		chain[i] = node;
	while (depth-- > 0 && fd >= 0)
		fd = open_below(tree, fd, chain[depth], err);
	return fd;
}
