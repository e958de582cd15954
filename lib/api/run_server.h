/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server that a run starts for drives that have no file, and ends after it. The fork is locked by
 * the run all the while. It ends, too, when the run is killed: it watches a pipe whose other end is ours.
 */
#ifndef API_RUN_SERVER_H
#define API_RUN_SERVER_H

#include "api/attach_drives.h"
#include "base/fd.h"
#include "vmm/vmm.h"

struct run_server {
	struct ramet_store *store;
	const struct store_lock *lock; /* of the fork; borrowed */
	struct serving serving;
	enum vm_drive_kind kind; /* how the VMM reaches what is served */
	int life[2];
	int pidfd;
	struct outfile record;
	struct text files; /* of a FUSE export: the drives' paths, each ended by a NUL */
};
#define RUN_SERVER_NONE \
	{ \
		.serving = SERVING_NONE, .life = {-1, -1}, .pidfd = -1, .record = OUTFILE_NONE \
	}

/* Whether a run with these options needs one, and which kind of drives it makes then. -EINVAL,
 * -EOPNOTSUPP: options that cannot be. */
int run_server_choose(const struct store_fork *fork, const struct ramet_run_options *options,
	bool *needed, enum vm_drive_kind *kind, struct ramet_error *err);
/* Why this way, one clause; "" where the user chose it. Static. */
const char *run_server_reason(const struct ramet_run_options *options, enum vm_drive_kind kind);

/* Open what is to be served; nothing starts. Everything is released by run_server_end. */
int run_server_prepare(struct run_server *server, struct ramet_store *store,
	const struct store_fork *fork, const struct store_lock *lock,
	const struct ramet_run_options *options, enum vm_drive_kind kind, struct ramet_error *err);
/* Have drive, whose id is a name of the fork's, reach what is served of it, if it is. */
int run_server_place(
	const struct run_server *server, struct vm_drive *drive, struct ramet_error *err);

int run_server_start(struct run_server *server, struct ramet_error *err);
/* It has ended under a running VM: start it anew. The pidfd, borrowed; -1; or -ECANCELED: it was
 * detached. */
int run_server_again(struct run_server *server);
/* End it, and keep the record. */
void run_server_end(struct run_server *server);
#define _cleanup_run_server_ __attribute__((cleanup(run_server_end)))

#endif
