/* SPDX-License-Identifier: Apache-2.0 */
/* What a lazy image points to and what it holds, put into one file. */
#ifndef API_MATERIALIZE_COPY_H
#define API_MATERIALIZE_COPY_H

#include "api/lazy_base.h"
#include "api/work.h"

struct materialize_copy {
	const struct lazy_base *base; /* its roots are open */
	int out;                      /* an empty file, which gets the image's length and bytes */
	uint64_t bandwidth; /* bytes of content a second, at most; 0: as many as there are */
	uint64_t read;      /* answer: bytes of content */
};
/*
 * Runs in a child (work.h). ctx is a struct materialize_copy. A source file is looked at before and
 * after it is read: -ESTALE, with its name, when it is not what the lazy image was made of.
 */
int materialize_copy(void *ctx, const struct work_reports *reports, struct ramet_error *err);

#endif
