/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of sources, and which of them a user's word means. */
#ifndef API_SOURCES_H
#define API_SOURCES_H

#include "source/source.h"

/* The table, ended by a kind without a prefix. */
extern const struct source_kind source_kinds[];

/*
 * Open what word names: "PREFIX:PLACE" by the prefix, a folder as a directory. Anything else is
 * looked at, and refused with a sentence when it is nothing that a tree can be made of.
 */
int sources_open(const char *word, const struct source_request *request, struct source **source,
	struct ramet_error *err);

#endif
