/* SPDX-License-Identifier: Apache-2.0 */
/* `ramet ls IMAGE:/PATH`. */
#ifndef CLI_LS_IMAGE_H
#define CLI_LS_IMAGE_H

#include "cli/cli.h"

/* List the place that the first argument names; more: lines as those of ls -l. */
int cli_list_image(struct invocation *inv, bool recursive, bool more, struct ramet_error *err);

#endif
