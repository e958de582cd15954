/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file is opened by its name in its directory's fd and compared with what the walk saw, before
 * its first byte is read and after the last: device, inode, type, size and mtime. A writer that
 * keeps the mtime still is not noticed; nothing short of a snapshot would.
 */
#include "source/content.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fd.h"

static int verify(const struct content *content, const char **how)
{
	const struct tree_node *node = content->node;
	struct stat st;
	if (fstat(content->fd, &st) < 0)
		return -errno;
	bool same_file = st.st_ino == node->host_inode &&
			 st.st_dev == content->tree->devices->items[node->device] &&
			 S_ISREG(st.st_mode);
	if (!same_file)
		*how = "was replaced";
	else if ((uint64_t)st.st_size != node->size)
		*how = (uint64_t)st.st_size < node->size ? "became shorter" : "became longer";
	else if (tree_time(st.st_mtim.tv_sec) != node->mtime ||
		 st.st_mtim.tv_nsec != (long)node->mtime_nsec)
		*how = "was written to";
	else
		return 0;
	return -ESTALE;
}

static int host_verify(struct content *content, struct ramet_error *err)
{
	const char *how = NULL;
	int r = verify(content, &how);
	if (r == -ESTALE)
		return tree_node_stale(content->tree, content->node, how, err);
	if (r < 0)
		return tree_node_error(content->tree, content->node, -r, "look at", err);
	return 0;
}

static int open_file(
	struct tree *tree, const struct tree_node *node, const char *name, struct ramet_error *err)
{
	const struct tree_node *directory = node->flags & TREE_MOVED ? node->host : node->parent;
	int dirfd = node->flags & TREE_ORIGIN ? tree->origins.items[node->origin].fd
					      : tree_directory_fd(tree, directory, err);
	if (dirfd < 0)
		return dirfd;
	/* O_NONBLOCK: a fifo put in the file's place must not stop the build. */
	int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (fd >= 0)
		return fd;
	if (errno == ENOENT)
		return tree_node_stale(tree, node, "vanished", err);
	if (errno == ELOOP || errno == ENXIO)
		return tree_node_stale(tree, node, "was replaced", err);
	return tree_node_error(tree, node, errno, "read", err);
}

static int host_open(struct content *content, struct ramet_error *err)
{
	struct tree *tree = content->tree;
	const struct tree_node *node = content->node;
	const char *name = node->flags & TREE_ORIGIN ? tree->origins.items[node->origin].name
						     : node->name;
	int fd = open_file(tree, node, name, err);
	if (fd < 0)
		return fd;
	content->fd = fd;
	int r = host_verify(content, err);
	if (r < 0)
		content_close(content);
	return r;
}

/* A filesystem that knows no holes answers EINVAL: all is data then. */
static int seek_data(struct content *content, uint64_t offset)
{
	uint64_t size = content->node->size;
	content->data = offset;
	content->end = size;
	off_t data = lseek(content->fd, (off_t)offset, SEEK_DATA);
	if (data < 0 && errno == ENXIO) {
		content->data = size;
		return 0;
	}
	if (data < 0)
		return errno == EINVAL ? 0 : -errno;
	off_t hole = lseek(content->fd, data, SEEK_HOLE);
	if (hole < 0)
		return -errno;
	content->data = MIN((uint64_t)data, size);
	content->end = MIN((uint64_t)hole, size);
	return 0;
}

static int host_data(struct content *content, uint64_t offset, uint64_t *start, uint64_t *end,
	struct ramet_error *err)
{
	if (offset < content->data || offset >= content->end) {
		int r = seek_data(content, offset);
		if (r < 0)
			return tree_node_error(
				content->tree, content->node, -r, "find the holes of", err);
	}
	*start = MAX(offset, content->data);
	*end = content->end;
	return 0;
}

static int host_read(struct content *content, uint64_t offset, void *buffer, size_t length,
	struct ramet_error *err)
{
	ssize_t n = pread_full(content->fd, buffer, length, offset);
	if (n < 0)
		return tree_node_error(content->tree, content->node, (int)-n, "read", err);
	if ((size_t)n < length)
		return tree_node_stale(content->tree, content->node, "became shorter", err);
	return 0;
}

