/* SPDX-License-Identifier: Apache-2.0 */
/* Making and removing forks so that whoever is killed, at whatever moment, leaves nothing. */
#ifndef STORE_BATCH_H
#define STORE_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "store/store.h"

enum {
	STORE_NAME_MAX = 64,
	STORE_NAME_SIZE = STORE_NAME_MAX + 16, /* room for a number that is too much, too */
};

/* What is to be made: one fork called name, or with a count the forks name-1 .. name-count. */
struct store_plan {
	int64_t image;         /* its row */
	const int64_t *layers; /* the rows of the images above it, the bottom one first */
	size_t layer_count;
	const char *name;
	unsigned count;
	const char *provider, *mode;
	uint64_t size;
};
unsigned store_plan_count(const struct store_plan *plan);
/* The name of the index-th fork, from 0. */
void store_plan_name(
	const struct store_plan *plan, unsigned index, char name[static STORE_NAME_SIZE]);
/* -EINVAL when a name is not [A-Za-z0-9][A-Za-z0-9._-]* of at most STORE_NAME_MAX bytes. */
int store_plan_check(const struct store_plan *plan, struct ramet_error *err);

struct store_batch {
	struct ramet_store *store; /* NULL: nothing is under way */
	struct store_plan plan;
	int64_t id;
	/* Whether each file must be synced by whoever writes it; otherwise store_batch_finish syncs
	 * the whole filesystem at once. */
	bool sync_each;
};

/* Reserve the names; -EEXIST. */
int store_batch_begin(struct ramet_store *store, const struct store_plan *plan,
	struct store_batch *batch, struct ramet_error *err);
/* Make the folder of the index-th fork; answers its fd, or a negative errno. */
int store_batch_folder(struct store_batch *batch, unsigned index, struct ramet_error *err);
/* All files are written: make them durable and the forks visible. */
int store_batch_finish(struct store_batch *batch, struct ramet_error *err);
/* Undo what was not finished. */
void store_batch_abandon(struct store_batch *batch);
#define _cleanup_batch_ __attribute__((cleanup(store_batch_abandon)))

/* Remove a fork with its files. -ENOENT, -EBUSY. */
int store_fork_remove(struct ramet_store *store, const char *name, struct ramet_error *err);

/* Undo what dead processes left unfinished; called when a store is opened. */
int store_recover(struct ramet_store *store, struct ramet_error *err);

/* For recover.c and batch.c. A new batch: inside a transaction; its byte of ROOT/makers is locked
 * until batch_unlock. */
int batch_lock(struct ramet_store *store, int64_t *id, struct ramet_error *err);
void batch_unlock(struct ramet_store *store, int64_t id);
/* Remove the folders of every fork of the batch, then their rows. */
int batch_erase(struct ramet_store *store, int64_t id, struct ramet_error *err);
/* The modes of a folder that is not yet a whole fork's, and of one that is (see batch.c). */
enum { FOLDER_UNFINISHED = 01700, FOLDER_READY = 0700 };

#endif
