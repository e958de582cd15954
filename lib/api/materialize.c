/* SPDX-License-Identifier: Apache-2.0 */
/* Which lazy images are meant; then one after the other, here or in the background. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "api/materialize_job.h"
#include "base/cleanup.h"

/* Calls each for every lazy image that a fork stands on. */
struct lazies {
	int (*each)(void *ctx, int64_t image, const char *path, struct ramet_error *err);
	void *ctx;
	bool one; /* there must not be several */
};

static int each_of_fork(
	const struct store_fork *fork, const struct lazies *lazies, struct ramet_error *err)
{
	size_t count = fork->base_lazy;
	for (size_t i = 0; i < fork->layers.count; i++)
		count += fork->layers.items[i].lazy;
	if (!count)
		return error_set(err, EINVAL,
			"the fork %s stands on no lazy image: there is nothing to materialize",
			fork->name);
	if (count > 1 && lazies->one)
		return error_set(err, EINVAL,
			"the fork %s stands on %zu lazy images: name the one that is meant by its "
			"file",
			fork->name, count);
	int r = fork->base_lazy ? lazies->each(lazies->ctx, fork->base_image, fork->base, err) : 0;
	for (size_t i = 0; i < fork->layers.count && r == 0; i++) {
		const struct store_layer *layer = &fork->layers.items[i];
		if (layer->lazy)
			r = lazies->each(lazies->ctx, layer->image, layer->path, err);
	}
	return r;
}

/* name is a fork, where there is one of that name, or a file: 0 for its row. */
static int each_lazy(struct ramet_store *store, const char *name, const struct lazies *lazies,
	struct ramet_error *err)
{
	_cleanup_fork_ struct store_fork fork = {0};
	if (!store || strchr(name, '/'))
		return lazies->each(lazies->ctx, 0, name, err);
	struct ramet_error failure = {0};
	int r = store_fork_find(store, name, &fork, &failure);
	if (r == 0)
		return each_of_fork(&fork, lazies, err);
	if (r != -ENOENT)
		return error_set(err, -r, "%s", failure.message);
	struct stat st;
	if (stat(name, &st) < 0)
		return error_set(
			err, ENOENT, "there is neither a fork nor a lazy image called %s", name);
	return lazies->each(lazies->ctx, 0, name, err);
}

/* ------------------------------------------------------------------------------------------- */

struct adding {
	struct ramet_store *store;
	const struct ramet_materialize_options *options;
	struct materialize_jobs jobs;
};

static int add(void *ctx, int64_t image, const char *path, struct ramet_error *err)
{
	struct adding *adding = ctx;
	return materialize_add(&adding->jobs, adding->store, adding->options, path, err);
}

static void tell(const struct materialize_job *job)
{
	const struct ramet_materialized image = {
		.lazy = job->lazy,
		.image = job->already ? job->image.plain : job->path.data,
		.format = job->base.format->name,
		.already = job->already,
		.image_bytes = job->base.image_bytes,
		.content_bytes = job->written.bytes_read,
		.bytes_written = job->written.bytes_written,
		.seconds = job->seconds,
		.digest = job->written.digest,
	};
	if (job->options->done)
		job->options->done(job->options->done_ctx, &image);
}

/* One after the other; those that one's failure leaves have failed too. */
static int make_all(struct materialize_jobs *jobs, struct ramet_error *err)
{
	struct ramet_error failure = {0};
	int r = 0;
	for (size_t i = 0; i < jobs->count; i++) {
		struct materialize_job *job = &jobs->items[i];
		if (job->under_way)
			continue;
		if (r == 0 && !job->already)
			r = materialize_make(job, &failure);
		else if (r < 0)
			materializing_fail(&job->work, &failure);
		if (r == 0)
			tell(job);
	}
	return r < 0 ? error_set(err, -r, "%s", failure.message) : 0;
}

int materialize_all(struct ramet_store *store, const struct ramet_materialize_options *options,
	int (*begun)(void *ctx, const struct materialize_jobs *jobs, struct ramet_error *err),
	void *ctx, struct ramet_error *err)
{
	struct adding adding = {.store = store, .options = options};
	const struct lazies lazies = {.each = add, .ctx = &adding, .one = options->output};
	if (store)
		materializing_sweep(store);
	int r = each_lazy(store, options->name, &lazies, err);
	for (size_t i = 0; i < adding.jobs.count && r == 0; i++)
		r = materialize_prepare(&adding.jobs.items[i], err);
	if (r == 0 && begun)
		r = begun(ctx, &adding.jobs, err);
	/* What was only prepared leaves no word of it. */
	for (size_t i = 0; i < adding.jobs.count && r < 0; i++)
		materializing_done(&adding.jobs.items[i].work);
	if (r == 0)
		r = make_all(&adding.jobs, err);
	materialize_jobs_free(&adding.jobs);
	return r;
}

int ramet_materialize(struct ramet_store *store, const struct ramet_materialize_options *options,
	struct ramet_error *err)
{
	return options->background ? materialize_in_background(store, options, err)
				   : materialize_all(store, options, NULL, NULL, err);
}

/* ------------------------------------------------------------------------------------------- */

struct stopping {
	struct ramet_store *store;
	void (*each)(void *ctx, const char *lazy, bool stopped);
	void *ctx;
};

static int find_row(
	struct ramet_store *store, const char *path, int64_t *image, struct ramet_error *err)
{
	_cleanup_lazy_base_ struct lazy_base base = LAZY_BASE_NONE;
	_cleanup_image_ struct store_image row = {0};
	int r = lazy_base_open(&base, path, err);
	if (r == 0)
		r = store_image_find(store, base.fd, path, &row, err);
	*image = row.id;
	return r;
}

static int stop(void *ctx, int64_t image, const char *path, struct ramet_error *err)
{
	const struct stopping *stopping = ctx;
	bool stopped = false;
	int r = image ? 0 : find_row(stopping->store, path, &image, err);
	if (r == 0 && image)
		r = materializing_stop(stopping->store, image, path, &stopped, err);
	if (r == 0 && stopping->each)
		stopping->each(stopping->ctx, path, stopped);
	return r;
}

int ramet_materialize_stop(struct ramet_store *store, const char *name,
	void (*each)(void *ctx, const char *lazy, bool stopped), void *ctx, struct ramet_error *err)
{
	struct stopping stopping = {.store = store, .each = each, .ctx = ctx};
	const struct lazies lazies = {.each = stop, .ctx = &stopping};
	return each_lazy(store, name, &lazies, err);
}
