/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parse what a guest or a stranger wrote in a child that can do nothing else: no new fds (seccomp,
 * landlock with no path), bounded memory and CPU time, every inherited fd closed but the ones
 * named. The child inherits open fds and memory as fork() leaves them.
 */
#ifndef BASE_SANDBOX_H
#define BASE_SANDBOX_H

#include <stddef.h>

#include "base/error.h"

struct sandbox_limits {
	size_t memory; /* bytes the child may allocate beyond what it starts with */
	unsigned cpu_seconds;
};

/*
 * Run work(ctx) in a child and wait for it. answer (answer_size bytes, part of ctx or not) is
 * copied back from the child when work returned 0, so that results need no protocol; larger
 * results go through an fd in fds. What work returns and its sentence come back as they are. A
 * child that was killed (memory, time, a forbidden call, a crash) becomes -EUCLEAN and a sentence
 * that says which, about `what` ("the volume of fork vm-1").
 */
int sandbox_run(const char *what, const struct sandbox_limits *limits,
	int (*work)(void *ctx, struct ramet_error *err), void *ctx, const int *fds, size_t fd_count,
	void *answer, size_t answer_size, struct ramet_error *err);

#endif