static const struct content_ops host_content = {
	.open = host_open,
	.data = host_data,
	.read = host_read,
	.verify = host_verify,
};

int content_open(struct content *content, struct tree *tree, const struct tree_node *node,
	struct ramet_error *err)
{
	node = tree_content_node(node);
	*content = (struct content){.tree = tree, .node = node, .fd = -1};
	if (node->flags & TREE_MEMORY)
		return 0;
	const struct tree_origin *origin = &tree->origins.items[node->origin];
	content->ops = origin->content ? origin->content : &host_content;
	content->source = origin->source;
	return content->ops->open(content, err);
}

int content_data(struct content *content, uint64_t offset, uint64_t *start, uint64_t *end,
	struct ramet_error *err)
{
	if (content->ops && (content->node->flags & TREE_SPARSE))
		return content->ops->data(content, offset, start, end, err);
	*start = offset;
	*end = content->node->size;
	return 0;
}

int content_read(struct content *content, uint64_t offset, void *buffer, size_t length,
	struct ramet_error *err)
{
	int r = 0;
	if (content->ops)
		r = content->ops->read(content, offset, buffer, length, err);
	else
		memcpy(buffer, (const char *)content->node->data + offset, length);
	if (r == 0)
		content->read += length;
	return r;
}

int content_verify(struct content *content, struct ramet_error *err)
{
	return content->ops && content->ops->verify ? content->ops->verify(content, err) : 0;
}

void content_close(struct content *content)
{
	if (content->ops && content->ops->close)
		content->ops->close(content);
	cleanup_close(&content->fd);
	content->fd = -1;
}

/* A stream's place among the origins; 0: read from anywhere, before all streams. */
static unsigned stream_of(const struct tree *tree, const struct tree_node *node)
{
	node = tree_content_node(node);
	const struct content_ops *ops = tree->origins.count && !(node->flags & TREE_MEMORY)
						? tree->origins.items[node->origin].content
						: NULL;
	return ops && ops->streamed ? node->origin + 1u : 0;
}

static int compare_places(const void *a, const void *b, void *tree)
{
	const struct tree_node *x = *(struct tree_node *const *)a;
	const struct tree_node *y = *(struct tree_node *const *)b;
	x = tree_content_node(x);
	y = tree_content_node(y);
	unsigned stream_x = stream_of(tree, x), stream_y = stream_of(tree, y);
	if (stream_x != stream_y)
		return stream_x < stream_y ? -1 : 1;
	return x->host_inode < y->host_inode ? -1 : x->host_inode > y->host_inode;
}

static bool has_content(const struct tree_node *node)
{
	return S_ISREG(node->mode) && !tree_link(node);
}

/* Those that can be read from anywhere come first, in the tree's own order; the list is of what
 * comes out of streams, which is sorted. */
int tree_content_order(struct tree *tree, struct content_order *order, struct ramet_error *err)
{
	*order = (struct content_order){.tree = tree, .node = tree->root};
	for (struct tree_node *node = tree->root; node; node = tree_next(node)) {
		if (!has_content(node) || !stream_of(tree, node))
			continue;
		struct tree_node **place = vector_push(&order->streamed);
		if (!place)
			return error_memory(err);
		*place = node;
	}
	if (order->streamed.count)
		qsort_r(order->streamed.items, order->streamed.count, sizeof(struct tree_node *),
			compare_places, tree);
	return 0;
}

struct tree_node *content_order_next(struct content_order *order)
{
	while (order->node) {
		struct tree_node *node = order->node;
		order->node = tree_next(node);
		if (has_content(node) && !stream_of(order->tree, node))
			return node;
	}
	if (order->at < order->streamed.count)
		return order->streamed.items[order->at++];
	return NULL;
}

void content_order_free(struct content_order *order)
{
	vector_free(&order->streamed);
}
