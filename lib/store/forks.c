/* SPDX-License-Identifier: Apache-2.0 */
/* Looking forks up. Only what is 'ready' is ever seen: the rest is being made or removed. */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/vector.h"
#include "store/catalogue.h"
#include "store/images.h"

#define COLUMNS \
	"SELECT f.id, f.name, i.path, i.format, i.read_only_paths, f.mode, f.provider, f.size, " \
	"f.created, i.size, i.mtime_ns, i.inode FROM fork f JOIN image i ON i.id = f.image " \
	"WHERE f.state = 'ready'"

void store_fork_free(struct store_fork *fork)
{
	free(fork->name);
	free(fork->base);
	free(fork->format);
	free(fork->read_only_paths);
	free(fork->mode);
	free(fork->provider);
	free(fork->folder);
	free(fork->volume);
	*fork = (struct store_fork){0};
}

static int read_row(struct ramet_store *store, sqlite3_stmt *row, struct store_fork *fork,
	struct ramet_error *err)
{
	*fork = (struct store_fork){
		.id = sqlite3_column_int64(row, 0),
		.name = catalogue_text(row, 1),
		.base = catalogue_text(row, 2),
		.format = catalogue_text(row, 3),
		.read_only_paths = catalogue_text(row, 4),
		.mode = catalogue_text(row, 5),
		.provider = catalogue_text(row, 6),
		.size = (uint64_t)sqlite3_column_int64(row, 7),
		.created = sqlite3_column_int64(row, 8),
	};
	if (fork->name && asprintf(&fork->folder, "%s/forks/%s", store->root, fork->name) < 0)
		fork->folder = NULL;
	if (fork->folder && asprintf(&fork->volume, "%s/volume", fork->folder) < 0)
		fork->volume = NULL;
	if (!fork->name || !fork->base || !fork->format || !fork->read_only_paths || !fork->mode ||
		!fork->provider || !fork->volume) {
		store_fork_free(fork);
		return error_memory(err);
	}
	fork->base_state = store_image_state(fork->base, sqlite3_column_int64(row, 9),
		sqlite3_column_int64(row, 10), sqlite3_column_int64(row, 11));
	return 0;
}

int store_fork_find(struct ramet_store *store, const char *name, struct store_fork *fork,
	struct ramet_error *err)
{
	*fork = (struct store_fork){0};
	_cleanup_statement_ sqlite3_stmt *query = NULL;
	int r = catalogue_prepare(store, &query, err, COLUMNS " AND f.name = ?", "s", name);
	if (r == 0)
		r = catalogue_step(store, query, err);
	if (r < 0)
		return r;
	if (r == 0)
		return error_set(err, ENOENT, "there is no fork called %s in the store %s", name,
			store->root);
	return read_row(store, query, fork, err);
}

int store_fork_check_base(const struct store_fork *fork, struct ramet_error *err)
{
	if (strcmp(fork->base_state, "missing") == 0)
		return error_set(err, ESTALE,
			"the base of fork %s, %s, is not there any more; put it back where it was",
			fork->name, fork->base);
	if (strcmp(fork->base_state, "changed") == 0)
		return error_set(err, ESTALE,
			"the base of fork %s, %s, was changed after the fork was made (its size, "
			"time or inode differs); what the fork wrote does not fit it",
			fork->name, fork->base);
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	return strverscmp(
		((const struct store_fork *)a)->name, ((const struct store_fork *)b)->name);
}

int store_forks_list(struct ramet_store *store, struct store_forks *forks, struct ramet_error *err)
{
	*forks = (struct store_forks){0};
	_cleanup_statement_ sqlite3_stmt *query = NULL;
	int r = catalogue_prepare(store, &query, err, COLUMNS, "");
	while (r == 0 && (r = catalogue_step(store, query, err)) > 0) {
		struct store_fork *fork = vector_push(forks);
		if (!fork) {
			r = error_memory(err);
			break;
		}
		r = read_row(store, query, fork, err);
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
