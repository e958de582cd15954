/* SPDX-License-Identifier: Apache-2.0 */
/* What `ramet build` and `ramet commit` say of the image that they made. */
#ifndef CLI_BUILT_H
#define CLI_BUILT_H

#include "cli/cli.h"

struct cli_built {
	const char *command;     /* "build" */
	const char *image;       /* its path */
	const char *format;      /* never NULL */
	const char *compression; /* NULL: the default */
	const char *below; /* a layer: what it stands on, as a message has it; otherwise NULL */
	bool lazy;
	const struct ramet_build_result *result;
};

/* A line or two on standard output; a note on standard error of what was left out. */
void cli_print_built(const struct cli_built *built);
/* The same as JSON, with "journal_replayed" where journal_replayed is not NULL. Answers an exit
 * status. */
int cli_print_built_json(const struct cli_built *built, const bool *journal_replayed);

#endif
