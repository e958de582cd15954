/* SPDX-License-Identifier: Apache-2.0 */
/* Starting the programs that belong to this library: ramet-server and ramet-worker. */
#ifndef API_HELPER_H
#define API_HELPER_H

#include <stddef.h>

#include "base/error.h"
#include "base/text.h"

/* The path of the program, appended to path, which is empty. -ENOENT. */
int helper_find(const char *program, struct text *path, struct ramet_error *err);

/*
 * Start the program as PROGRAM ANSWER ARGUMENT..., and wait until it has written its answer to the fd
 * whose number ANSWER is, and closed it. What stays of it is nobody's child. arguments end with NULL. The
 * fds, ours, are open in it under the same numbers. answer, empty before, has what it wrote: nothing, when
 * it died. -ENOENT: the program is not there.
 */
int helper_start(const char *program, const char *const *arguments, const int *fds, size_t fd_count,
	struct text *answer, struct ramet_error *err);

#endif
