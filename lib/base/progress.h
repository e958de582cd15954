/* SPDX-License-Identifier: Apache-2.0 */
/* Progress, told often and passed on seldom. */
#ifndef BASE_PROGRESS_H
#define BASE_PROGRESS_H

#include <ramet.h>
#include <time.h>

struct meter {
	ramet_progress_fn report; /* NULL: nobody listens */
	void *ctx;
	const char *step; /* static */
	uint64_t total;   /* 0: not known */
	struct timespec last;
};

/* Say how far the step is; passed on at most 20 times a second. */
void meter_advance(struct meter *meter, uint64_t done);

/* Seconds of a clock that only goes forward. */
double clock_seconds(void);

#endif
