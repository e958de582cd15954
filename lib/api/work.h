/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work with sources, where their kind lets it be done: in this process when all of them are trusted,
 * and in a sandboxed child as soon as one is hostile. The child has the sources' fds and those named,
 * may start threads, may read what is below the folders named, and ends with whoever started it. What
 * it has to say comes back: its result and sentence, notes and progress while it works, an answer of
 * fixed size, and texts.
 *
 * Limits of the child: WORK_MEMORY of memory, which is enough for a tree of ten million files, and
 * processor time by the size of the input (work.c).
 */
#ifndef API_WORK_H
#define API_WORK_H

#include "base/text.h"
#include "source/source.h"

#define WORK_MEMORY ((size_t)2 << 30)

/* Where work tells what happens; the same in a child. */
struct work_reports {
	ramet_progress_fn progress; /* may be NULL */
	void *progress_ctx;
	void (*note)(void *ctx, const char *sentence); /* may be NULL */
	void *note_ctx;
};

struct work {
	struct source *const *sources;
	size_t source_count;
	bool hostile;     /* there is more than the sources that a stranger wrote */
	const char *what; /* what is worked on, for messages: the first hostile source's place */
	const int *fds;   /* further ones that are needed: the output's, a parent's */
	size_t fd_count;
	bool maps;                  /* it maps files */
	const char *const *folders; /* paths of folders and files of the host that are read */
	size_t folder_count;
	struct work_reports reports;
	void *answer; /* comes back when run answers 0 */
	size_t answer_size;
	struct text *const *texts; /* as well: each is empty before, and has at most 1 MiB after */
	size_t text_count;
	/* The work. In a child what it changes in memory is lost, but for answer and texts. */
	int (*run)(void *ctx, const struct work_reports *reports, struct ramet_error *err);
	void *ctx;
};
/* Whether a sandboxed child does it. */
bool work_is_hostile(const struct work *work);
/* What run answers. -EUCLEAN: the child was ended, for its memory, its time or what it tried. */
int work_run(const struct work *work, struct ramet_error *err);

#endif
