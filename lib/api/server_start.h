/* SPDX-License-Identifier: Apache-2.0 */
/* Starting ramet-server. */
#ifndef API_SERVER_START_H
#define API_SERVER_START_H

#include "export/server.h"

/* The path of the program, appended to path, which is empty. -ENOENT. */
int server_find(struct text *path, struct ramet_error *err);

/*
 * Start a server with this configuration, and wait until clients can come. It is nobody's child. The
 * fds, ours, are open in it under the same numbers. Errors: the server's own; ENOENT (the program is
 * not there).
 */
int server_start(const struct server_config *config, const int *fds, size_t fd_count,
	struct server_answer *answer, struct ramet_error *err);

#endif
