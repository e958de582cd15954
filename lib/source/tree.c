/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes hang together by parent, first and next, so that every order of visit is a few pointer
 * steps without a stack: directories may be nested deeper than any recursion would bear.
 */
#include "source/tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/checked.h"
#include "base/cleanup.h"

static struct tree *make_tree(struct tree_devices *devices)
{
	struct tree *tree = calloc(1, sizeof *tree);
	for (size_t i = 0; tree && i < TREE_OPEN_DIRECTORIES; i++)
		tree->open[i].fd = -1;
	if (tree)
		tree->devices = devices;
	return tree;
}

int tree_new(struct tree **out, struct ramet_error *err)
{
	struct tree_devices *devices = calloc(1, sizeof *devices);
	*out = devices ? make_tree(devices) : NULL;
	if (!*out) {
		free(devices);
		return error_memory(err);
	}
	pthread_mutex_init(&devices->lock, NULL);
	return 0;
}

static void close_directories(struct tree *tree)
{
	for (size_t i = 0; i < TREE_OPEN_DIRECTORIES; i++)
		cleanup_close(&tree->open[i].fd);
}

struct tree *tree_branch_new(const struct tree *tree)
{
	struct tree *branch = make_tree(tree->devices);
	if (branch)
		memcpy(&branch->origins, &tree->origins, sizeof branch->origins);
	return branch;
}

void tree_branch_join(struct tree *tree, struct tree *branch)
{
	arena_join(&tree->arena, &branch->arena);
	tree->omitted_xattrs += branch->omitted_xattrs;
	close_directories(branch);
	free(branch);
}

void tree_free(struct tree *tree)
{
	if (!tree)
		return;
	close_directories(tree);
	for (size_t i = 0; i < tree->origins.count; i++) {
		struct tree_origin *origin = &tree->origins.items[i];
		cleanup_close(&origin->fd);
		free(origin->path);
		free(origin->name);
	}
	vector_free(&tree->origins);
	pthread_mutex_destroy(&tree->devices->lock);
	free(tree->devices);
	arena_free(&tree->arena);
	free(tree);
}

struct tree_node *tree_node_new(struct tree *tree, const char *name, size_t length)
{
	size_t size = offsetof(struct tree_node, name) + length + 1;
	struct tree_node *node = arena_alloc(&tree->arena, MAX(size, sizeof *node));
	if (node)
		memcpy(node->name, name, length);
	return node;
}

struct tree_node *tree_find(const struct tree_node *directory, const char *name)
{
	for (struct tree_node *node = directory->first; node; node = node->next) {
		int order = strcmp(node->name, name);
		if (order >= 0)
			return order == 0 ? node : NULL;
	}
	return NULL;
}

void tree_insert(struct tree_node *directory, struct tree_node *node)
{
	struct tree_node **place = &directory->first;
	while (*place && strcmp((*place)->name, node->name) < 0)
		place = &(*place)->next;
	bool replaces = *place && strcmp((*place)->name, node->name) == 0;
	node->next = replaces ? (*place)->next : *place;
	node->parent = directory;
	*place = node;
}

struct tree_node *tree_next(struct tree_node *node)
{
	if (S_ISDIR(node->mode) && node->first)
		return node->first;
	while (node && !node->next)
		node = node->parent;
	return node ? node->next : NULL;
}

struct tree_node *tree_first_leaf(struct tree_node *node)
{
	while (S_ISDIR(node->mode) && node->first)
		node = node->first;
	return node;
}

struct tree_node *tree_next_after(struct tree_node *node)
{
	return node->next ? tree_first_leaf(node->next) : node->parent;
}

/* The names from (not including) the node that has stop or no parent, down to node. */
static void append_names(const struct tree_node *node, uint32_t stop, struct text *path)
{
	size_t length = 0;
	const struct tree_node *top = node;
	for (; top->parent && !(top->flags & stop); top = top->parent)
		length += 1 + strlen(top->name);
	size_t end = path->length + length;
	/* Filled from the end, since the way leads up. */
	for (size_t i = 0; i < length; i++)
		text_append_bytes(path, "/", 1);
	if (path->failed)
		return;
	for (; node != top; node = node->parent) {
		size_t n = strlen(node->name);
		end -= n + 1;
		memcpy(path->data + end + 1, node->name, n);
	}
}

void tree_path(const struct tree_node *node, struct text *path)
{
	if (!node->parent)
		text_append(path, "/");
	append_names(node, 0, path);
}

void tree_host_path(const struct tree *tree, const struct tree_node *node, struct text *path)
{
	node = tree_content_node(node);
	text_append(path, tree->origins.items[node->origin].path);
	while (path->length > 1 && path->data[path->length - 1] == '/')
		text_truncate(path, path->length - 1);
	if (!(node->flags & TREE_MOVED)) {
		append_names(node, TREE_ORIGIN, path);
		return;
	}
	append_names(node->host, TREE_ORIGIN, path);
	text_format(path, "/%s", node->name);
}

