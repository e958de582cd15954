/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an image is: its own word (the superblock), its tree (counted in a child), the file, and what
 * the catalogue knows of it.
 */
#include <errno.h>
#include <string.h>

#include "api/materializing.h"
#include "api/place.h"
#include "base/cleanup.h"
#include "base/file_digest.h"
#include "look/look.h"
#include "store/roots.h"

/* What comes back from the child. */
struct said {
	struct image_facts facts;
	struct census census;
};

struct inspect {
	const struct ramet_inspect_options *options;
	struct place place;
	struct store_image image;
	struct store_layers parents;
	struct store_names forks;
	const char **parent_paths;
	struct said said;
	struct materializing becoming;
	struct ramet_materializing told;
	struct store_roots moved; /* where folders of a lazy image are noted to be */
};

static int inspect_work(void *ctx, struct ramet_error *err)
{
	struct inspect *inspect = ctx;
	const struct chain_image *image = &inspect->place.chain.items[0];
	_cleanup_place_view_ struct place_view view = {0};
	int fd = image->feed ? lazy_feed_metadata(image->feed) : image->fd;
	int r = 0;
	if (image->format->describe)
		r = image->format->describe(fd, &inspect->said.facts, err);
	if (r == 0 && !inspect->options->no_count)
		r = place_view_open(&inspect->place, &view, err);
	if (r == 0 && !inspect->options->no_count)
		r = look_census(&view.view, &inspect->said.census, err);
	return r;
}

/* The strings are a stranger's, and were handed over by a child that read them. */
static void make_safe(struct image_facts *facts)
{
	const struct {
		char *text;
		size_t size;
	} strings[] = {{facts->version, sizeof facts->version},
		{facts->compression, sizeof facts->compression},
		{facts->label, sizeof facts->label}, {facts->uuid, sizeof facts->uuid},
		{facts->features, sizeof facts->features}, {facts->journal, sizeof facts->journal},
		{facts->state, sizeof facts->state}};
	for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
		strings[i].text[strings[i].size - 1] = '\0';
		text_disarm(strings[i].text);
	}
}

static int make_digest(struct ramet_store *store, struct inspect *inspect, struct ramet_error *err)
{
	const struct chain_image *item = &inspect->place.chain.items[0];
	struct store_image *image = &inspect->image;
	char digest[FILE_DIGEST_SIZE];
	int r = file_digest(item->fd, digest);
	if (r < 0)
		return error_errno(err, -r, "cannot read %s", item->path);
	r = chain_check_unchanged(&inspect->place.chain, "read", err);
	if (r == 0 && store && !image->id) {
		const struct store_image_facts facts = {
			.format = item->format->name, .digest = digest, .lazy = item->lazy};
		r = store_image_insert(store, image, &facts, err);
	} else if (r == 0 && store) {
		r = store_image_set_digest(store, image, digest, err);
	}
	if (r < 0)
		return r;
	free(image->digest);
	image->digest = strdup(digest);
	return image->digest ? 0 : error_memory(err);
}

static int ask_catalogue(
	struct ramet_store *store, struct inspect *inspect, struct ramet_error *err)
{
	const struct chain_image *item = &inspect->place.chain.items[0];
	struct store_image *image = &inspect->image;
	int r = 0;
	if (store)
		r = store_image_find(store, item->fd, item->path, image, err);
	if (r == 0 && inspect->options->digest && (!image->digest || !*image->digest))
		r = make_digest(store, inspect, err);
	if (r < 0 || !image->id)
		return r;
	r = store_image_parents(store, image->id, &inspect->parents, err);
	if (r == 0 && item->lazy && !image->plain)
		r = materializing_find(store, image->id, &inspect->becoming, err);
	if (r == 0)
		r = store_roots_find(store, image->id, &inspect->moved, err);
	if (r == 0)
		r = store_image_forks(store, image->id, &inspect->forks, err);
	if (r < 0)
		return r;
	inspect->parent_paths = calloc(inspect->parents.count + 1, sizeof(char *));
	if (!inspect->parent_paths)
		return error_memory(err);
	for (size_t i = 0; i < inspect->parents.count; i++)
		inspect->parent_paths[i] = inspect->parents.items[i].path;
	return 0;
}

static const char *or_empty(const char *text)
{
	return text ? text : "";
}

