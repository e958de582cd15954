/* SPDX-License-Identifier: Apache-2.0 */
#ifndef API_BUILD_H
#define API_BUILD_H

#include "base/error.h"

/* What is known of an image once it is built. NULL: none. */
struct build_told {
	const char *format;    /* static */
	char *read_only_paths; /* one a line */
	char *process;         /* JSON (source/process.h) */
};
void build_told_free(struct build_told *told);
#define _cleanup_build_told_ __attribute__((cleanup(build_told_free)))

/* ramet_build(), and what it noted. told may be NULL; it is not touched on failure. */
int build_image(struct ramet_store *store, const struct ramet_build_options *options,
	struct ramet_build_result *result, struct build_told *told, struct ramet_error *err);

#endif
