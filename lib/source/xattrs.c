/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended attributes. Before Linux 6.13 there is no call that takes a directory fd, a name and does not
 * follow a symlink; /proc/self/fd/N/NAME says the same, opens nothing and needs no right to read the
 * file. Nearly every file has none: the new call tells that in a third of the time, which is a quarter of
 * the whole walk's.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "base/cleanup.h"
#include "base/xattr_at.h"
#include "source/source.h"

/* Limits of the kernel: XATTR_LIST_MAX and XATTR_SIZE_MAX of linux/limits.h. */
#define ATTRIBUTE_MAX ((size_t)65536)

bool source_keeps_xattr(const char *name)
{
	return strncmp(name, "user.", 5) == 0 || strncmp(name, "trusted.", 8) == 0 ||
	       strncmp(name, "security.", 9) == 0 || strcmp(name, "system.posix_acl_access") == 0 ||
	       strcmp(name, "system.posix_acl_default") == 0;
}

int source_add_xattr(struct tree *tree, struct tree_xattr **list, const char *name,
	const void *value, size_t size)
{
	while (*list && strcmp((*list)->name, name) < 0)
		list = &(*list)->next;
	struct tree_xattr *xattr = arena_alloc(&tree->arena, sizeof *xattr);
	if (!xattr)
		return -ENOMEM;
	bool replaces = *list && strcmp((*list)->name, name) == 0;
	xattr->next = replaces ? (*list)->next : *list;
	xattr->name = replaces ? (*list)->name : arena_copy(&tree->arena, name, strlen(name));
	xattr->value = arena_copy(&tree->arena, value, size);
	xattr->size = (uint32_t)size;
	if (!xattr->name || !xattr->value)
		return -ENOMEM;
	*list = xattr;
	return 0;
}

static int failed(struct tree *tree, const struct tree_node *node, struct ramet_error *err)
{
	if (errno == ENOENT || errno == ENODATA)
		return tree_node_stale(tree, node, "changed", err);
	return tree_node_error(tree, node, errno, "read the extended attributes of", err);
}

static int read_one(struct tree *tree, struct tree_node *node, const char *path, const char *name,
	char *value, struct ramet_error *err)
{
	ssize_t size = lgetxattr(path, name, value, ATTRIBUTE_MAX);
	if (size < 0)
		return failed(tree, node, err);
	if (source_add_xattr(tree, &node->xattrs, name, value, (size_t)size) < 0)
		return error_memory(err);
	return 0;
}

static int read_all(
	struct tree *tree, struct tree_node *node, const char *path, struct ramet_error *err)
{
	_cleanup_free_ char *names = malloc(ATTRIBUTE_MAX);
	_cleanup_free_ char *value = malloc(ATTRIBUTE_MAX);
	if (!names || !value)
		return error_memory(err);
	ssize_t length = llistxattr(path, names, ATTRIBUTE_MAX);
	if (length < 0)
		return failed(tree, node, err);
	for (const char *name = names; name < names + length; name += strlen(name) + 1) {
		if (!source_keeps_xattr(name)) {
			tree->omitted_xattrs++;
			continue;
		}
		int r = read_one(tree, node, path, name, value, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int source_read_xattrs(struct tree *tree, struct tree_node *node, int dirfd, const char *name,
	struct ramet_error *err)
{
	if (xattr_list_size_at(dirfd, name) == 0)
		return 0;
	char path[sizeof "/proc/self/fd/-2147483648/" + 256];
	if (snprintf(path, sizeof path, "/proc/self/fd/%d/%s", dirfd, name) >= (int)sizeof path)
		return tree_node_error(tree, node, ENAMETOOLONG, "take in", err);
	ssize_t length = llistxattr(path, NULL, 0);
	if (length == 0 || (length < 0 && (errno == ENOTSUP || errno == ENOSYS)))
		return 0;
	if (length < 0)
		return failed(tree, node, err);
	return read_all(tree, node, path, err);
}
