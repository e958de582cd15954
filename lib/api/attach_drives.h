/* SPDX-License-Identifier: Apache-2.0 */
/* From a fork and what was asked to what a server is told: which drives, where their files are. */
#ifndef API_ATTACH_DRIVES_H
#define API_ATTACH_DRIVES_H

#include "api/attachment.h"
#include "export/export.h"
#include "export/server.h"

struct serving {
	struct store_fork fork;
	const struct export_ops *ops;
	struct server_config config;  /* for the server */
	struct attachment attachment; /* for whoever asks later; addresses come with the answer */
	VECTOR(int) fds;              /* that the server inherits: closed by serving_free */
	bool *meant;                  /* each word of --source: it says where a folder is */
};
#define SERVING_NONE \
	{ \
		.config = SERVER_CONFIG_NONE \
	}
void serving_free(struct serving *serving);
#define _cleanup_serving_ __attribute__((cleanup(serving_free)))
/* Close what the server inherited. */
void serving_let_go(struct serving *serving);
/* Have the server inherit fd, which is taken over also when that fails. -ENOMEM. */
int serving_keep(struct serving *serving, int fd);

/* Open what of serving->fork is to be served. record: an empty file for what is read of the base, -1:
 * none; borrowed. */
int serving_add_drives(struct serving *serving, struct ramet_store *store,
	const struct ramet_attach_options *options, int record, struct ramet_error *err);
/* Say where each is to be reached, and make the folders for that; address: as in struct
 * ramet_attach_options. */
int serving_add_places(struct serving *serving, const char *address, struct ramet_error *err);

/* ROOT/records/ID: what was read of the image of that row, when a run recorded it. */
int record_path(const struct ramet_store *store, int64_t image, struct text *path);

#endif
