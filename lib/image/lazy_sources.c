/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each file with content gets an entry, in the order of the tree, and with it the folder that the
 * host has it in, those above that, and the root: the folder that its source, its layer or its bind
 * is. A file that layers have moved in the tree is entered where the host has it.
 *
 * Neighbours share their folder, so the table of folders is seldom asked.
 */
#include "image/lazy_sources.h"

#include <endian.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"

static int too_many(const char *what, struct ramet_error *err)
{
	return error_set(err, EFBIG,
		"the tree has more %s than a lazy image can name; build it without --lazy", what);
}

/* Append a name with its NUL; *offset is where it begins, as on disk. */
static int add_name(
	struct lazy_sources *sources, const char *name, uint32_t *offset, struct ramet_error *err)
{
	size_t length = strlen(name) + 1;
	if (sources->names.length + length > LAZY_NONE)
		return too_many("bytes of names", err);
	*offset = htole32((uint32_t)sources->names.length);
	text_append_bytes(&sources->names, name, length);
	return sources->names.failed ? error_memory(err) : 0;
}

static int add_folder(struct lazy_sources *sources, uint32_t parent, uint32_t name, uint32_t *index,
	struct ramet_error *err)
{
	if (sources->folders.count >= LAZY_NONE)
		return too_many("folders", err);
	*index = (uint32_t)sources->folders.count;
	struct lazy_disk_folder *folder = vector_push(&sources->folders);
	if (!folder)
		return error_memory(err);
	*folder = (struct lazy_disk_folder){.parent = htole32(parent), .name = name};
	return 0;
}

/* Where the host has an origin now. What the user wrote may be relative, or lead through symlinks that
 * will lead elsewhere. */
static int find_root(
	const struct tree_origin *origin, char path[static PATH_MAX], struct ramet_error *err)
{
	char link[64];
	snprintf(link, sizeof link, "/proc/self/fd/%d", origin->fd);
	ssize_t length = readlink(link, path, PATH_MAX - 1);
	if (length < 0)
		return error_errno(err, errno, "cannot tell which folder %s is", origin->path);
	path[length] = '\0';
	struct stat named, opened;
	if (path[0] != '/' || stat(path, &named) < 0 || fstat(origin->fd, &opened) < 0 ||
		named.st_ino != opened.st_ino || named.st_dev != opened.st_dev)
		return error_set(err, ESTALE, "%s was moved or removed while the image was built",
			origin->path);
	return 0;
}

/* The folder of a root; the root is made with it. */
static int root_folder(
	struct lazy_sources *sources, size_t origin, uint32_t *index, struct ramet_error *err)
{
	const struct tree *tree = sources->tree;
	if (!sources->root_folders)
		sources->root_folders = calloc(tree->origins.count, sizeof(uint32_t));
	if (!sources->root_folders)
		return error_memory(err);
	uint32_t *known = &sources->root_folders[origin];
	if (*known) {
		*index = *known - 1;
		return 0;
	}
	char path[PATH_MAX];
	int r = find_root(&tree->origins.items[origin], path, err);
	if (r < 0)
		return r;
	struct lazy_disk_root *root = vector_push(&sources->roots);
	if (!root)
		return error_memory(err);
	*root = (struct lazy_disk_root){0};
	r = add_name(sources, path, &root->path, err);
	uint32_t number = htole32((uint32_t)sources->roots.count - 1);
	if (r == 0)
		r = add_folder(sources, LAZY_NONE, number, index, err);
	if (r == 0)
		*known = *index + 1;
	return r;
}

static struct lazy_known_folder *known_slot(
	const struct lazy_sources *sources, const struct tree_node *node)
{
	/* Spreads neighbouring addresses (Fibonacci hashing). */
	uint64_t hash = (uint64_t)(uintptr_t)node * 0x9e3779b97f4a7c15;
	for (size_t i = hash >> 20;; i++) {
		struct lazy_known_folder *slot = &sources->known[i & (sources->known_slots - 1)];
		if (!slot->node || slot->node == node)
			return slot;
	}
}

/* Make room for one more: at most half of the slots are taken. */
static int grow_known(struct lazy_sources *sources)
{
	if (sources->known && sources->known_count < sources->known_slots / 2)
		return 0;
	struct lazy_sources grown = {.known_slots = MAX(sources->known_slots * 2, 1024)};
	grown.known = calloc(grown.known_slots, sizeof *grown.known);
	if (!grown.known)
		return -ENOMEM;
	for (size_t i = 0; i < sources->known_slots; i++)
		if (sources->known[i].node)
			*known_slot(&grown, sources->known[i].node) = sources->known[i];
	free(sources->known);
	sources->known = grown.known;
	sources->known_slots = grown.known_slots;
	return 0;
}

