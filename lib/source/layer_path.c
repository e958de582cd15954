/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ways through a tree that is being made. A path of an archive never leaves the tree: an absolute
 * symlink begins at its root, and the root's ".." is the root, as for a process after chroot(2).
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "source/layer_inside.h"

#define MAX_SYMLINKS 40 /* as in the kernel's path walk, path_resolution(7) */

static bool is_word(const char *name, size_t length, const char *word)
{
	return strlen(word) == length && memcmp(name, word, length) == 0;
}

int layer_clean_path(struct layers *layers, const char *path, struct ramet_error *err)
{
	struct text *clean = &layers->clean;
	text_truncate(clean, 0);
	text_append(clean, "");
	for (const char *at = path; *at;) {
		size_t length = strcspn(at, "/");
		if (is_word(at, length, ".."))
			return error_set(err, EINVAL,
				"the entry '%s' is refused: '..' could lead out of the tree", path);
		if (length > LAYER_NAME_MAX)
			return error_set(err, ENAMETOOLONG,
				"the entry '%s' is refused: it has a name of more than %d bytes",
				path, LAYER_NAME_MAX);
		if (length && !is_word(at, length, ".")) {
			if (clean->length)
				text_append(clean, "/");
			text_append_bytes(clean, at, length);
		}
		at += length;
		at += strspn(at, "/");
	}
	return clean->failed ? error_memory(err) : 0;
}

/* Where a walk stands and what of the way is left. */
struct way {
	struct layers *layers;
	const char *path; /* as the archive has it */
	struct tree_node *node;
	const char *at, *end;
	struct text rest; /* holds what is left once a symlink was met */
	unsigned symlinks;
	bool make;
};

static int follow(struct way *way, const struct tree_node *link, struct ramet_error *err)
{
	if (++way->symlinks > MAX_SYMLINKS)
		return error_set(err, ELOOP,
			"the entry '%s' is refused: its folder goes round in circles through symlinks",
			way->path);
	struct text rest = {0};
	text_append(&rest, link->target);
	text_append(&rest, "/");
	text_append_bytes(&rest, way->at, (size_t)(way->end - way->at));
	text_free(&way->rest);
	way->rest = rest;
	if (rest.failed)
		return error_memory(err);
	way->at = rest.data;
	way->end = rest.data + rest.length;
	if (link->target[0] == '/')
		way->node = way->layers->tree->root;
	return 0;
}

static int not_directory(
	const struct way *way, const struct tree_node *node, struct ramet_error *err)
{
	_cleanup_text_ struct text path = {0};
	tree_path(node, &path);
	return error_set(err, ENOTDIR, "the entry '%s' is refused: %s is no folder", way->path,
		path.failed ? "what it is below" : path.data);
}

/* One step down. way->node becomes NULL where there is nothing and nothing is to be made. */
static int descend(struct way *way, const char *name, struct ramet_error *err)
{
	struct tree_node *child = layer_find(way->layers, way->node, name);
	if (child && S_ISLNK(child->mode))
		return follow(way, child, err);
	if (child && !S_ISDIR(child->mode)) {
		if (way->make)
			return not_directory(way, child, err);
		child = NULL;
	} else if (!child && way->make) {
		child = layer_new_node(way->layers, way->node, name);
		if (!child)
			return error_memory(err);
		layer_set_implied(child);
	}
	way->node = child;
	return 0;
}

static int walk(struct way *way, struct ramet_error *err)
{
	while (way->node && way->at < way->end) {
		size_t length = (size_t)(way->end - way->at);
		const char *slash = memchr(way->at, '/', length);
		char name[LAYER_NAME_MAX + 1];
		if (slash)
			length = (size_t)(slash - way->at);
		if (length > LAYER_NAME_MAX)
			return error_set(err, ENAMETOOLONG,
				"the entry '%s' is refused: its way leads through a name of more than "
				"%d bytes",
				way->path, LAYER_NAME_MAX);
		memcpy(name, way->at, length);
		name[length] = '\0';
		way->at += length + (slash != NULL);
		int r = 0;
		if (strcmp(name, "..") == 0)
			way->node = way->node->parent ? way->node->parent : way->node;
		else if (length && strcmp(name, ".") != 0)
			r = descend(way, name, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int layer_find_directory(struct layers *layers, const char *path, size_t length, bool make,
	struct tree_node **directory, struct ramet_error *err)
{
	struct way way = {.layers = layers,
		.path = path,
		.node = layers->tree->root,
		.at = path,
		.end = path + length,
		.make = make};
	int r = walk(&way, err);
	text_free(&way.rest);
	*directory = way.node;
	return r;
}

int layer_find_node(
	struct layers *layers, const char *path, struct tree_node **node, struct ramet_error *err)
{
	size_t length = strlen(path);
	while (length && path[length - 1] == '/')
		length--;
	size_t parent = length;
	while (parent && path[parent - 1] != '/')
		parent--;
	char name[LAYER_NAME_MAX + 1];
	struct tree_node *directory;
	*node = NULL;
	if (length - parent > LAYER_NAME_MAX)
		return 0;
	memcpy(name, path + parent, length - parent);
	name[length - parent] = '\0';
	int r = layer_find_directory(layers, path, parent, false, &directory, err);
	if (r < 0 || !directory)
		return r;
	if (!*name || strcmp(name, ".") == 0)
		*node = directory;
	else if (strcmp(name, "..") == 0)
		*node = directory->parent ? directory->parent : directory;
	else
		*node = layer_find(layers, directory, name);
	return 0;
}
