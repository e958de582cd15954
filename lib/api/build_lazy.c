/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The format's writer runs as ever, on a sparse file in memory as long as the image would be, and leaves
 * the content out. What is in the file then, some hundred bytes for each file of the tree, goes into the
 * lazy file with the tables.
 */
#include "api/build_lazy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "image/lazy.h"
#include "source/content.h"

int build_lazy_check(const struct ramet_build_options *options, struct ramet_error *err)
{
	if (options->dedupe)
		return error_set(err, EINVAL,
			"a lazy image reads no content, so equal chunks cannot be found: leave "
			"--dedupe away");
	return 0;
}

int build_lazy_spool(struct ramet_error *err)
{
	int fd = memfd_create("ramet-metadata", MFD_CLOEXEC);
	return fd >= 0 ? fd : error_errno(err, errno, "cannot make a file in memory");
}

int build_lazy_write(const struct image_format *format, struct tree *tree,
	const struct image_options *options, int spool, int out, struct image_figures *figures,
	struct ramet_build_result *result, struct ramet_error *err)
{
	_cleanup_layout_ struct layout layout = {0};
	struct image_options laid_out = *options;
	struct lazy_figures lazy;
	laid_out.plain = true;
	laid_out.layout = &layout;
	int r = format->write(tree, spool, &laid_out, figures, err);
	if (r == 0)
		r = lazy_write(out, spool, &layout, tree, format->name, &lazy, err);
	if (r < 0)
		return r;
	figures->image_bytes = layout.image_bytes;
	result->lazy_metadata_bytes = lazy.metadata_bytes;
	result->lazy_table_bytes = lazy.table_bytes;
	result->lazy_extents = lazy.extents;
	return 0;
}

/* Is root the folder at path, or the one that the file at path is in? */
static bool is_at(const struct stat *root, const char *path)
{
	struct stat st;
	_cleanup_free_ char *resolved = realpath(path, NULL);
	if (!resolved || stat(resolved, &st) < 0)
		return false;
	if (!S_ISDIR(st.st_mode)) {
		*strrchr(resolved, '/') = '\0';
		if (stat(*resolved ? resolved : "/", &st) < 0)
			return false;
	}
	return st.st_dev == root->st_dev && st.st_ino == root->st_ino;
}

static bool is_of_source(const struct stat *root, const struct source *source)
{
	bool found = false;
	struct stat st;
	for (size_t i = 0; i < source->fds.count && !found; i++)
		found = fstat(source->fds.items[i], &st) == 0 && st.st_dev == root->st_dev &&
			st.st_ino == root->st_ino;
	for (size_t i = 0; i < source->folders.count && !found; i++)
		found = is_at(root, source->folders.items[i]);
	for (size_t i = 0; i < source->binds.count && !found; i++)
		found = is_at(root, source->binds.items[i].source);
	return found;
}

static bool is_of_work(const struct stat *root, const struct work *work)
{
	bool found = false;
	for (size_t i = 0; i < work->folder_count && !found; i++)
		found = is_at(root, work->folders[i]);
	for (size_t i = 0; i < work->source_count && !found; i++)
		found = is_of_source(root, work->sources[i]);
	return found;
}

int build_lazy_check_roots(
	const struct work *work, int out, const char *path, struct ramet_error *err)
{
	_cleanup_lazy_ struct lazy *lazy = NULL;
	struct lazy_facts facts;
	struct stat root;
	int r = lazy_open(out, path, &lazy, err);
	if (r < 0)
		return r;
	lazy_describe(lazy, &facts);
	for (uint32_t i = 0; i < facts.roots; i++)
		if (stat(lazy_root(lazy, i), &root) < 0 || !S_ISDIR(root.st_mode) ||
			!is_of_work(&root, work))
			return error_set(err, EPERM,
				"%s would stand on a folder that nobody named: what it was made of "
				"took the process over that read it, so trust none of it",
				path);
	return 0;
}

/* By its mode alone: whoever is let in by his group, or by an ACL, finds that out by opening it. */
static bool may_be_denied(const struct tree *tree, const struct tree_node *node, uid_t user)
{
	return S_ISREG(node->mode) && node->size && !tree_link(node) &&
	       !(node->flags & TREE_MEMORY) && !tree->origins.items[node->origin].content &&
	       !(node->uid == user ? node->mode & 0400 : node->mode & 0004);
}

static bool is_denied(struct tree *tree, const struct tree_node *node)
{
	struct ramet_error ignored;
	_cleanup_content_ struct content content = {.fd = -1};
	return content_open(&content, tree, node, &ignored) == -EACCES;
}

void build_lazy_tell_unreadable(struct tree *tree, uid_t user, const struct work_reports *reports)
{
	const struct tree_node *first = NULL;
	unsigned long long others = 0;
	for (struct tree_node *node = tree->root; user && reports->note && node;
		node = tree_next(node)) {
		const struct tree_node *content = tree_content_node(node);
		if (!may_be_denied(tree, content, user) || !is_denied(tree, node))
			continue;
		if (first)
			others++;
		else
			first = node;
	}
	if (!first)
		return;
	_cleanup_text_ struct text text = {0};
	tree_path(first, &text);
	if (others)
		text_format(&text, " and %llu other%s", others, others == 1 ? "" : "s");
	text_append(&text, " may not be read by you: where you serve the image, a guest gets I/O "
			   "errors for what is in there");
	if (!text.failed)
		reports->note(reports->note_ctx, text_disarm(text.data));
}
