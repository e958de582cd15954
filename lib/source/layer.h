/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layers laid over a tree, entry by entry, as container images mean it (OCI image specification,
 * "Image Layer Filesystem Changeset"):
 *
 *  - "DIR/.wh.NAME" takes away what lower layers have at DIR/NAME, and never what its own layer has,
 *    whichever comes first. What is not there is taken away without a word.
 *  - "DIR/.wh..wh..opq" takes away everything that lower layers have in DIR. Any other name that
 *    begins with ".wh..wh." is bookkeeping of AUFS, and is left out with what is below it.
 *  - A directory over a directory takes the new one's attributes and keeps what is in it. Anything
 *    else over something replaces it. Of two entries of a layer with one name the last counts.
 *  - Parents that are not there are made, 0755, root's, with the time of the directory they are in;
 *    symlinks on the way to an entry are followed inside the tree, where an absolute one begins at the
 *    tree's root, and ".." stays there.
 *  - A hard link is another name for what the tree has at its target, from whichever layer; ".." and
 *    a leading "/" of the target mean what they would mean inside the tree.
 *
 * A name is refused, by name, when it has "..", a part of more than 255 bytes, or lies below something
 * that is no directory; so is a hard link to a directory or to nothing.
 */
#ifndef SOURCE_LAYER_H
#define SOURCE_LAYER_H

#include "source/tree.h"

struct layers;

/* One entry of a layer. The strings are borrowed for the call, xattrs must live in the tree's arena. */
struct layer_entry {
	const char *path; /* "usr/bin/env"; leading "/" and "./" do not matter; "." is the root */
	const char *symlink;  /* the target of a symlink */
	const char *hardlink; /* the path of what this is another name for; the attributes below do
				 not matter then. NULL: no hard link */
	uint32_t mode;        /* type and permissions */
	uint32_t uid, gid;
	uint32_t mtime_nsec;
	int64_t mtime;             /* seconds since 1970 */
	uint64_t size;             /* bytes of a regular file */
	uint64_t rdev;             /* dev_t of a device */
	uint64_t place;            /* which file this is, in its origin: tree_node.host_inode */
	struct tree_xattr *xattrs; /* sorted by name */
	bool sparse;               /* there are holes: TREE_SPARSE */
};

/*
 * Begin to lay layers over tree. A tree without a root gets one: 0755, root's, of 1970. Until
 * layers_finish the directories are unsorted, and the fields of nodes that are free for writers of
 * images are used here.
 */
int layers_new(struct layers **layers, struct tree *tree, struct ramet_error *err);
/*
 * What layers_add is given from now on is a new layer on what is there, and belongs to the tree's
 * origin of this index. Without whiteouts names that begin with ".wh." are names like others.
 */
void layers_begin(struct layers *layers, uint16_t origin, bool whiteouts);
/* Errors: EINVAL, ENAMETOOLONG, ENOTDIR, ELOOP, ENOENT and EPERM (hard links), EFBIG, ENOMEM; the
 * sentence names the entry, and wants the archive's name in front. */
int layers_add(struct layers *layers, const struct layer_entry *entry, struct ramet_error *err);
/* Sort what was changed, and free layers. */
void layers_finish(struct layers *layers);
static inline void layers_finishp(struct layers **layers)
{
	layers_finish(*layers);
}
#define _cleanup_layers_ __attribute__((cleanup(layers_finishp)))

/* The tree that is being worked on. */
struct tree *layers_tree(const struct layers *layers);

#endif
