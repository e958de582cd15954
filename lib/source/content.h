/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a tree's regular files, read once and checked to be those that the walk saw.
 *
 * Each origin of a tree says how its files are read: from the host, or by the content_ops of a
 * source. Some sources are streams, which can be read forward only: whoever wants the content of
 * many files takes them in the order of tree_content_order().
 */
#ifndef SOURCE_CONTENT_H
#define SOURCE_CONTENT_H

#include "source/tree.h"

struct content;

/* How the files of an origin are read. Called for regular files whose content is not in memory. */
struct content_ops {
	/* The files of this origin are read in the order of their host_inode (a place in a stream),
	 * and each forward only. */
	bool streamed;
	/* Make ready to read content->node; a stream does not move yet. */
	int (*open)(struct content *content, struct ramet_error *err);
	/* As content_data; only for nodes with TREE_SPARSE, at any time: a stream does not move. */
	int (*data)(struct content *content, uint64_t offset, uint64_t *start, uint64_t *end,
		struct ramet_error *err);
	/* Exactly length bytes from offset, within the size. */
	int (*read)(struct content *content, uint64_t offset, void *buffer, size_t length,
		struct ramet_error *err);
	/* As content_verify; may be NULL. */
	int (*verify)(struct content *content, struct ramet_error *err);
	/* May be NULL. */
	void (*close)(struct content *content);
};

struct content {
	struct tree *tree;
	const struct tree_node *node;
	const struct content_ops *ops; /* NULL: in memory */
	void *source;                  /* the origin's */
	void *own;                     /* the ops' */
	int fd;                        /* a file of the host, else -1 */
	uint64_t data;                 /* what content_data found last: data from here ... */
	uint64_t end;                  /* ... to here */
	uint64_t read;                 /* bytes really read so far */
};

/* The inodes with content (regular files, hard links once), in the order in which they are to be
 * read: content_order_next() gives one after the other, and content_order_free() ends it. */
struct content_order {
	struct tree *tree;
	struct tree_node *node;              /* where the way through the tree stands */
	VECTOR(struct tree_node *) streamed; /* those in streams, in the streams' order */
	size_t at;
};
/* After tree_finish. -ENOMEM. */
int tree_content_order(struct tree *tree, struct content_order *order, struct ramet_error *err);
/* The next one, or NULL. */
struct tree_node *content_order_next(struct content_order *order);
void content_order_free(struct content_order *order);
#define _cleanup_content_order_ __attribute__((cleanup(content_order_free)))

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
