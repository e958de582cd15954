/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a tree's regular files, read once and checked to be those that the walk saw. */
#ifndef SOURCE_CONTENT_H
#define SOURCE_CONTENT_H

#include "source/tree.h"

struct content {
	struct tree *tree;
	const struct tree_node *node;
	int fd;        /* -1: in memory */
	uint64_t data; /* what content_data found last: data from here ... */
	uint64_t end;  /* ... to here */
	uint64_t read; /* bytes really read so far */
};

/* Open the file; -ESTALE when it is no longer what the walk saw, -EACCES when it is unreadable. */
int content_open(struct content *content, struct tree *tree, const struct tree_node *node,
	struct ramet_error *err);
/* The next piece of data at or after offset (below the size): [*start, *end), within the size.
 * *start is the file's size when only a hole is left. */
int content_data(struct content *content, uint64_t offset, uint64_t *start, uint64_t *end,
	struct ramet_error *err);
/* Exactly length bytes; -ESTALE when the file has become shorter. */
int content_read(struct content *content, uint64_t offset, void *buffer, size_t length,
	struct ramet_error *err);
/* Look once more whether the file is what the walk saw. */
int content_verify(struct content *content, struct ramet_error *err);
void content_close(struct content *content);
#define _cleanup_content_ __attribute__((cleanup(content_close)))

#endif
