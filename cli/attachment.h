/* SPDX-License-Identifier: Apache-2.0 */
/* Attachments as text and as JSON. */
#ifndef CLI_ATTACHMENT_H
#define CLI_ATTACHMENT_H

#include <jansson.h>

#include "cli/cli.h"

json_t *cli_json_attachment(const struct ramet_attachment *attachment);
/* What a percentage is said of, in words: "12.3 % of 4.00 GiB". Answers buffer. */
char *cli_share(uint64_t part, uint64_t whole, char buffer[static 64]);

/* The words of --source, NULL-terminated; 0, or the exit status of a wrong use. */
enum { SOURCES_MAX = 128 };
int source_options_copy(const struct invocation *invocation, const struct string_list *given,
	const char *sources[static SOURCES_MAX + 1]);

#endif
