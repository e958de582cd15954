/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fork's changes as a layer over what it stands on, or the fork flattened: all that its guest saw,
 * as an image of its own. As for a diff, this process opens files and parses nothing of them; a
 * child that can open nothing reads base and volume and writes the image. The volume is never
 * written to, the journal of a VM that was killed is replayed in the child's memory.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "api/fork_files.h"
#include "api/publish.h"
#include "api/work.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/progress.h"
#include "changes/layer.h"
#include "changes/side.h"
#include "image/image.h"
#include "image/view.h"
#include "source/source.h"
#include "store/images.h"

struct commit {
	struct ramet_store *store;
	const struct ramet_commit_options *options;
	const struct image_format *format;
	struct store_fork fork;
	struct store_lock lock;
	struct fork_files files;
	struct outfile output;
	const struct work_reports *reports;
	/* What the child answers. */
	struct commit_answer {
		struct ramet_build_result image;
		bool journal_replayed;
	} answer;
};

static void commit_release(struct commit *commit)
{
	outfile_close(&commit->output);
	fork_files_close(&commit->files);
	store_lock_release(&commit->lock);
	store_fork_free(&commit->fork);
}

/* The directory that an overlay-init makes for the guest's root says nothing of what the root is to
 * be, as long as it is as mkdir makes it: the base's root does then. */
static int take_root(const struct views *views, struct tree *tree, struct ramet_error *err)
{
	struct change_side old = {.view = &views->old, .path = "/"};
	struct change_side new = {.view = &views->new, .path = "/"};
	struct fs *old_fs = old.view->fs, *new_fs = new.view->fs;
	bool plain = false;
	int r = new_fs->ops->root(new_fs, &new.ref, err);
	if (r == 0)
		r = side_stat(&new, err);
	if (r == 0)
		r = changes_is_plain(&new, &plain, err);
	if (r < 0 || !plain)
		return r;
	struct tree_node *root = tree->root, *first = root->first;
	r = old_fs->ops->root(old_fs, &old.ref, err);
	root->xattrs = NULL;
	if (r == 0)
		r = view_take(old_fs, old.ref, tree, root->origin, root, err);
	root->first = first;
	return r;
}

static int flatten(struct commit *commit, const struct views *views, struct tree *tree,
	struct ramet_error *err)
{
	const struct source_options none = {0};
	const struct views_source *source = &commit->files.source;
	bool ext4 = stack_has_lost_found(source->images, source->image_count);
	int r = view_walk(views->new.fs, views->new.name, ext4, tree, &none, err);
	if (r == 0 && !commit->files.source.clone)
		r = take_root(views, tree, err);
	return r < 0 ? r : tree_finish(tree, err);
}

static int make_layer(struct commit *commit, const struct views *views, struct tree *tree,
	struct ramet_error *err)
{
	const struct layer_options options = {.plain_root = !commit->files.source.clone};
	struct ramet_build_result *image = &commit->answer.image;
	struct layer_figures figures;
	int r = layer_make(&views->old, &views->new, tree, &options, &figures, err);
	image->added = figures.added;
	image->modified = figures.modified;
	image->deleted = figures.deleted;
	image->retyped = figures.retyped;
	return r;
}

static int write_image(struct commit *commit, struct tree *tree, struct ramet_error *err)
{
	const struct ramet_commit_options *options = commit->options;
	struct ramet_build_result *result = &commit->answer.image;
	const struct image_options image = {
		.compression = options->compression,
		.size = options->size,
		.progress = commit->reports->progress,
		.progress_ctx = commit->reports->progress_ctx,
	};
	struct image_figures figures;
	int r = commit->format->write(tree, commit->output.fd, &image, &figures, err);
	if (r < 0)
		return r;
	result->entries = tree->entries;
	result->content_bytes = tree->content_bytes;
	result->bytes_read = figures.bytes_read;
	result->image_bytes = figures.image_bytes;
	result->omitted_xattrs = figures.omitted_xattrs;
	return 0;
}

static int commit_work(void *ctx, const struct work_reports *reports, struct ramet_error *err)
{
	struct commit *commit = ctx;
	commit->reports = reports;
	struct ramet_build_result *image = &commit->answer.image;
	_cleanup_views_ struct views views = {0};
	double start = clock_seconds();
	int r = views_open(&commit->files.source, &views, err);
	if (r < 0)
		return r;
	commit->answer.journal_replayed = views.replayed;
	_cleanup_tree_ struct tree *tree = NULL;
	r = tree_new(&tree, err);
	if (r == 0)
		r = commit->options->flatten ? flatten(commit, &views, tree, err)
					     : make_layer(commit, &views, tree, err);
	double walked = clock_seconds();
	if (r == 0)
		r = write_image(commit, tree, err);
	image->walk_seconds = walked - start;
	image->write_seconds = clock_seconds() - walked;
	return r;
}

