/* SPDX-License-Identifier: Apache-2.0 */
/* --bind SRC:DST[:ro], as `build` and `prepare` have it. */
#ifndef CLI_BINDS_H
#define CLI_BINDS_H

#include "cli/cli.h"

struct binds {
	struct ramet_bind *items;
	char **words; /* what the strings are in */
	size_t count;
};

/* 0, or the exit status of a wrong use. binds_free() after both. */
int binds_parse(
	const struct invocation *invocation, const struct string_list *list, struct binds *binds);
void binds_free(struct binds *binds);

#endif
