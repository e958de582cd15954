/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `ramet fork DIR NAME`: a lazy base is made on the spot, in ROOT/lazy, and goes with the last fork that
 * stands on it. Whoever makes one shares a lock on that folder until its forks are there; a sweep, which
 * removes what no fork stands on, wants it alone, and leaves it to the next one otherwise.
 */
#ifndef API_FORK_LAZY_H
#define API_FORK_LAZY_H

#include "base/text.h"
#include "store/store.h"

struct fork_lazy {
	int folder;       /* ROOT/lazy, locked; -1: the base is no folder */
	struct text path; /* of the lazy file */
};
#define FORK_LAZY_NONE \
	{ \
		.folder = -1 \
	}

/* Walk options->base, which is a folder, into a lazy file, and note it. */
int fork_lazy_make(struct ramet_store *store, const struct ramet_fork_options *options,
	struct fork_lazy *lazy, struct ramet_fork_result *result, struct ramet_error *err);
/* Let go of the folder. */
void fork_lazy_end(struct fork_lazy *lazy);

/* Remove what is in ROOT/lazy and no fork stands on. */
void fork_lazy_sweep(struct ramet_store *store);

#endif