/* The entry of one folder, whose parent has the entry parent. */
static int enter_folder(struct lazy_sources *sources, const struct tree_node *node, uint32_t parent,
	uint32_t *index, struct ramet_error *err)
{
	uint32_t name;
	int r = add_name(sources, node->name, &name, err);
	if (r == 0)
		r = add_folder(sources, parent, name, index, err);
	if (r < 0)
		return r;
	if (grow_known(sources) < 0)
		return error_memory(err);
	*known_slot(sources, node) = (struct lazy_known_folder){node, *index};
	sources->known_count++;
	return 0;
}

/* Those above it that have no entry yet get theirs first. */
static int folder_index(struct lazy_sources *sources, const struct tree_node *node, uint32_t *index,
	struct ramet_error *err)
{
	VECTOR(const struct tree_node *) missing = {0};
	int r = grow_known(sources) < 0 ? error_memory(err) : 0;
	const struct lazy_known_folder *known = NULL;
	while (r == 0 && !(node->flags & TREE_ORIGIN) && node->parent) {
		known = known_slot(sources, node);
		if (known->node)
			break;
		known = NULL;
		const struct tree_node **place = vector_push(&missing);
		if (!place) {
			r = error_memory(err);
			break;
		}
		*place = node;
		node = node->parent;
	}
	if (r == 0 && known)
		*index = known->index;
	else if (r == 0)
		r = root_folder(sources, node->origin, index, err);
	while (r == 0 && missing.count)
		r = enter_folder(sources, missing.items[--missing.count], *index, index, err);
	vector_free(&missing);
	return r;
}

/* What the host has the content in. Two neighbours mostly have one, which is remembered in last. */
static int folder_of(struct lazy_sources *sources, const struct tree_node *node,
	struct lazy_known_folder *last, struct ramet_error *err)
{
	if (node->flags & TREE_ORIGIN) {
		last->node = NULL;
		return root_folder(sources, node->origin, &last->index, err);
	}
	const struct tree_node *folder = node->flags & TREE_MOVED ? node->host : node->parent;
	if (last->node == folder)
		return 0;
	last->node = folder;
	return folder_index(sources, folder, &last->index, err);
}

static int refuse(
	const struct lazy_sources *sources, const struct tree_node *node, struct ramet_error *err)
{
	_cleanup_text_ struct text path = {0};
	tree_path(node, &path);
	return error_set(err, EOPNOTSUPP,
		"%s comes out of %s, and a lazy image can only point into files that stand on this "
		"host as they are; unpack it into a folder, or build without --lazy",
		path.failed ? "a file" : path.data,
		sources->tree->origins.items[tree_content_node(node)->origin].path);
}

static int add_file(struct lazy_sources *sources, struct tree_node *node,
	struct lazy_known_folder *last, struct ramet_error *err)
{
	const struct tree_node *content = tree_content_node(node);
	const struct tree_origin *origin = &sources->tree->origins.items[content->origin];
	if (origin->content)
		return refuse(sources, node, err);
	if (sources->files.count >= LAZY_NONE)
		return too_many("files", err);
	int r = folder_of(sources, content, last, err);
	if (r < 0)
		return r;
	struct lazy_disk_file file = {
		.size = htole64(content->size),
		.inode = htole64(content->host_inode),
		.mtime = (int64_t)htole64((uint64_t)content->mtime),
		.mtime_nsec = htole32(content->mtime_nsec),
		.folder = htole32(last->index),
		.birth = htole32(content->birth),
	};
	r = add_name(sources, content->flags & TREE_ORIGIN ? origin->name : content->name,
		&file.name, err);
	struct lazy_disk_file *place = r == 0 ? vector_push(&sources->files) : NULL;
	if (r == 0 && !place)
		return error_memory(err);
	if (r < 0)
		return r;
	*place = file;
	node->number = (uint32_t)sources->files.count - 1;
	return 0;
}

int lazy_sources_collect(struct lazy_sources *sources, struct ramet_error *err)
{
	struct lazy_known_folder last = {0};
	int r = 0;
	for (struct tree_node *node = sources->tree->root; node && r == 0; node = tree_next(node))
		if (S_ISREG(node->mode) && !tree_link(node) && node->size &&
			!(tree_content_node(node)->flags & TREE_MEMORY))
			r = add_file(sources, node, &last, err);
	return r;
}

void lazy_sources_free(struct lazy_sources *sources)
{
	vector_free(&sources->files);
	vector_free(&sources->folders);
	vector_free(&sources->roots);
	text_free(&sources->names);
	free(sources->known);
	free(sources->root_folders);
}