static int commit_in_child(struct commit *commit, struct ramet_error *err)
{
	int fds[FORK_FILES_FDS];
	size_t fd_count = fork_files_fds(&commit->files, commit->output.fd, fds);
	const struct work work = {
		.hostile = true,
		.what = commit->files.source.volume_name,
		.fds = fds,
		.fd_count = fd_count,
		.reports = {.progress = commit->options->progress,
			.progress_ctx = commit->options->progress_ctx},
		.answer = &commit->answer,
		.answer_size = sizeof commit->answer,
		.run = commit_work,
		.ctx = commit,
	};
	return work_run(&work, err);
}

static int refuse_own_parent(const struct commit *commit, struct ramet_error *err)
{
	struct stat output, image;
	const struct store_fork *fork = &commit->fork;
	if (stat(commit->options->output, &output) < 0)
		return 0;
	for (size_t i = 0; i <= fork->layers.count; i++) {
		const char *path = i ? fork->layers.items[i - 1].path : fork->base;
		if (stat(path, &image) == 0 && image.st_dev == output.st_dev &&
			image.st_ino == output.st_ino)
			return error_set(err, EINVAL,
				"the image would be written over %s, on which fork %s stands; give "
				"it another name",
				path, fork->name);
	}
	return 0;
}

static int publish(struct commit *commit, struct ramet_error *err)
{
	struct ramet_build_result *image = &commit->answer.image;
	double start = clock_seconds();
	/* The base must not have changed while it was read. */
	struct store_fork again = {0};
	int r = store_fork_find(commit->store, commit->fork.name, &again, err);
	if (r == 0)
		r = store_fork_check_base(&again, err);
	store_fork_free(&again);
	if (r == 0)
		r = publish_image(&commit->output, image, err);
	image->sync_seconds = clock_seconds() - start;
	return r;
}

static int note_image(struct commit *commit, struct ramet_error *err)
{
	const struct store_fork *fork = &commit->fork;
	int64_t parents[RAMET_CHAIN_MAX];
	_cleanup_image_ struct store_image base = {0};
	int r = store_image_find(commit->store, commit->files.images[0].fd, fork->base, &base, err);
	if (r < 0)
		return r;
	parents[0] = base.id;
	for (size_t i = 0; i < fork->layers.count; i++)
		parents[i + 1] = fork->layers.items[i].image;
	bool whole = commit->options->flatten;
	const struct store_image_facts facts = {.format = commit->format->name,
		.read_only_paths = fork->read_only_paths,
		.process = whole ? fork->process : NULL,
		.digest = commit->answer.image.digest,
		.parents = parents,
		.parent_count = whole ? 0 : fork->layers.count + 1};
	return store_image_add(commit->store, commit->options->output, &facts, err);
}

static int commit_run(struct commit *commit, struct ramet_error *err)
{
	const struct ramet_commit_options *options = commit->options;
	const char *format = options->format ? options->format : "squashfs";
	commit->format = image_format_find(format);
	if (!commit->format)
		return error_set(err, EINVAL, "there is no image format '%s'", format);
	int r = store_fork_find(commit->store, options->name, &commit->fork, err);
	if (r == 0)
		r = store_fork_lock(commit->store, options->name, &commit->lock, err);
	if (r == 0)
		r = store_fork_check_base(&commit->fork, err);
	if (r == 0)
		r = refuse_own_parent(commit, err);
	if (r == 0)
		r = fork_files_open(commit->store, &commit->fork, &commit->files, err);
	if (r == 0)
		r = outfile_open(&commit->output, options->output, err);
	if (r < 0)
		return r;
	r = commit_in_child(commit, err);
	if (r < 0)
		return error_prefix(err, r, "cannot commit %s", options->name);
	r = publish(commit, err);
	return r < 0 ? r : note_image(commit, err);
}

int ramet_commit(struct ramet_store *store, const struct ramet_commit_options *options,
	struct ramet_commit_result *result, struct ramet_error *err)
{
	__attribute__((cleanup(commit_release))) struct commit commit = {.store = store,
		.options = options,
		.lock = STORE_LOCK_NONE,
		.output = OUTFILE_NONE,
		.files = {.volume_fd = -1}};
	int r = commit_run(&commit, err);
	if (r == 0 && result)
		*result = (struct ramet_commit_result){
			commit.answer.image, commit.answer.journal_replayed};
	return r;
}
