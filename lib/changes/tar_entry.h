/* SPDX-License-Identifier: Apache-2.0 */
/* Objects of a view as entries of a tar. */
#ifndef CHANGES_TAR_ENTRY_H
#define CHANGES_TAR_ENTRY_H

#include "changes/changes.h"
#include "changes/inodes.h"
#include "changes/sink.h"

/* Start with {0}. */
struct tar_writer {
	struct sink *sink;   /* borrowed */
	struct inodes links; /* files with more than one name, and the first one */
	char *buffer;
	uint64_t omitted; /* objects that a tar cannot hold, wholly or in part */
};

int tar_writer_open(struct tar_writer *writer, struct sink *sink, struct ramet_error *err);
/* Write object, called name: no '/' in front and none at the end; "." for the root. A socket, and a
 * device with numbers too large, is counted as omitted and not written. */
int tar_writer_put(struct tar_writer *writer, const struct change_side *object, const char *name,
	struct ramet_error *err);
void tar_writer_free(struct tar_writer *writer);

#endif
