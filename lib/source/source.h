/* SPDX-License-Identifier: Apache-2.0 */
/* Sources: where a tree comes from. So far there is one kind, a directory of the host. */
#ifndef SOURCE_SOURCE_H
#define SOURCE_SOURCE_H

#include <sys/stat.h>

#include "base/progress.h"
#include "source/tree.h"

struct source_options {
	const struct stat *avoid; /* a directory that must not be met (the output's), or NULL */
	struct meter *meter;      /* told the number of entries, or NULL */
	uint64_t *walked;         /* the running count of entries for meter, or NULL */
};

/*
 * Walk the directory path into the empty tree. No symlink is followed but path itself.
 * Errors: ENOENT, ENOTDIR, EACCES, ESTALE (it changed meanwhile), EINVAL (avoid was met), EFBIG.
 */
int source_walk(struct tree *tree, const char *path, const struct source_options *options,
	struct ramet_error *err);

/*
 * Open path as a new origin and make the node for it, with everything under it when it is a
 * directory. Regular files are taken only with allow_file. *top has no parent and an empty name.
 */
int source_take(struct tree *tree, const char *path, bool allow_file,
	const struct source_options *options, struct tree_node **top, struct ramet_error *err);

/* Read the extended attributes of name in the directory dirfd ("." for itself) into node. */
int source_read_xattrs(struct tree *tree, struct tree_node *node, int dirfd, const char *name,
	struct ramet_error *err);

#endif
