/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a fork changed. This process opens the images and the volume and takes the fork's lock; it
 * parses nothing of either. A child that can open nothing reads both and writes the answer.
 */
#include "api/fork_files.h"
#include "base/cleanup.h"
#include "changes/forms.h"

struct diff {
	const struct form *form;
	const char *fork;
	int out;
	struct fork_files files;
	struct changes_options options;
	struct ramet_diff_result result;
};

static int diff_work(void *ctx, struct ramet_error *err)
{
	struct diff *diff = ctx;
	_cleanup_views_ struct views views = {0};
	int r = views_open(&diff->files.source, &views, err);
	if (r < 0)
		return r;
	diff->result.journal_replayed = views.replayed;
	return form_write(diff->form, diff->out, diff->fork, &views.old, &views.new, &diff->options,
		&diff->result, err);
}

static int diff_fork(struct ramet_store *store, const struct store_fork *fork, struct diff *diff,
	struct ramet_error *err)
{
	struct fork_files *files = &diff->files;
	int r = fork_files_open(store, fork, files, err);
	if (r < 0)
		return r;
	diff->options.plain_root = !files->source.clone;
	const struct sandbox_limits limits = fork_files_limits(files);
	int fds[FORK_FILES_FDS];
	size_t fd_count = fork_files_fds(files, diff->out, fds);
	return sandbox_run(files->source.volume_name, &limits, diff_work, diff, fds, fd_count,
		&diff->result, sizeof diff->result, err);
}

int ramet_diff(struct ramet_store *store, const struct ramet_diff_options *options,
	struct ramet_diff_result *result, struct ramet_error *err)
{
	struct changes_limits limits;
	struct diff diff = {.form = form_find(options->form),
		.fork = options->name,
		.out = options->fd,
		.options = {.limits = &limits}};
	if (!diff.form)
		return error_set(err, EINVAL, "changes cannot be written as '%s'", options->form);
	_cleanup_fork_ struct store_fork fork = {0};
	_cleanup_lock_ struct store_lock lock = STORE_LOCK_NONE;
	int r = store_fork_find(store, options->name, &fork, err);
	if (r == 0)
		r = store_fork_lock(store, options->name, &lock, err);
	if (r == 0)
		r = store_fork_check_base(&fork, err);
	if (r == 0)
		r = changes_limits_parse(options->paths, &limits, err);
	if (r < 0)
		return r;
	r = diff_fork(store, &fork, &diff, err);
	changes_limits_free(&limits);
	fork_files_close(&diff.files);
	if (r == 0)
		*result = diff.result;
	return r;
}
