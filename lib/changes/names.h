/* SPDX-License-Identifier: Apache-2.0 */
/* File names are bytes: how they are shown, and what is UTF-8. */
#ifndef CHANGES_NAMES_H
#define CHANGES_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

/*
 * Whether a name is shown in quotes: when it has a control byte, '"' or '\' in it (git's rule with
 * core.quotePath=false: bytes from 0x80 stand for themselves).
 */
bool name_needs_quotes(const char *name);
/* name, as it is or in quotes with C's escapes. prefix stands before it, within the quotes. */
void name_show(struct text *text, const char *prefix, const char *name);

/* The length of the UTF-8 character at bytes (1 to 4), or 0 when there is none. */
size_t utf8_length(const unsigned char *bytes);

/* The string as a JSON string, with its quotes; what is no UTF-8 becomes U+FFFD.
 * *lossy is set then. */
void name_json(struct text *text, const char *name, bool *lossy);
void text_base64(struct text *text, const void *bytes, size_t length);

#endif
