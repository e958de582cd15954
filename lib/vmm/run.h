/* SPDX-License-Identifier: Apache-2.0 */
/* A machine from its start to its end: the console, requests to stop, the time limit. */
#ifndef VMM_RUN_H
#define VMM_RUN_H

#include "vmm/vmm.h"

struct run_options {
	int console_in;  /* read and given to the guest, -1: none */
	int console_out; /* gets the guest's console, -1: nobody does */
	int stop_fd;     /* each time it is readable is one request to end, -1: none */
	int server_fd;   /* readable when what serves drives has ended (a pidfd), -1: none */
	/* Asked now and then after that, for a while, where the VMM would go on with a new server:
	 * its fd, then the caller's as server_fd was; -1: not now; -ECANCELED: somebody wanted its
	 * end. NULL: there will be none. */
	int (*server_again)(void *ctx);
	unsigned timeout;  /* seconds, 0: none */
	const char *nonce; /* of the init's last line */
	bool has_command;  /* the init runs one, and will say its exit status */
	bool person;       /* a person reads and types */
	bool verbose;      /* the kernel's words are wanted, also the last ones */
	/* Called with the VMM's pid as soon as it is there; may be NULL. */
	void (*started)(void *ctx, pid_t pid);
	void *ctx; /* of both */
};

struct run_result {
	int exit_status;
	bool timed_out, stopped;
	bool killed; /* the guest itself did not end */
};

/*
 * 0 when the machine ended in one of the ways that are meant, or was ended on request; -EPROTO:
 * the guest failed, and says why or ended without saying how; -ECONNRESET: the VMM died;
 * -ECONNABORTED: what served its drives ended, so that the machine was ended too.
 */
int vm_run(const struct vmm_choice *choice, const struct vm_config *config,
	const struct run_options *options, struct run_result *result, struct ramet_error *err);

#endif
