/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "api/chain.h"
#include "api/fork_lazy.h"
#include "base/cleanup.h"
#include "store/batch.h"
#include "volume/volume.h"

/* No image may change while it is cloned, or between the look at it and the forks' birth. */
static int make_forks(struct ramet_store *store, const struct store_plan *plan,
	struct volume_batch *volumes, const struct chain *chain, struct ramet_error *err)
{
	_cleanup_batch_ struct store_batch batch;
	int r = store_batch_begin(store, plan, &batch, err);
	volumes->sync_each = batch.sync_each;
	for (unsigned i = 0; r == 0 && i < store_plan_count(plan); i++) {
		char name[STORE_NAME_SIZE];
		store_plan_name(plan, i, name);
		_cleanup_close_ int folder = store_batch_folder(&batch, i, err);
		r = folder < 0 ? folder : volumes->provider->create(volumes, folder, name, err);
	}
	if (r == 0)
		r = chain_check_unchanged(chain, "forked", err);
	return r < 0 ? r : store_batch_finish(&batch, err);
}

static void plan_images(
	struct store_plan *plan, const struct chain *chain, int64_t layers[static RAMET_CHAIN_MAX])
{
	plan->image = chain->items[0].image.id;
	plan->layers = layers;
	plan->layer_count = chain->count - 1;
	for (size_t i = 1; i < chain->count; i++)
		layers[i - 1] = chain->items[i].image.id;
}

static int check_format(const struct ramet_fork_options *options, struct ramet_error *err)
{
	if (!options->format || image_format_find(options->format))
		return 0;
	return error_set(err, EINVAL, "there is no format called %s", options->format);
}

static int fork_images(struct ramet_store *store, const struct ramet_fork_options *options,
	const char *bottom, struct ramet_fork_result *result, struct ramet_error *err)
{
	struct store_plan plan = {.name = options->name, .count = options->count};
	_cleanup_chain_ struct chain chain = {0};
	int r = chain_open(store, bottom, options->layers, &chain, err);
	if (r < 0)
		return r;
	const struct volume_place place = {.dirfd = store->dirfd, .root = store->root};
	const struct volume_base base = {.fd = chain.items[0].fd,
		.path = options->base,
		.format = chain.items[0].format->name,
		.size = (uint64_t)chain.items[0].image.st.st_size,
		.layers = chain.count - 1,
		.lazy = chain.items[0].lazy};
	const struct volume_provider *provider;
	r = volume_choose(
		options->provider, &place, &base, options->size, &provider, result->reason, err);
	if (r < 0)
		return r;
	_cleanup_volumes_ struct volume_batch *volumes = NULL;
	r = provider->open(&place, &base, options->size, &volumes, err);
	if (r < 0)
		return r;
	int64_t layers[RAMET_CHAIN_MAX];
	plan_images(&plan, &chain, layers);
	plan.provider = result->provider = provider->name;
	plan.mode = result->mode = provider->mode;
	plan.size = volumes->size;
	result->size = volumes->size;
	return make_forks(store, &plan, volumes, &chain, err);
}

int ramet_fork(struct ramet_store *store, const struct ramet_fork_options *options,
	struct ramet_fork_result *result, struct ramet_error *err)
{
	const struct store_plan plan = {.name = options->name, .count = options->count};
	struct stat st;
	*result = (struct ramet_fork_result){0};
	int r = store_plan_check(&plan, err);
	if (r == 0)
		r = check_format(options, err);
	if (r < 0)
		return r;
	if (stat(options->base, &st) < 0 || !S_ISDIR(st.st_mode)) {
		if (options->format)
			return error_set(err, EINVAL,
				"%s is no folder, of which an image of a format could be made",
				options->base);
		return fork_images(store, options, options->base, result, err);
	}
	struct fork_lazy lazy = FORK_LAZY_NONE;
	r = fork_lazy_make(store, options, &lazy, result, err);
	if (r == 0)
		r = fork_images(store, options, lazy.path.data, result, err);
	fork_lazy_end(&lazy);
	if (r < 0)
		fork_lazy_sweep(store);
	return r;
}
