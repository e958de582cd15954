/* SPDX-License-Identifier: Apache-2.0 */
/* A lazy image that becomes a plain file, as text and as JSON. */
#ifndef CLI_MATERIALIZING_H
#define CLI_MATERIALIZING_H

#include <jansson.h>
#include <ramet.h>

/* null for NULL. */
json_t *cli_json_materializing(const struct ramet_materializing *materializing);
/* A line with title before it; nothing for NULL. */
void cli_print_materializing(const char *title, const struct ramet_materializing *materializing);

#endif
