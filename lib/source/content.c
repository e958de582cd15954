/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file is opened by its name in its directory's fd and compared with what the walk saw, before
 * its first byte is read and after the last: device, inode, type, size and mtime. A writer that
 * keeps the mtime still is not noticed; nothing short of a snapshot would.
 */
#include "source/content.h"

#include <errno.h>
#include <fcntl.h>
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
			 st.st_dev == content->tree->devices.items[node->device] &&
			 S_ISREG(st.st_mode);
	if (!same_file)
		*how = "was replaced";
	else if ((uint64_t)st.st_size != node->size)
		*how = (uint64_t)st.st_size < node->size ? "became shorter" : "became longer";
	else if (st.st_mtim.tv_sec != node->mtime || st.st_mtim.tv_nsec != (long)node->mtime_nsec)
		*how = "was written to";
	else
		return 0;
	return -ESTALE;
}

int content_verify(struct content *content, struct ramet_error *err)
{
	const char *how = NULL;
	int r = content->fd < 0 ? 0 : verify(content, &how);
	if (r == -ESTALE)
		return tree_node_stale(content->tree, content->node, how, err);
	if (r < 0)
		return tree_node_error(content->tree, content->node, -r, "look at", err);
	return 0;
}

static int open_file(
	struct tree *tree, const struct tree_node *node, const char *name, struct ramet_error *err)
{
	int dirfd = node->flags & TREE_ORIGIN ? tree->origins.items[node->origin].fd
					      : tree_directory_fd(tree, node->parent, err);
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

int content_open(struct content *content, struct tree *tree, const struct tree_node *node,
	struct ramet_error *err)
{
	*content = (struct content){.tree = tree, .node = node, .fd = -1};
	if (node->flags & TREE_MEMORY)
		return 0;
	const char *name = node->flags & TREE_ORIGIN ? tree->origins.items[node->origin].name
						     : node->name;
	int fd = open_file(tree, node, name, err);
	if (fd < 0)
		return fd;
	content->fd = fd;
	int r = content_verify(content, err);
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

int content_data(struct content *content, uint64_t offset, uint64_t *start, uint64_t *end,
	struct ramet_error *err)
{
	if (content->fd < 0 || !(content->node->flags & TREE_SPARSE)) {
		*start = offset;
		*end = content->node->size;
		return 0;
	}
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

int content_read(struct content *content, uint64_t offset, void *buffer, size_t length,
	struct ramet_error *err)
{
	if (content->fd < 0) {
		memcpy(buffer, (const char *)content->node->data + offset, length);
	} else {
		ssize_t n = pread_full(content->fd, buffer, length, offset);
		if (n < 0)
			return tree_node_error(content->tree, content->node, (int)-n, "read", err);
		if ((size_t)n < length)
			return tree_node_stale(content->tree, content->node, "became shorter", err);
	}
	content->read += length;
	return 0;
}

void content_close(struct content *content)
{
	cleanup_close(&content->fd);
	content->fd = -1;
}