static void tell_census(const struct census *census, struct ramet_inspection *to)
{
	to->counted = true;
	to->entries = census->entries;
	to->files = census->files;
	to->directories = census->directories;
	to->symlinks = census->symlinks;
	to->character_devices = census->character_devices;
	to->block_devices = census->block_devices;
	to->fifos = census->fifos;
	to->sockets = census->sockets;
	to->hard_links = census->hard_links;
	to->content_bytes = census->content_bytes;
	to->xattrs = census->xattrs;
	to->with_xattrs = census->with_xattrs;
	to->whiteouts = census->whiteouts;
	to->opaque = census->opaque;
	to->redirects = census->redirects;
}

/* The roots live as long as the feed; the caller frees the list. */
static int tell_lazy(const struct lazy *lazy, const struct store_roots *moved,
	struct ramet_inspection *to, struct ramet_error *err)
{
	const struct lazy_places places = {(const char *const *)moved->paths, moved->count};
	struct lazy_facts facts;
	lazy_describe(lazy, &facts);
	const char **roots = calloc((size_t)facts.roots + 1, sizeof *roots);
	if (!roots)
		return error_memory(err);
	for (uint32_t i = 0; i < facts.roots; i++)
		roots[i] = lazy_place(lazy, &places, i);
	to->lazy = true;
	to->lazy_image_bytes = facts.image_bytes;
	to->lazy_files = facts.files;
	to->lazy_extents = facts.extents;
	to->lazy_metadata_bytes = facts.metadata_bytes;
	to->lazy_roots = roots;
	to->lazy_root_count = facts.roots;
	return 0;
}

static int tell(
	struct inspect *inspect, ramet_inspection_fn each, void *ctx, struct ramet_error *err)
{
	const struct chain_image *item = &inspect->place.chain.items[0];
	const struct image_facts *facts = &inspect->said.facts;
	const struct store_image *image = &inspect->image;
	_cleanup_free_ char *absolute = realpath(item->path, NULL);
	struct ramet_inspection to = {
		.path = absolute ? absolute : item->path,
		.format = item->format->name,
		.version = facts->version,
		.compression = facts->compression,
		.label = facts->label,
		.uuid = facts->uuid,
		.features = facts->features,
		.journal = facts->journal,
		.fs_state = facts->state,
		.level = facts->level,
		.file_bytes = (uint64_t)item->image.st.st_size,
		.allocated_bytes = (uint64_t)item->image.st.st_blocks * 512,
		.used_bytes = facts->used,
		.block_size = facts->block_size,
		.inodes = facts->inodes,
		.fragments = facts->fragments,
		.journal_bytes = facts->journal_bytes,
		.exportable = facts->exportable,
		.has_time = facts->has_time,
		.time = facts->time,
		.known = image->id != 0,
		.created = image->created,
		.digest = or_empty(image->digest),
		.read_only_paths = or_empty(image->read_only_paths),
		.process = or_empty(image->process),
		.parents = inspect->parent_paths,
		.parent_count = inspect->parents.count,
		.forks = (const char *const *)inspect->forks.items,
		.fork_count = inspect->forks.count,
	};
	if (!inspect->options->no_count)
		tell_census(&inspect->said.census, &to);
	int r = item->feed ? tell_lazy(lazy_feed_lazy(item->feed), &inspect->moved, &to, err) : 0;
	to.lazy_materialized = item->lazy ? image->plain : NULL;
	to.lazy_materializing = materializing_tell(&inspect->becoming, &inspect->told);
	if (r == 0)
		r = each(ctx, &to);
	free((void *)(uintptr_t)to.lazy_roots);
	return r;
}

static int inspect_image(struct ramet_store *store, struct inspect *inspect,
	ramet_inspection_fn each, void *ctx, struct ramet_error *err)
{
	const struct ramet_place where = {.image = inspect->options->image};
	int r = place_open(&inspect->place, &where, err);
	if (r == 0)
		r = place_run(&inspect->place, inspect_work, inspect, -1, &inspect->said,
			sizeof inspect->said, err);
	make_safe(&inspect->said.facts);
	if (r == 0)
		r = ask_catalogue(store, inspect, err);
	return r < 0 ? r : tell(inspect, each, ctx, err);
}

int ramet_inspect(struct ramet_store *store, const struct ramet_inspect_options *options,
	ramet_inspection_fn each, void *ctx, struct ramet_error *err)
{
	struct inspect inspect = {.options = options};
	int r = inspect_image(store, &inspect, each, ctx, err);
	free(inspect.parent_paths);
	materializing_free(&inspect.becoming);
	store_roots_free(&inspect.moved);
	store_names_free(&inspect.forks);
	store_layers_free(&inspect.parents);
	store_image_free(&inspect.image);
	place_close(&inspect.place);
	return r;
}
