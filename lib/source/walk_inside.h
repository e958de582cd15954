/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the walk share: one folder (walk.c), and who takes which one (walk_crew.c). */
#ifndef SOURCE_WALK_INSIDE_H
#define SOURCE_WALK_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>

#include "source/source.h"

/* One walk, of one or more threads. */
struct walk {
	const struct source_options *options;
	uint16_t origin;
	atomic_uint_fast64_t walked; /* entries */
	atomic_bool stopped;         /* one has failed, or all is walked */
	pthread_mutex_t lock;        /* of what follows, and of all that is pending */
	pthread_cond_t more;
	struct walker *walkers[WALK_MOST];
	unsigned count, idle; /* of walkers */
	int result;           /* the first failure */
	struct ramet_error *err;
};

/* What one thread has to itself. The first is the caller of the walk. */
struct walker {
	struct walk *walk;
	struct tree *tree; /* the tree, or a branch of it */
	pthread_t thread;
	char *buffer;      /* for getdents64 */
	struct text names; /* of one folder, NUL-separated */
	VECTOR(const char *) sorted;
	VECTOR(struct tree_node *) found; /* the folders in it, sorted */
	/* Folders to walk: its own thread takes the newest, others take the oldest. */
	VECTOR(struct tree_node *) pending;
	size_t oldest;
	unsigned uncounted; /* entries that walk->walked has not yet */
};

/* One folder: its entries become nodes below it, and those that are folders walker->found. */
int walk_directory(struct walker *walker, struct tree_node *node, struct ramet_error *err);

/* All that is below top, a folder. */
int walk_below(struct tree *tree, struct tree_node *top, const struct source_options *options,
	struct ramet_error *err);

#endif
