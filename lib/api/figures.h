/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was read of a fork's drives: by its last attachment, and by all that it had.
 *
 *   ROOT/forks/NAME/figures       the last server's, which keeps them up to date, and their serial number
 *   ROOT/forks/NAME/figures.ever  sums over the attachments up to that serial number
 *
 * Nobody waits for the end of a server: who starts the next adds what the last one counted to the sums. They
 * say how far they go, so that is done once, whoever is killed in between.
 */
#ifndef API_FIGURES_H
#define API_FIGURES_H

#include "base/error.h"
#include "export/server.h"

enum { FIGURES_MOST = RAMET_CHAIN_MAX + 2 };

struct figures {
	struct server_stats last[FIGURES_MOST]; /* of each drive that could be read only */
	size_t last_count;
	/* Sums; of the size the last. attachments: how many the drive was in. */
	struct figures_sum {
		struct server_stats stats;
		uint64_t attachments;
	} ever[FIGURES_MOST];
	size_t ever_count;
	int64_t serial; /* of the last, which the sums have in them; -1: there was none */
};

/* What there is in the fork's folder; what cannot be read counts as nothing. */
void figures_read(const char *folder, struct figures *figures);
/* Add the last ones to the sums for good, and answer the serial number for the next; or a negative errno.
 * By one who has the fork's lock, while no server runs. */
int64_t figures_next(const char *folder, struct ramet_error *err);

#endif
