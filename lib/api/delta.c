/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When the parent was made decides which times are believed. A file that was changed after it was
 * taken in, but within the same second, has the time that the image has, and other bytes. Such a file
 * was changed while the image was made or later; so every time from two seconds before the making
 * began counts for nothing. The making began when the file was born (statx(2)), or, where that is
 * later (a copy) or not known, when it was last written. Of a chain the image made first decides.
 */
#include "api/delta.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "api/chain_view.h"
#include "base/cleanup.h"
#include "image/view.h"
#include "source/tree.h"

#define DOUBTFUL_SECONDS 2

static int64_t made(const struct chain_image *image)
{
	struct statx stx;
	int64_t written = image->image.st.st_mtim.tv_sec;
	if (statx(image->fd, "", AT_EMPTY_PATH, STATX_BTIME, &stx) < 0 ||
		!(stx.stx_mask & STATX_BTIME))
		return written;
	return MIN(written, stx.stx_btime.tv_sec);
}

static int refuse_own_parent(const struct delta *delta, const char *output, struct ramet_error *err)
{
	struct stat st;
	if (stat(output, &st) < 0)
		return 0;
	for (size_t i = 0; i < delta->chain.count; i++) {
		const struct stat *parent = &delta->chain.items[i].image.st;
		if (parent->st_dev == st.st_dev && parent->st_ino == st.st_ino)
			return error_set(err, EINVAL,
				"the layer would be written over %s, which it is to stand on; give "
				"it another name",
				output);
	}
	return 0;
}

int delta_open(struct delta *delta, struct ramet_store *store,
	const struct ramet_build_options *options, struct ramet_error *err)
{
	*delta = (struct delta){.wanted = options->parent != NULL};
	if (!delta->wanted)
		return 0;
	int r = chain_open(store, options->parent, options->parent_layers, &delta->chain, err);
	_cleanup_free_ char *process = NULL;
	if (r == 0)
		r = chain_feed(&delta->chain, err);
	if (r == 0)
		r = refuse_own_parent(delta, options->output, err);
	if (r == 0 && store)
		r = chain_facts(store, &delta->chain, &delta->read_only_paths, &process, err);
	if (r < 0)
		return error_prefix(err, r, "cannot build on %s", options->parent);
	delta->layer = (struct layer_options){
		.new_is_tree = true, .by_time = !options->compare_content, .made = INT64_MAX};
	for (size_t i = 0; i < delta->chain.count; i++)
		delta->layer.made = MIN(delta->layer.made, made(&delta->chain.items[i]));
	delta->layer.made -= DOUBTFUL_SECONDS;
	return 0;
}

int delta_make(struct delta *delta, struct tree *tree, const char *source, struct ramet_error *err)
{
	_cleanup_chain_view_ struct chain_view parent;
	_cleanup_fs_ struct fs *fs = NULL;
	int r = chain_view_open(&delta->chain, &parent, err);
	if (r == 0)
		r = view_of_tree(tree, &fs, err);
	if (r < 0)
		return r;
	delta->layer.own_lost_found = parent.own_lost_found;
	const struct changes_view old = {parent.stack.fs, parent.name.data}, new = {fs, source};
	return layer_make(&old, &new, tree, &delta->layer, &delta->figures, err);
}

/* Whether the tree has something at the path. */
static bool has_path(struct tree *tree, const char *path, size_t length)
{
	struct tree_node *node = tree->root;
	for (size_t at = 0; at < length && node;) {
		at += strspn(path + at, "/");
		size_t part = MIN(strcspn(path + at, "/"), length - at);
		char name[256];
		if (!S_ISDIR(node->mode) || part >= sizeof name)
			return false;
		memcpy(name, path + at, part);
		name[part] = '\0';
		node = part ? tree_find(node, name) : node;
		at += part;
	}
	return node != NULL;
}

int delta_read_only(const struct delta *delta, struct tree *tree, struct text *read_only,
	struct ramet_error *err)
{
	for (const char *line = delta->read_only_paths; line && *line;) {
		size_t length = strcspn(line, "\n");
		if (has_path(tree, line, length)) {
			text_append_bytes(read_only, line, length);
			text_append(read_only, "\n");
		}
		line += length + (line[length] == '\n');
	}
	return read_only->failed ? error_memory(err) : 0;
}

void delta_close(struct delta *delta)
{
	free(delta->read_only_paths);
	chain_free(&delta->chain);
}
