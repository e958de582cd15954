/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a fork changed. This process opens the base and the volume and takes the fork's lock; it
 * parses nothing of either. A child that can open nothing reads both and writes the answer.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/ranges.h"
#include "base/sandbox.h"
#include "base/text.h"
#include "changes/forms.h"
#include "changes/views.h"
#include "image/image.h"
#include "store/store.h"
#include "volume/volume.h"

/* What a child may take: the largest directories and texts fit, a volume made to eat memory or time
 * does not. The slowest form (a patch of noise) moves more than 2 MiB a second. */
#define CHILD_MEMORY           ((size_t)2 << 30)
#define CHILD_SECONDS          120
#define CHILD_BYTES_PER_SECOND (2 << 20)
#define CHILD_SECONDS_MAX      (24 * 3600)

struct diff {
	const struct form *form;
	const char *fork;
	int out;
	struct views_source source;
	struct range_list differences;
	struct changes_options options;
	struct ramet_diff_result result;
};

static int diff_work(void *ctx, struct ramet_error *err)
{
	struct diff *diff = ctx;
	_cleanup_views_ struct views views = {0};
	int r = views_open(&diff->source, &views, err);
	if (r < 0)
		return r;
	diff->result.journal_replayed = views.replayed;
	return form_write(diff->form, diff->out, diff->fork, &views.old, &views.new, &diff->options,
		&diff->result, err);
}

static unsigned seconds_for(int base_fd, int volume_fd)
{
	struct stat base, volume;
	if (fstat(base_fd, &base) < 0 || fstat(volume_fd, &volume) < 0)
		return CHILD_SECONDS;
	uint64_t bytes = ((uint64_t)base.st_blocks + (uint64_t)volume.st_blocks) * 512;
	return (unsigned)MIN(
		CHILD_SECONDS + bytes / CHILD_BYTES_PER_SECOND, (uint64_t)CHILD_SECONDS_MAX);
}

static int diff_in_child(struct diff *diff, struct ramet_error *err)
{
	const struct sandbox_limits limits = {.memory = CHILD_MEMORY,
		.cpu_seconds = seconds_for(diff->source.base_fd, diff->source.volume_fd)};
	const int fds[] = {diff->source.base_fd, diff->source.volume_fd, diff->out};
	return sandbox_run(diff->source.volume_name, &limits, diff_work, diff, fds, ARRAY_SIZE(fds),
		&diff->result, sizeof diff->result, err);
}

/* What the host knows of a clone, asked before the child is made, which may ask nothing. Where the
 * host cannot tell, all content is read. */
static int ask_host(const struct store_fork *fork, struct diff *diff, struct ramet_error *err)
{
	const struct volume_provider *provider = volume_provider_find(fork->provider);
	if (!diff->source.clone || !provider || !provider->differences)
		return 0;
	int r = provider->differences(
		diff->source.base_fd, diff->source.volume_fd, &diff->differences, err);
	if (r == 0)
		diff->source.differences = &diff->differences;
	return r == -EOPNOTSUPP || r == -E2BIG ? 0 : r;
}

static int diff_fork(const struct store_fork *fork, struct diff *diff, struct ramet_error *err)
{
	_cleanup_text_ struct text base_name = {0};
	_cleanup_text_ struct text volume_name = {0};
	text_format(&base_name, "the base %s", fork->base);
	text_format(&volume_name, "the volume of fork %s", fork->name);
	if (base_name.failed || volume_name.failed)
		return error_memory(err);
	_cleanup_close_ int base_fd = open(fork->base, O_RDONLY | O_CLOEXEC);
	if (base_fd < 0)
		return error_errno(err, errno, "cannot open %s", base_name.data);
	_cleanup_close_ int volume_fd = open(fork->volume, O_RDONLY | O_CLOEXEC);
	if (volume_fd < 0)
		return error_errno(
			err, errno, "cannot open %s, %s", volume_name.data, fork->volume);
	const struct image_format *format = image_format_find(fork->format);
	if (!format)
		return error_set(err, ENOTSUP, "%s is in a format, %s, that this ramet cannot read",
			base_name.data, fork->format);
	diff->source = (struct views_source){.format = format,
		.clone = strcmp(fork->mode, "clone") == 0,
		.base_fd = base_fd,
		.volume_fd = volume_fd,
		.base_name = base_name.data,
		.volume_name = volume_name.data};
	diff->options.plain_root = !diff->source.clone;
	int r = ask_host(fork, diff, err);
	return r < 0 ? r : diff_in_child(diff, err);
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
	if (r == 0 && fork.layers.count)
		r = error_set(
			err, EOPNOTSUPP, "the changes of a fork with layers cannot be told yet");
	if (r == 0)
		r = changes_limits_parse(options->paths, &limits, err);
	if (r < 0)
		return r;
	r = diff_fork(&fork, &diff, err);
	changes_limits_free(&limits);
	ranges_free(&diff.differences);
	if (r == 0)
		*result = diff.result;
	return r;
}
