/* SPDX-License-Identifier: Apache-2.0 */
/* The time in which a machine runs: one loop over its console, its end and what should end it. */
#ifndef VMM_SESSION_H
#define VMM_SESSION_H

#include <stdint.h>

#include "vmm/exitline.h"
#include "vmm/run.h"
#include "vmm/tail.h"

/* How far the machine's end has been pushed. */
enum session_phase {
	SESSION_RUNNING,
	SESSION_ASKED,   /* the guest was asked, and has a while */
	SESSION_ORDERED, /* the VMM was told */
	SESSION_KILLED,
};

struct session {
	const struct vmm *vmm;
	struct vm *vm;
	const struct run_options *options;
	enum session_phase phase;
	int64_t phase_ends;   /* ms on the monotonic clock, INT64_MAX: never */
	int64_t timeout_ends; /* likewise */
	int64_t server_ends;  /* likewise: until when a new server is waited for */
	bool timed_out, stopped, unserved;

	struct exitline exitline;
	struct tail tail;   /* the end of what the guest printed */
	struct text output; /* not yet written to console_out */
	size_t output_done;
	bool console_over;                /* the VMM has closed its end */
	bool output_watched, output_gone; /* nobody reads any more */

	int input_fd, stop_fd, server_fd; /* as in options, -1 once they are of no more use */
	bool reconnects;                  /* the VMM goes on with a new server */
	unsigned servers;                 /* how many took the place of one that had ended */
	char input[1024];                 /* not yet given to the guest */
	size_t input_length, input_done;
	char input_last;     /* the last byte given */
	unsigned escapes;    /* Ctrl-] pressed in a row */
	int64_t escapes_end; /* until when the next one counts */
};

/* Run the loop until the VMM has ended and its output is passed on. Never fails: what happened is
 * in the session. reconnects: the VMM goes on when a new server takes the place of one that has
 * ended. The caller frees it with session_free. */
void session_run(struct session *session, const struct vmm *vmm, struct vm *vm, bool reconnects,
	const struct run_options *options);
void session_free(struct session *session);
#define _cleanup_session_ __attribute__((cleanup(session_free)))

#endif
