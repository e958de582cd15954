/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who makes a plain file of a lazy image, and how far that is, on disk:
 *
 *   ROOT/materializing/ID/lock   held by who does it; ID is the lazy image's row
 *   ROOT/materializing/ID/state  one line of numbers, and why it failed, where it did
 *   ROOT/materializing/ID/log    what those in the background had to say
 *
 * Only the lock says that somebody is at it. A state whose lock is free is what one left that failed, or
 * was killed; the folder goes when the plain file is there. Each state takes the place of the one before
 * by a rename, so it is read whole; none is worth waiting for the disk.
 */
#ifndef API_MATERIALIZING_H
#define API_MATERIALIZING_H

#include <stdbool.h>
#include <time.h>

#include "base/text.h"
#include "store/store.h"

/* What is known of it. Start with {0}. */
struct materializing {
	bool found;           /* somebody is at it, or the last one to try failed */
	bool at_work;         /* the former */
	bool background;      /* it is ramet-worker, which may be ended */
	pid_t pid;            /* 0: not yet known */
	uint64_t done, total; /* bytes of content */
	int64_t since;        /* when it was begun */
	char *failed;         /* why; NULL: it did not */
	char *log;            /* path */
};
void materializing_free(struct materializing *materializing);
#define _cleanup_materializing_ __attribute__((cleanup(materializing_free)))

/* image: the row of a lazy image. */
int materializing_find(struct ramet_store *store, int64_t image,
	struct materializing *materializing, struct ramet_error *err);
/* As the interface has it: told borrows the strings. NULL: there is nothing to be told. */
const struct ramet_materializing *materializing_tell(
	const struct materializing *materializing, struct ramet_materializing *told);

/* Whoever makes the file. Start with MATERIALIZING_WORK_NONE. */
struct materializing_work {
	struct ramet_store *store;
	int64_t image;
	int folder, lock;
	struct materializing state;
	struct timespec written;
};
#define MATERIALIZING_WORK_NONE \
	{ \
		.folder = -1, .lock = -1 \
	}
/* -EBUSY: somebody is at it, of whom other tells. path: of the lazy file, for messages. */
int materializing_begin(struct ramet_store *store, int64_t image, const char *path,
	struct materializing_work *work, struct materializing *other, struct ramet_error *err);
/* Note how far it is, now and then. */
void materializing_advance(struct materializing_work *work, uint64_t done, uint64_t total);
/* A line in the log, of those in the background. */
void materializing_note(const struct materializing_work *work, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* An fd of the log, for what the C library has to say; or a negative errno. */
int materializing_log(const struct materializing_work *work);
/* The plain file is there: nothing is left to be told. */
void materializing_done(struct materializing_work *work);
/* It was not to be, and err says why. */
void materializing_fail(struct materializing_work *work, const struct ramet_error *err);
/* Let go of what was begun, in any case. */
void materializing_end(struct materializing_work *work);

/*
 * End a worker and forget what it left; *stopped: there was one. -EBUSY: who does it is no worker, and
 * ends by itself or by its user's hand. -EPERM, -ETIMEDOUT.
 */
int materializing_stop(struct ramet_store *store, int64_t image, const char *path, bool *stopped,
	struct ramet_error *err);
/* Forget what dead ones left of images that are gone. */
void materializing_sweep(struct ramet_store *store);
/* The image is gone: so is all that was noted of it, and who worked on it. */
void materializing_forget(struct ramet_store *store, int64_t image);

#endif