int tree_node_error(const struct tree *tree, const struct tree_node *node, int code,
	const char *what, struct ramet_error *err)
{
	_cleanup_text_ struct text path = {0};
	tree_host_path(tree, node, &path);
	return error_errno(err, code, "cannot %s %s", what, path.failed ? "a file" : path.data);
}

int tree_node_stale(const struct tree *tree, const struct tree_node *node, const char *how,
	struct ramet_error *err)
{
	_cleanup_text_ struct text path = {0};
	tree_host_path(tree, node, &path);
	return error_set(err, ESTALE,
		"%s %s while the image was built; build from a tree that nobody is writing to",
		path.failed ? "a file" : path.data, how);
}

int tree_origin_new(
	struct tree *tree, const char *name, struct tree_origin **origin, struct ramet_error *err)
{
	if (tree->origins.count >= TREE_MOST_ORIGINS)
		return error_set(err, E2BIG, "there are more than %d sources to put together",
			TREE_MOST_ORIGINS);
	char *path = strdup(name);
	*origin = path ? vector_push(&tree->origins) : NULL;
	if (!*origin) {
		free(path);
		return error_memory(err);
	}
	**origin = (struct tree_origin){.path = path, .fd = -1};
	return 0;
}

/* The newest first: neighbours share a device. */
static int find_device(struct tree_devices *devices, dev_t device)
{
	for (size_t i = atomic_load_explicit(&devices->count, memory_order_acquire); i-- > 0;)
		if (devices->items[i] == device)
			return (int)i;
	return -EOVERFLOW;
}

static int add_device(struct tree_devices *devices, dev_t device)
{
	pthread_mutex_lock(&devices->lock);
	int index = find_device(devices, device);
	size_t count = atomic_load_explicit(&devices->count, memory_order_relaxed);
	if (index < 0 && count < TREE_MOST_DEVICES) {
		devices->items[count] = device;
		atomic_store_explicit(&devices->count, count + 1, memory_order_release);
		index = (int)count;
	}
	pthread_mutex_unlock(&devices->lock);
	return index;
}

int tree_device_index(struct tree *tree, dev_t device)
{
	int index = find_device(tree->devices, device);
	return index >= 0 ? index : add_device(tree->devices, device);
}

/* Hard links: an open-addressed table of the first name met for each inode of the host. */
struct link_table {
	struct tree_node **slots;
	size_t mask;
};

static struct tree_node **link_slot(const struct link_table *table, const struct tree_node *node)
{
	uint64_t hash = (node->host_inode * 31 + node->device) * 31 + node->origin;
	hash *= 0x9e3779b97f4a7c15; /* spreads neighbouring inode numbers (Fibonacci hashing) */
	for (size_t i = (size_t)(hash >> 20) & table->mask;; i = (i + 1) & table->mask) {
		const struct tree_node *other = table->slots[i];
		if (!other ||
			(other->host_inode == node->host_inode && other->device == node->device &&
				other->origin == node->origin))
			return &table->slots[i];
	}
}

static int link_table_make(struct tree *tree, struct link_table *table)
{
	size_t linked = 0, size = 16;
	for (struct tree_node *node = tree->root; node; node = tree_next(node))
		linked += (node->flags & TREE_LINKED) != 0;
	while (size < linked * 2)
		size *= 2;
	table->mask = size - 1;
	table->slots = calloc(size, sizeof *table->slots);
	return table->slots ? 0 : -ENOMEM;
}

static void note_link(struct link_table *table, struct tree_node *node)
{
	if (!(node->flags & TREE_LINKED))
		return;
	struct tree_node **slot = link_slot(table, node);
	if (!*slot) {
		*slot = node;
		return;
	}
	node->linked = *slot;
	node->flags |= TREE_LINK;
}

int tree_finish(struct tree *tree, struct ramet_error *err)
{
	struct link_table table;
	if (link_table_make(tree, &table) < 0)
		return error_memory(err);
	tree->entries = tree->inodes = tree->content_bytes = 0;
	tree->newest = 0;
	int64_t now = (int64_t)time(NULL);
	bool fits = true;
	for (struct tree_node *node = tree->root; node; node = tree_next(node)) {
		note_link(&table, node);
		bool is_directory = S_ISDIR(node->mode);
		node->nlink = is_directory ? 2 : 1;
		if (node->flags & TREE_LINK)
			node->linked->nlink++;
		else
			tree->inodes++;
		if (is_directory && node->parent)
			node->parent->nlink++;
		if (S_ISREG(node->mode) && !tree_link(node))
			fits = fits &&
			       checked_add(tree->content_bytes, node->size, &tree->content_bytes);
		/* A filesystem made in the future is one that e2fsck finds fault with. */
		if (node->mtime > tree->newest && node->mtime <= now)
			tree->newest = node->mtime;
		tree->entries++;
	}
	free(table.slots);
	if (!fits || tree->entries > UINT32_MAX - 16)
		return error_set(err, EFBIG, "the tree holds more than any image can");
	return 0;
}
