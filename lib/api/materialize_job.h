/* SPDX-License-Identifier: Apache-2.0 */
/* One lazy image that becomes a plain file: checked and locked first, made then. */
#ifndef API_MATERIALIZE_JOB_H
#define API_MATERIALIZE_JOB_H

#include "api/lazy_base.h"
#include "api/materializing.h"
#include "base/fd.h"
#include "store/images.h"

struct materialize_job {
	struct ramet_store *store; /* may be NULL */
	const struct ramet_materialize_options *options;
	char *lazy; /* path */
	struct lazy_base base;
	struct store_image image; /* the lazy file's row; id 0: none */
	bool already;             /* the plain file is there */
	bool under_way;           /* somebody else makes it, of whom other tells */
	struct materializing other;
	bool beside;      /* the output's name was not given */
	struct text path; /* of the output */
	struct outfile output;
	struct materializing_work work;
	struct ramet_build_result written;
	double seconds;
};
struct materialize_jobs {
	struct materialize_job *items;
	size_t count, capacity;
};
/* One more, of the lazy file at path. */
int materialize_add(struct materialize_jobs *jobs, struct ramet_store *store,
	const struct ramet_materialize_options *options, const char *path, struct ramet_error *err);
void materialize_jobs_free(struct materialize_jobs *jobs);
#define _cleanup_materialize_jobs_ __attribute__((cleanup(materialize_jobs_free)))

/* All that can fail before the work does: what there is, who is at it, where it goes, is there room.
 * With options->background its paths are absolute, and the folder one is in may be left afterwards. */
int materialize_prepare(struct materialize_job *job, struct ramet_error *err);
/* Do it. What becomes of it is noted for others, too. */
int materialize_make(struct materialize_job *job, struct ramet_error *err);

/*
 * ramet_materialize() itself, in this process. begun, which may be NULL, is called once all were prepared
 * and before the first is made; what it answers, other than 0, is the end.
 */
int materialize_all(struct ramet_store *store, const struct ramet_materialize_options *options,
	int (*begun)(void *ctx, const struct materialize_jobs *jobs, struct ramet_error *err),
	void *ctx, struct ramet_error *err);

/* What the worker (server/worker.c) answers of each job: that many strings behind its pid. */
enum materialize_word {
	MATERIALIZE_STATE, /* "begun", "already" or "under way" */
	MATERIALIZE_PID,   /* of who is at it */
	MATERIALIZE_LAZY,
	MATERIALIZE_IMAGE,
	MATERIALIZE_FORMAT,
	MATERIALIZE_BYTES,
	MATERIALIZE_WORDS,
};
/* ramet_materialize() with options->background: start the worker, and tell of its answer. */
int materialize_in_background(struct ramet_store *store,
	const struct ramet_materialize_options *options, struct ramet_error *err);

#endif
