/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layers laid over a tree, against a model that has no index, remembers nothing between two entries,
 * and looks at everything below a whiteout each time. The input is a script: an operation, a path of a
 * few names, a target. Both must come to the same tree, or refuse the same entry.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "source/content.h"
#include "source/layer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ------------------------------------------------------------------------------------------- */
/* The script.                                                                                  */

struct script {
	const uint8_t *at, *end;
};

static unsigned next_byte(struct script *script)
{
	return script->at < script->end ? *script->at++ : 0;
}

/* One to four names. Some are whiteouts, some lead up. */
static void next_path(struct script *script, char path[static 64], bool target)
{
	static const char *const names[] = {"a", "b", "c", "d", "a", "b", ".", "e"};
	static const char *const last[] = {"a", "b", "c", "d", ".wh.a", ".wh.b", ".wh..wh..opq",
		".wh..wh.x", ".wh.c", "e", "a/", "..", ".wh.d", ".wh.", "b", "c"};
	unsigned shape = next_byte(script), names_word = next_byte(script);
	char *to = path;
	if (shape & 0x40)
		*to++ = '/';
	if (target && (shape & 0x80))
		to = stpcpy(to, "../");
	for (unsigned i = 0; i < (shape & 3u); i++, names_word >>= 2)
		to += sprintf(to, "%s/", names[(names_word & 3) | (shape & 4)]);
	unsigned which = shape >> 3 & 15;
	stpcpy(to, last[target ? which & 3 : which]);
}

/* The path's last name in the directory of the path before it. */
static void move_beside(char path[static 64], const char *before)
{
	char last[64], *slash = strrchr(path, '/');
	const char *end = strrchr(before, '/');
	if (slash && !slash[1])
		return;
	strcpy(last, slash ? slash + 1 : path);
	sprintf(path, "%.*s%s", end ? (int)(end - before) + 1 : 0, before, last);
}

/* ------------------------------------------------------------------------------------------- */
/* The model.                                                                                   */

struct model_node {
	struct model_node *parent, *children, *next;
	char name[16], target[64];
	uint32_t mode;
	uint64_t place;
	unsigned layer;
};

struct model {
	struct model_node pool[4096];
	size_t used;
	unsigned layer;
};

static struct model_node *model_find(const struct model_node *directory, const char *name)
{
	for (struct model_node *node = directory->children; node; node = node->next)
		if (strcmp(node->name, name) == 0)
			return node;
	return NULL;
}

static struct model_node *model_add(
	struct model *model, struct model_node *directory, const char *name)
{
	struct model_node *node = &model->pool[model->used++];
	*node = (struct model_node){.parent = directory, .layer = model->layer};
	strcpy(node->name, name);
	struct model_node **place = &directory->children;
	while (*place && strcmp((*place)->name, name) < 0)
		place = &(*place)->next;
	node->next = *place;
	*place = node;
	return node;
}

static void model_remove(struct model_node *node)
{
	struct model_node **place = &node->parent->children;
	while (*place != node)
		place = &(*place)->next;
	*place = node->next;
}

/* The directory that rest leads to; NULL for none. *code: why not. */
static struct model_node *model_walk(struct model *model, struct model_node *from, const char *rest,
	bool make, unsigned *symlinks, int *code)
{
	while (from && *rest) {
		size_t length = strcspn(rest, "/");
		char name[64];
		memcpy(name, rest, length);
		name[length] = '\0';
		rest += length;
		rest += strspn(rest, "/");
		if (!*name || strcmp(name, ".") == 0)
			continue;
		if (strcmp(name, "..") == 0) {
			from = from->parent ? from->parent : from;
			continue;
		}
		struct model_node *child = model_find(from, name);
		if (child && S_ISLNK(child->mode)) {
			if (++*symlinks > 40) {
				*code = -ELOOP;
				return NULL;
			}
			struct model_node *start = child->target[0] == '/' ? model->pool : from;
			from = model_walk(model, start, child->target, make, symlinks, code);
		} else if (child && !S_ISDIR(child->mode)) {
			*code = make ? -ENOTDIR : 0;
			return NULL;
		} else if (child) {
			from = child;
		} else if (make) {
			from = model_add(model, from, name);
			from->mode = S_IFDIR | 0755;
		} else {
			return NULL;
		}
	}
	return from;
}

/* Take away what is below the layer; whether the node itself stays. */
static bool model_strip(struct model *model, struct model_node *node)
{
	bool stays = node->layer == model->layer;
	for (struct model_node *child = node->children, *next; child; child = next) {
		next = child->next;
		if (model_strip(model, child))
			stays = true;
		else
			model_remove(child);
	}
	if (stays && node->layer != model->layer) {
		node->layer = model->layer;
		node->mode = S_IFDIR | 0755;
	}
	return stays;
}

static void model_whiteout(struct model *model, struct model_node *directory, const char *last)
{
	if (strcmp(last, ".wh..wh..opq") == 0) {
		for (struct model_node *child = directory->children, *next; child; child = next) {
			next = child->next;
			if (!model_strip(model, child))
				model_remove(child);
		}
		return;
	}
	struct model_node *node = model_find(directory, last + 4);
	if (node && !model_strip(model, node))
		model_remove(node);
}

/* Without "", "." and a slash at the end; whether there is a "..". */
static bool model_clean(const char *path, char clean[static 64])
{
	char copy[64], *save = NULL, *to = clean;
	bool up = false;
	strcpy(copy, path);
	*to = '\0';
	for (char *name = strtok_r(copy, "/", &save); name; name = strtok_r(NULL, "/", &save)) {
		up = up || strcmp(name, "..") == 0;
		if (strcmp(name, ".") != 0)
			to += sprintf(to, "%s%s", to == clean ? "" : "/", name);
	}
	return up;
}

