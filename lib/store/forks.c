/* SPDX-License-Identifier: Apache-2.0 */
/* Looking forks up. Only what is 'ready' is ever seen: the rest is being made or removed. */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "base/vector.h"
#include "store/catalogue.h"
#include "store/images.h"

#define COLUMNS \
	"SELECT f.id, f.name, i.path, i.format, i.read_only_paths, i.process, f.mode, f.provider, " \
	"f.size, f.created, i.size, i.mtime_ns, i.inode, " \
	"EXISTS (SELECT 1 FROM fork_layer WHERE fork = f.id), i.id, i.lazy, i.made, " \
	"m.path, m.size, m.mtime_ns, m.inode, i.digest " \
	"FROM fork f JOIN image i ON i.id = f.image " LAYER_JOIN "WHERE f.state = 'ready'"

/* Looking up many forks: their layers are asked for with one statement. */
struct reader {
	struct ramet_store *store;
	sqlite3_stmt *forks, *layers;
};

static void reader_release(struct reader *reader)
{
	sqlite3_finalize(reader->forks);
	sqlite3_finalize(reader->layers);
}
#define _cleanup_reader_ __attribute__((cleanup(reader_release)))

void store_fork_free(struct store_fork *fork)
{
	free(fork->name);
	free(fork->base);
	free(fork->format);
	free(fork->base_plain);
	free(fork->base_digest);
	store_layers_free(&fork->layers);
	free(fork->read_only_paths);
	free(fork->process);
	free(fork->mode);
	free(fork->provider);
	free(fork->folder);
	free(fork->volume);
	*fork = (struct store_fork){0};
}

static int read_layers(struct reader *reader, struct store_fork *fork, struct ramet_error *err)
{
	int r = 0;
	if (!reader->layers)
		r = catalogue_prepare(reader->store, &reader->layers, err,
			"SELECT " LAYER_COLUMNS ", i.read_only_paths, i.process, "
			"EXISTS (SELECT 1 FROM image_parent WHERE image = i.id) "
			"FROM fork_layer l JOIN image i ON i.id = l.image " LAYER_JOIN
			"WHERE l.fork = ? "
			"ORDER BY l.position",
			"");
	if (r < 0)
		return r;
	sqlite3_reset(reader->layers);
	sqlite3_bind_int64(reader->layers, 1, fork->id);
	while ((r = catalogue_step(reader->store, reader->layers, err)) > 0) {
		r = store_layer_push(&fork->layers, reader->layers, err);
		if (r == 0 && store_layer_facts(&fork->read_only_paths, &fork->process,
				      reader->layers, LAYER_COLUMN_COUNT) < 0)
			r = error_memory(err);
		if (r < 0)
			break;
	}
	return r;
}

static int read_strings(const struct ramet_store *store, sqlite3_stmt *row, struct store_fork *fork)
{
	*fork = (struct store_fork){
		.id = sqlite3_column_int64(row, 0),
		.name = catalogue_text(row, 1),
		.base = catalogue_text(row, 2),
		.format = catalogue_text(row, 3),
		.read_only_paths = catalogue_text(row, 4),
		.process = catalogue_text(row, 5),
		.mode = catalogue_text(row, 6),
		.provider = catalogue_text(row, 7),
		.size = (uint64_t)sqlite3_column_int64(row, 8),
		.created = sqlite3_column_int64(row, 9),
		.base_image = sqlite3_column_int64(row, 14),
		.base_lazy = sqlite3_column_int(row, 15),
		.base_made = sqlite3_column_int(row, 16),
		.base_digest = catalogue_text(row, 21),
	};
	if (fork->name && asprintf(&fork->folder, "%s/forks/%s", store->root, fork->name) < 0)
		fork->folder = NULL;
	if (fork->folder && asprintf(&fork->volume, "%s/volume", fork->folder) < 0)
		fork->volume = NULL;
	bool whole = fork->name && fork->base && fork->format && fork->read_only_paths &&
		     fork->process && fork->base_digest && fork->mode && fork->provider &&
		     fork->volume;
	return whole ? 0 : -ENOMEM;
}

static int read_row(struct reader *reader, struct store_fork *fork, struct ramet_error *err)
{
	sqlite3_stmt *row = reader->forks;
	int r = read_strings(reader->store, row, fork) < 0 ? error_memory(err) : 0;
	if (r == 0) {
		fork->base_state = store_image_state(fork->base, sqlite3_column_int64(row, 10),
			sqlite3_column_int64(row, 11), sqlite3_column_int64(row, 12));
		if (store_image_plain(row, 17, fork->base_lazy, fork->base, &fork->base_state,
			    &fork->base_plain) < 0)
			r = error_memory(err);
		if (r == 0 && sqlite3_column_int(row, 13))
			r = read_layers(reader, fork, err);
	}
	if (r < 0)
		store_fork_free(fork);
	return r;
}

int store_fork_find(struct ramet_store *store, const char *name, struct store_fork *fork,
	struct ramet_error *err)
{
	*fork = (struct store_fork){0};
	_cleanup_reader_ struct reader reader = {.store = store};
	int r = catalogue_prepare(store, &reader.forks, err, COLUMNS " AND f.name = ?", "s", name);
	if (r == 0)
		r = catalogue_step(store, reader.forks, err);
	if (r < 0)
		return r;
	if (r == 0)
		return error_set(err, ENOENT, "there is no fork called %s in the store %s", name,
			store->root);
	return read_row(&reader, fork, err);
}

static int check_state(const struct store_fork *fork, const char *what, const char *path,
	const char *state, struct ramet_error *err)
{
	if (strcmp(state, "missing") == 0)
		return error_set(err, ESTALE,
			"the %s of fork %s, %s, is not there any more; put it back where it was",
			what, fork->name, path);
	if (strcmp(state, "changed") == 0)
		return error_set(err, ESTALE,
			"the %s of fork %s, %s, was changed after the fork was made (its size, "
			"time or inode differs); what the fork wrote does not fit it",
			what, fork->name, path);
	return 0;
}

int store_fork_check_base(const struct store_fork *fork, struct ramet_error *err)
{
	int r = check_state(fork, "base", fork->base, fork->base_state, err);
	for (size_t i = 0; r == 0 && i < fork->layers.count; i++) {
		const struct store_layer *layer = &fork->layers.items[i];
		r = check_state(fork, "layer", layer->path, layer->state, err);
	}
	return r;
}

static int compare_names(const void *a, const void *b)
{
	return strverscmp(
		((const struct store_fork *)a)->name, ((const struct store_fork *)b)->name);
}

int store_forks_list(struct ramet_store *store, struct store_forks *forks, struct ramet_error *err)
{
	*forks = (struct store_forks){0};
	_cleanup_reader_ struct reader reader = {.store = store};
	int r = catalogue_prepare(store, &reader.forks, err, COLUMNS, "");
	while (r == 0 && (r = catalogue_step(store, reader.forks, err)) > 0) {
		struct store_fork *fork = vector_push(forks);
		if (!fork) {
			r = error_memory(err);
			break;
		}
		r = read_row(&reader, fork, err);
	}
	if (r < 0)
		store_forks_free(forks);
	else if (forks->count)
		qsort(forks->items, forks->count, sizeof *forks->items, compare_names);
	return r;
}

void store_forks_free(struct store_forks *forks)
{
	for (size_t i = 0; i < forks->count; i++)
		store_fork_free(&forks->items[i]);
	vector_free(forks);
}
