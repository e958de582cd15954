/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <string.h>

#include "api/materializing.h"
#include "base/cleanup.h"
#include "store/images.h"
#include "volume/volume.h"

/* What the volume takes; 0 when it cannot be told, as for a fork that is going just now. */
static uint64_t allocated_bytes(struct ramet_store *store, const struct store_fork *fork)
{
	const struct volume_provider *provider = volume_provider_find(fork->provider);
	_cleanup_close_ int folder = openat(
		store->forks_fd, fork->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint64_t bytes = 0;
	if (!provider || folder < 0 || provider->allocated(folder, &bytes) < 0)
		return 0;
	return bytes;
}

/* What becomes plain files of a fork's lazy images: the base, then the layers. */
struct becoming {
	struct materializing found[1 + RAMET_CHAIN_MAX];
	struct ramet_materializing told[1 + RAMET_CHAIN_MAX];
};

static void becoming_release(struct becoming *becoming)
{
	for (size_t i = 0; i < ARRAY_SIZE(becoming->found); i++)
		materializing_free(&becoming->found[i]);
}

/* What cannot be read is not told. */
static const struct ramet_materializing *look(struct ramet_store *store, int64_t image,
	const char *plain, struct becoming *becoming, size_t i)
{
	struct ramet_error ignored;
	if (plain || materializing_find(store, image, &becoming->found[i], &ignored) < 0)
		return NULL;
	return materializing_tell(&becoming->found[i], &becoming->told[i]);
}

static int tell(
	struct ramet_store *store, const struct store_fork *fork, ramet_fork_fn each, void *ctx)
{
	struct ramet_layer_info layers[RAMET_CHAIN_MAX];
	__attribute__((cleanup(becoming_release))) struct becoming becoming = {0};
	size_t layer_count = MIN(fork->layers.count, ARRAY_SIZE(layers));
	for (size_t i = 0; i < layer_count; i++) {
		const struct store_layer *layer = &fork->layers.items[i];
		layers[i] = (struct ramet_layer_info){layer->path, layer->format, layer->state,
			layer->lazy, layer->lazy ? layer->plain : NULL,
			look(store, layer->image, layer->plain, &becoming, i + 1)};
	}
	const struct ramet_fork_info info = {
		.name = fork->name,
		.base = fork->base,
		.format = fork->format,
		.mode = fork->mode,
		.provider = fork->provider,
		.volume = fork->volume,
		.base_state = fork->base_state,
		.base_lazy = fork->base_lazy,
		.base_materialized = fork->base_lazy ? fork->base_plain : NULL,
		.base_materializing = look(store, fork->base_image, fork->base_plain, &becoming, 0),
		.layers = layers,
		.layer_count = layer_count,
		.process = fork->process,
		.read_only_paths = fork->read_only_paths,
		.size = fork->size,
		.allocated = allocated_bytes(store, fork),
		.created = fork->created,
		.holder = store_fork_holder(store, fork->name),
	};
	return each(ctx, &info);
}

int ramet_forks(struct ramet_store *store, const char *name, ramet_fork_fn each, void *ctx,
	struct ramet_error *err)
{
	if (name) {
		_cleanup_fork_ struct store_fork fork = {0};
		int r = store_fork_find(store, name, &fork, err);
		return r < 0 ? r : tell(store, &fork, each, ctx);
	}
	_cleanup_forks_ struct store_forks forks = {0};
	int r = store_forks_list(store, &forks, err);
	for (size_t i = 0; r == 0 && i < forks.count; i++)
		r = tell(store, &forks.items[i], each, ctx);
	return r;
}

int ramet_images(struct ramet_store *store, ramet_image_fn each, void *ctx, struct ramet_error *err)
{
	_cleanup_images_ struct store_images images = {0};
	int r = store_images_list(store, &images, err);
	for (size_t i = 0; r == 0 && i < images.count; i++)
		r = each(ctx, &images.items[i].info);
	return r;
}
