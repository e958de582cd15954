/* SPDX-License-Identifier: Apache-2.0 */
#include "store/roots.h"

#include <errno.h>
#include <stdlib.h>

#include "source/tree.h"
#include "store/catalogue.h"

void store_roots_free(struct store_roots *roots)
{
	for (size_t i = 0; i < roots->count; i++)
		free(roots->paths[i]);
	free(roots->paths);
	*roots = (struct store_roots){0};
}

static int put(struct store_roots *roots, sqlite3_stmt *row, struct ramet_error *err)
{
	int64_t number = sqlite3_column_int64(row, 0);
	if (number < 0 || number >= TREE_MOST_ORIGINS)
		return error_set(err, EUCLEAN, "the catalogue has a folder of number %lld",
			(long long)number);
	size_t count = (size_t)number + 1;
	if (count > roots->count) {
		char **grown = reallocarray(roots->paths, count, sizeof *grown);
		if (!grown)
			return error_memory(err);
		roots->paths = grown;
		while (roots->count < count)
			grown[roots->count++] = NULL;
	}
	roots->paths[number] = catalogue_text(row, 1);
	return roots->paths[number] ? 0 : error_memory(err);
}

int store_roots_find(struct ramet_store *store, int64_t image, struct store_roots *roots,
	struct ramet_error *err)
{
	*roots = (struct store_roots){0};
	if (!image)
		return 0;
	_cleanup_statement_ sqlite3_stmt *query = NULL;
	int r = catalogue_prepare(store, &query, err,
		"SELECT number, path FROM image_root WHERE image = ?", "i", image);
	while (r == 0 && (r = catalogue_step(store, query, err)) > 0)
		r = put(roots, query, err);
	if (r < 0)
		store_roots_free(roots);
	return r;
}

int store_roots_set(struct ramet_store *store, int64_t image, const struct store_roots *roots,
	struct ramet_error *err)
{
	_cleanup_transaction_ struct transaction transaction;
	int r = transaction_begin(&transaction, store, true, err);
	for (size_t i = 0; i < roots->count && r == 0; i++)
		if (roots->paths[i])
			r = catalogue_run(store, err,
				"INSERT OR REPLACE INTO image_root VALUES(?, ?, ?)", "iis", image,
				(int64_t)i, roots->paths[i]);
	return r < 0 ? r : transaction_commit(&transaction, err);
}
