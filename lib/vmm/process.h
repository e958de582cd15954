/* SPDX-License-Identifier: Apache-2.0 */
/* The VMM as a child process: started with nothing it does not need, never left behind. */
#ifndef VMM_PROCESS_H
#define VMM_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"

struct process {
	pid_t pid;       /* 0: none */
	int pidfd;       /* readable when it has ended */
	int console_in;  /* what is written here the guest reads */
	int console_out; /* what the guest writes */
	int console_far; /* the end of console_out that the program has, while held; else -EBADF */
	int log;         /* the VMM's own standard error, a file that can be read back */
	bool reaped;
	int status; /* as from waitpid(), once reaped */
};
#define PROCESS_NONE \
	{ \
		.pidfd = -EBADF, .console_in = -EBADF, .console_out = -EBADF, \
		.console_far = -EBADF, .log = -EBADF \
	}

struct process_options {
	char *const *argv; /* argv[0] is the program's path */
	int dirfd;         /* the folder it runs in, and where its log goes */
	const char *log;   /* the log's name in that folder; emptied first */
	const int *
		keep_fds; /* open in the child under the same numbers; all others above 2 are not */
	size_t keep_fd_count;
	bool hold_console; /* until process_console_let_go */
};

/*
 * Start the program in a session of its own, so that the terminal's signals do not reach it, with
 * the kernel's promise to kill it when the calling thread ends, however it ends. Standard input
 * and output are the console. Errors name the program.
 */
int process_start(
	const struct process_options *options, struct process *process, struct ramet_error *err);

/* Some VMMs make their standard output non-blocking when their machine starts, and then drop what
 * the guest prints faster than it is read. Called after that, this makes it blocking again, for all
 * who hold it, and lets go of our end, so that the console is over when the program has ended. */
void process_console_let_go(struct process *process);

/* Whether it has ended within timeout_ms (-1: for ever); it is reaped then. */
bool process_wait(struct process *process, int timeout_ms);
void process_kill(struct process *process); /* SIGKILL, and reap */
/* The last line it wrote to its log, cleaned for quoting, or its end in words ("it was killed by
 * signal 9"). Answers buffer. */
char *process_last_words(const struct process *process, char *buffer, size_t size);
/* Kill it when it still runs, and release everything. */
void process_close(struct process *process);

#endif
