/* SPDX-License-Identifier: Apache-2.0 */
/* Attachments as text and as JSON. */
#ifndef CLI_ATTACHMENT_H
#define CLI_ATTACHMENT_H

#include <jansson.h>
#include <ramet.h>

json_t *cli_json_attachment(const struct ramet_attachment *attachment);
/* What a percentage is said of, in words: "12.3 % of 4.00 GiB". Answers buffer. */
char *cli_share(uint64_t part, uint64_t whole, char buffer[static 64]);

#endif
