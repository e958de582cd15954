/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parse what a guest or a stranger wrote in a child that can do nothing else: no new fds (seccomp,
 * landlock with no path), bounded memory and CPU time, every inherited fd closed but the ones
 * named. The child inherits open fds and memory as fork() leaves them.
 */
#ifndef BASE_SANDBOX_H
#define BASE_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

/* What work says to the parent while it runs. The child knows where. */
struct sandbox_line {
	int fd;
};
#define SANDBOX_MESSAGE_MAX ((size_t)1 << 20)
/* One message, of a kind that the two agree on (below 2^16), at most SANDBOX_MESSAGE_MAX bytes. In the
 * child, and from one thread at a time. -EMSGSIZE, -EPIPE. */
int sandbox_say(const struct sandbox_line *line, unsigned kind, const void *bytes, size_t length);

/* A child that may do more. What is not set is as in sandbox_run. */
struct sandbox_job {
	const char *what;
	struct sandbox_limits limits;
	int (*work)(void *ctx, struct ramet_error *err);
	void *ctx;
	const int *fds;
	size_t fd_count;
	void *answer;
	size_t answer_size;
	/* It may start threads. Their stacks count as memory (8 MiB each, as a rule); address space
	 * that is only reserved does not count then. */
	bool threads;
	/* It may change the length of its files, and have them written to their disks. */
	bool files;
	/* It may map files, to read them. */
	bool maps;
	/* It may open for reading, and look at, what is below these folders, or these files (fds, also
	 * with O_PATH), and read their attributes. Where the kernel has no landlock it may open any file
	 * for reading. */
	const int *folders;
	size_t folder_count;
	/* work may speak; hear is called with each message in the parent, which must distrust it. */
	struct sandbox_line *line;
	void (*hear)(void *ctx, unsigned kind, const void *bytes, size_t length);
	void *hear_ctx;
};
int sandbox_run_job(const struct sandbox_job *job, struct ramet_error *err);

#endif
