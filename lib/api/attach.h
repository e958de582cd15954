/* SPDX-License-Identifier: Apache-2.0 */
/* What attach and run have in common: a server is started for a fork that is held already. */
#ifndef API_ATTACH_H
#define API_ATTACH_H

#include "api/attach_drives.h"

/* Tidy up after a dead server, and take its place: the fork, whose lock the caller has, is being
 * attached from now on, until serving_let_go(). */
int serving_claim(struct serving *serving, struct ramet_store *store, const char *name,
	struct ramet_error *err);
/* Start the server of serving, whose drives and places are there, and note the attachment. lock: of the
 * fork, which the server shares; life: as in struct server_config, borrowed. */
int serving_start(struct serving *serving, struct ramet_store *store, const struct store_lock *lock,
	int life, struct ramet_error *err);
/* The export of that name, or -EOPNOTSUPP and those that there are. */
int serving_choose(struct serving *serving, const char *kind, struct ramet_error *err);
/* What of options is not about drives. */
int serving_set_policy(struct serving *serving, const struct ramet_attach_options *options,
	struct ramet_error *err);
/* Tell it, with the server's figures. */
int attachment_tell(struct ramet_store *store, const char *name,
	const struct attachment *attachment, ramet_attachment_fn each, void *ctx,
	struct ramet_error *err);

#endif
