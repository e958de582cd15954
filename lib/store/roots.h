/* SPDX-License-Identifier: Apache-2.0 */
/* Where the folders of a lazy image are now, that were moved since it was built. */
#ifndef STORE_ROOTS_H
#define STORE_ROOTS_H

#include "store/store.h"

/* paths[i]: of root i, absolute; NULL, and beyond count: where the lazy file says. */
struct store_roots {
	char **paths;
	size_t count;
};
void store_roots_free(struct store_roots *roots);
#define _cleanup_roots_ __attribute__((cleanup(store_roots_free)))

/* Of the image of this row; none for row 0. */
int store_roots_find(struct ramet_store *store, int64_t image, struct store_roots *roots,
	struct ramet_error *err);
/* Note those that roots has; of the others what is known stays. */
int store_roots_set(struct ramet_store *store, int64_t image, const struct store_roots *roots,
	struct ramet_error *err);

#endif