static struct model_node *model_target(struct model *model, const char *target, int *code)
{
	char parent[64];
	unsigned symlinks = 0;
	strcpy(parent, target);
	char *slash = strrchr(parent, '/');
	const char *last = slash ? target + (slash - parent) + 1 : target;
	parent[slash ? slash - parent : 0] = '\0';
	struct model_node *directory = model_walk(
		model, model->pool, parent, false, &symlinks, code);
	return directory ? model_find(directory, last) : NULL;
}

static void model_put(struct model *model, struct model_node *directory, const char *last,
	const struct layer_entry *entry, const struct model_node *target)
{
	struct model_node *node = model_find(directory, last);
	if (node && node == target) {
		node->layer = model->layer;
		return;
	}
	struct model_node copy = target ? *target : (struct model_node){0};
	uint32_t mode = target ? copy.mode : entry->mode;
	if (node && S_ISDIR(node->mode) && !S_ISDIR(mode)) {
		model_remove(node);
		node = NULL;
	}
	if (!node)
		node = model_add(model, directory, last);
	node->layer = model->layer;
	node->mode = mode;
	node->place = target ? copy.place : entry->place;
	if (target)
		strcpy(node->target, copy.target);
	else if (entry->symlink)
		strcpy(node->target, entry->symlink);
}

static int model_lay(struct model *model, const struct layer_entry *entry)
{
	char clean[64];
	unsigned symlinks = 0;
	int code = 0;
	if (model_clean(entry->path, clean))
		return -EINVAL;
	if (!*clean) {
		if (entry->hardlink || !S_ISDIR(entry->mode))
			return -ENOTDIR;
		model->pool[0].mode = entry->mode;
		return 0;
	}
	char *slash = strrchr(clean, '/');
	const char *last = slash ? slash + 1 : clean;
	if (slash)
		*slash = '\0';
	const char *parent = slash ? clean : "";
	if (strncmp(last, ".wh..wh.", 8) == 0 && strcmp(last, ".wh..wh..opq") != 0)
		return 0;
	if (strncmp(last, ".wh.", 4) == 0) {
		if (!last[4])
			return -EINVAL;
		struct model_node *directory = model_walk(
			model, model->pool, parent, false, &symlinks, &code);
		if (directory)
			model_whiteout(model, directory, last);
		return code;
	}
	struct model_node *target = NULL;
	if (entry->hardlink) {
		target = model_target(model, entry->hardlink, &code);
		if (code < 0 || !target)
			return code < 0 ? code : -ENOENT;
		if (S_ISDIR(target->mode))
			return -EPERM;
	}
	struct model_node *directory = model_walk(
		model, model->pool, parent, true, &symlinks, &code);
	if (!directory)
		return code;
	model_put(model, directory, last, entry, target);
	return 0;
}

/* ------------------------------------------------------------------------------------------- */

static void compare(const struct model_node *model, const struct tree_node *node)
{
	if (strcmp(model->name, node->name) != 0 || model->mode != node->mode)
		abort();
	if (S_ISLNK(node->mode) && strcmp(model->target, node->target) != 0)
		abort();
	if (!S_ISDIR(node->mode)) {
		if (model->place != node->host_inode)
			abort();
		return;
	}
	const struct model_node *child = model->children;
	const struct tree_node *other = node->first;
	for (; child && other; child = child->next, other = other->next) {
		if (other->parent != node)
			abort();
		compare(child, other);
	}
	if (child || other)
		abort();
}

static const struct content_ops nothing;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint32_t modes[] = {S_IFREG | 0644, S_IFDIR | 0700, S_IFLNK | 0777, 0,
		S_IFDIR | 0711, S_IFREG | 0600, S_IFDIR | 0755, S_IFIFO | 0600};
	static struct model model;
	struct script script = {data, data + size};
	struct ramet_error err = {0};
	struct tree *tree = NULL;
	struct layers *layers = NULL;
	model.used = 1;
	model.layer = 1;
	model.pool[0] = (struct model_node){.mode = S_IFDIR | 0755};
	if (tree_new(&tree, NULL) < 0)
		return -1;
	struct tree_origin *origin = vector_push(&tree->origins);
	*origin = (struct tree_origin){.path = strdup("script"), .fd = -1, .content = &nothing};
	if (layers_new(&layers, tree, NULL) < 0)
		return -1;
	layers_begin(layers, 0, true);
	int r = 0;
	char before[64] = "";
	for (uint64_t place = 1; r == 0 && script.at < script.end && place < 500; place++) {
		char path[64], target[64];
		unsigned operation = next_byte(&script);
		if ((operation & 0xf0) == 0xf0) {
			layers_begin(layers, 0, true);
			model.layer++;
		}
		next_path(&script, path, false);
		/* Neighbours are where something is remembered. */
		if (operation & 8)
			move_beside(path, before);
		strcpy(before, path);
		struct layer_entry entry = {
			.path = path, .mode = modes[operation & 7], .place = place};
		if ((operation & 7) == 2 || (operation & 7) == 3)
			next_path(&script, target, true);
		if ((operation & 7) == 2)
			entry.symlink = target;
		if ((operation & 7) == 3)
			entry.hardlink = target;
		r = layers_add(layers, &entry, &err);
		int expected = model_lay(&model, &entry);
		if (r != expected) {
			fprintf(stderr, "'%s': %d, and should be %d: %s\n", path, r, expected,
				err.message);
			abort();
		}
	}
	layers_finish(layers);
	if (r == 0)
		compare(model.pool, tree->root);
	tree_free(tree);
	return 0;
}
