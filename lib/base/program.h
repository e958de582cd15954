/* SPDX-License-Identifier: Apache-2.0 */
/* Other programs: where they are, and running one to its end. */
#ifndef BASE_PROGRAM_H
#define BASE_PROGRAM_H

#include <stdbool.h>

#include "base/error.h"
#include "base/text.h"

/* The path of name in PATH, appended to path, which is empty; whether there is one. */
bool program_find(const char *name, struct text *path);

struct program {
	const char *const *argv; /* argv[0] is the path; ended by NULL */
	const int *fds;          /* open in it under the same numbers, besides 0 to 2 */
	size_t fd_count;
	unsigned timeout_ms;  /* killed after so long; 0: never */
	bool drop_output;     /* what it says on standard output is nothing to us */
	bool drop_errors;     /* the same for standard error */
	const char *variable; /* "NAME=value" for its environment, or NULL */
};

/*
 * Run it with no input, and wait. What it says, on standard output and error, is appended to
 * output: the last PROGRAM_OUTPUT bytes at most. *status is as from waitpid(). Errors: what keeps it
 * from being started.
 */
#define PROGRAM_OUTPUT 16384
int program_run(
	const struct program *program, struct text *output, int *status, struct ramet_error *err);

#endif
