/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a fork is attached, on disk:
 *
 *   ROOT/forks/NAME/export/lock        held (as a fork's lock is) by the server as long as it lives
 *   ROOT/forks/NAME/export/attachment  JSON: what is served, by whom, where
 *   ROOT/forks/NAME/export/unwanted    there when the server of a run was detached
 *   ROOT/forks/NAME/export/...         sockets, folders to mount on
 *   ROOT/forks/NAME/log, figures       what the server says; they stay when it has ended
 *
 * Whoever finds the lock free finds a server that was killed, and tidies up.
 */
#ifndef API_ATTACHMENT_H
#define API_ATTACHMENT_H

#include <stdbool.h>

#include "base/text.h"
#include "base/vector.h"
#include "store/store.h"

struct attachment_device {
	char *name;
	char *address;  /* what clients connect to */
	char *place;    /* the socket, or the folder that is mounted on; "": none */
	char *file;     /* what it is made of */
	uint64_t inode; /* of the socket */
	bool read_only, lazy;
};
struct attachment {
	char *kind;
	char *request; /* how it was asked for: the same words, the same attachment */
	pid_t pid;
	bool for_run;
	VECTOR(struct attachment_device) devices;
};
void attachment_free(struct attachment *attachment);
#define _cleanup_attachment_ __attribute__((cleanup(attachment_free)))
struct attachment_device *attachment_add(struct attachment *attachment); /* NULL without memory */

/* The folder ROOT/forks/NAME/export, made when it is not there; a negative errno. */
int attachment_folder(struct ramet_store *store, const char *name, struct ramet_error *err);
/* Take its lock, for a server to inherit: an fd. -EBUSY: a server lives. */
int attachment_lock(int folder, const char *name, struct ramet_error *err);
int attachment_save(int folder, const struct attachment *attachment, struct ramet_error *err);

enum attachment_state {
	ATTACHMENT_NONE,
	ATTACHMENT_STARTS, /* a server lives and has not yet said what it serves */
	ATTACHMENT_LIVES,
	ATTACHMENT_DEAD, /* its server is gone */
};
/* attachment is filled when it lives or is dead, as far as it can be read. A state or a negative
 * errno. */
int attachment_find(struct ramet_store *store, const char *name, struct attachment *attachment,
	struct ramet_error *err);

/* Take away what a dead server left. The caller has the fork's lock. */
int attachment_clear(struct ramet_store *store, const char *name, struct ramet_error *err);
/* The same when it is dead and nobody has the fork; otherwise nothing. */
int attachment_sweep(struct ramet_store *store, const char *name, struct ramet_error *err);

/* The server of a run is about to be ended, and the run is to start no other. */
int attachment_unwant(struct ramet_store *store, const char *name, struct ramet_error *err);
bool attachment_is_unwanted(int folder);
/* End the server of an attachment that lives: asked first, killed when it does not hear. A run still
 * has the fork for as long as its VM takes to end. -ETIMEDOUT. */
int attachment_end(struct ramet_store *store, const char *name, const struct attachment *attachment,
	struct ramet_error *err);

#endif
