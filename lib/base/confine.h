/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process gives away what it will not need: paths (landlock) and system calls (seccomp). What is
 * open stays open. Children that parse use it through sandbox.h; the server of an export by itself.
 */
#ifndef BASE_CONFINE_H
#define BASE_CONFINE_H

#include <stdbool.h>
#include <stddef.h>

/* What computing, reading and writing need is allowed always. */
struct confine {
	bool threads; /* may be started */
	bool maps;    /* may map files, to read them */
	bool files;   /* may change the length of its files, and have them written to their disks */
	/* It may open for reading, and look at, what is below these folders, or these files (fds, also
	 * with O_PATH), and read their attributes. Where the kernel has no landlock it may open any file
	 * for reading. */
	const int *folders;
	size_t folder_count;
	/* Further calls (SYS_*), with any arguments; but memory is not made executable. */
	const int *calls;
	size_t call_count;
	bool trapped; /* a call that is not allowed raises SIGSYS, for a last word, and is not made */
	/* Calls that are refused with EPERM, where the others that are not allowed end the process. */
	const int *refused;
	size_t refused_count;
};

/* No path but those named. PR_SET_NO_NEW_PRIVS must be set. 0 also where the kernel has no landlock
 * (confine_has_paths), or a negative errno. */
int confine_paths(const struct confine *confine);
bool confine_has_paths(void);
/* No call but those allowed; PR_SET_NO_NEW_PRIVS must be set. 0 or a negative errno. */
int confine_calls(const struct confine *confine);

#endif
