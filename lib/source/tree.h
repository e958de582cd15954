/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tree: a source walked once. Names, modes, owners, times, xattrs and links are in memory; the
 * files' content stays where it is and is read through content.h when an image is written.
 *
 * The life of a tree: tree_new, source_walk (source.h), any number of tree_graft and
 * tree_add_file, tree_finish, and then readers and writers of images.
 */
#ifndef SOURCE_TREE_H
#define SOURCE_TREE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/text.h"
#include "base/vector.h"

/* One extended attribute; they form a list sorted by name. */
struct tree_xattr {
	struct tree_xattr *next;
	const char *name;
	const void *value;
	uint32_t size;
};

enum tree_flag {
	TREE_LINKED = 1, /* the host counts more than one name for it: tree_finish looks for them */
	TREE_SPARSE = 2, /* the host has allocated less than its size */
	TREE_MEMORY = 4, /* its content is node->data, not a file of the host */
	TREE_ORIGIN = 8, /* the top of a source or of a graft: its host path is the origin's */
	TREE_LINK = 16, /* set by tree_finish: another name for the node that tree_link() answers */
	TREE_MOVED = 32, /* a regular file that stands elsewhere on the host: see node->host */
	/* 64 and 128 are used while layers are laid over a tree (layer_inside.h). */
};

/*
 * 89 bytes and the name, which stands behind them: a tree of a million entries is to fit in a small
 * machine. So what is never needed together shares room, and some fields have odd widths (their
 * address cannot be taken). Made by tree_node_new, never on its own.
 */
struct tree_node {
	struct tree_node *parent, *next; /* next: the following name in the same directory */
	union {
		struct tree_node *first; /* directory: its entries, sorted bytewise by name */
		const char *target;      /* symlink */
		const void *data;        /* regular file with TREE_MEMORY */
		/* regular file with TREE_MOVED: the host's directory that has it under its name, or
		 * the regular file whose content it has. Not in the tree themselves. */
		const struct tree_node *host;
		struct tree_node *linked; /* anything with TREE_LINK: see tree_link() */
	};
	struct tree_xattr *xattrs;
	union {
		uint64_t size; /* regular file: bytes; symlink: length of target */
		uint64_t rdev; /* character and block device: dev_t */
	};
	uint64_t
		host_inode; /* with device and origin: which file this is. Equal ones are hard links
				of each other where TREE_LINKED is set */
	uint64_t place : 48;  /* free for whoever writes an image */
	uint64_t mode : 16;   /* type and permissions, as st_mode */
	int64_t mtime : 40;   /* seconds since the epoch; before 1970 below zero: tree_time() */
	uint64_t origin : 12; /* index into tree->origins */
	uint64_t device : 12; /* index into tree->devices */
	uint32_t mtime_nsec;
	uint32_t birth; /* regular file of the host: tree_birth() */
	uint32_t uid, gid;
	uint32_t
		nlink; /* names in this tree; set by tree_finish. Directories: 2 + subdirectories */
	uint32_t number; /* free for whoever writes an image: its inode number */
	uint8_t flags;   /* of enum tree_flag */
	char name[];     /* "" for the root */
};

/* Where a part of the tree came from. */
struct tree_origin {
	char *path; /* as the user wrote it, for messages */
	int fd;     /* the directory; for a grafted file the directory it is in; else -1 */
	char *name; /* a grafted file's name in fd; NULL for a directory */
	const struct content_ops *content; /* how its files are read; NULL: from the host */
	void *source; /* for content; borrowed, and lives longer than the tree */
};

/* Directories of the host that are open, so that a file is opened relative to its own. */
#define TREE_OPEN_DIRECTORIES 64
struct tree_open {
	const struct tree_node *node;
	int fd;
	uint64_t used;
};

/* As many origins, and as many devices of hosts, can nodes tell apart. */
#define TREE_MOST_ORIGINS 4096
#define TREE_MOST_DEVICES 4096

/* Devices of the host, shared with branches: which number one gets may differ from walk to walk. */
struct tree_devices {
	pthread_mutex_t lock; /* of who adds one */
	atomic_size_t count;
	dev_t items[TREE_MOST_DEVICES];
};

struct tree {
	struct arena arena;
	struct tree_node *root;
	VECTOR(struct tree_origin) origins;
	struct tree_devices *devices;
	struct tree_open open[TREE_OPEN_DIRECTORIES];
	uint64_t clock; /* for open: least recently used goes first */
	/* Set by tree_finish. */
	uint64_t entries;        /* names, the root's own included */
	uint64_t inodes;         /* entries less the further names of hard links */
	uint64_t content_bytes;  /* sum of the regular files' sizes, hard links once */
	int64_t newest;          /* latest mtime that is not in the future, seconds, at least 0 */
	uint64_t omitted_xattrs; /* attributes that no image holds (neither user, trusted, security
				    nor POSIX ACL); set by the walk */
};

int tree_new(struct tree **tree, struct ramet_error *err);
void tree_free(struct tree *tree); /* NULL is fine */
static inline void tree_freep(struct tree **tree)
{
	tree_free(*tree);
}
#define _cleanup_tree_ __attribute__((cleanup(tree_freep)))

/*
 * What another thread adds nodes to tree with: it has its memory and its open directories to itself, and
 * tree's origins, to which nobody adds meanwhile. Nodes of the one may hang below those of the other.
 * tree_branch_join makes it a part of the tree again, and frees it. NULL without memory.
 */
struct tree *tree_branch_new(const struct tree *tree);
void tree_branch_join(struct tree *tree, struct tree *branch);

/* A zeroed node called by the length bytes of name (no NUL among them), which are copied; it is not
 * yet in any directory. NULL without memory. */
struct tree_node *tree_node_new(struct tree *tree, const char *name, size_t length);

/* A new origin, the last of tree->origins; its path is a copy of name. -ENOMEM, -E2BIG. */
struct tree_origin;
int tree_origin_new(
	struct tree *tree, const char *name, struct tree_origin **origin, struct ramet_error *err);

/* The nearest time that a node can hold: some 17,000 years either way. */
static inline int64_t tree_time(int64_t seconds)
{
	const int64_t most = ((int64_t)1 << 39) - 1;
	return seconds > most ? most : seconds < -most ? -most : seconds;
}

/* When a file was made, as a number that is 0 where its filesystem does not tell. A file that is made in
 * another's place may get its inode's number, and its size and time from an archive, but not this. */
static inline uint32_t tree_birth(const struct statx *is)
{
	uint64_t time = (uint64_t)is->stx_btime.tv_sec * 1000000000 + is->stx_btime.tv_nsec;
	uint32_t birth = (uint32_t)(time * 0x9e3779b97f4a7c15 >> 32);
	return is->stx_mask & STATX_BTIME ? birth + !birth : 0;
}

/* Whether two of them may be the same file's. */
static inline bool tree_same_birth(uint32_t one, uint32_t other)
{
	return one == other || !one || !other;
}

/* The entry called name in directory, or NULL. */
struct tree_node *tree_find(const struct tree_node *directory, const char *name);
/* Put node under directory at its sorted place, in place of what has its name. */
void tree_insert(struct tree_node *directory, struct tree_node *node);

/*
 * Put the host's folder or file source at the absolute path target; what stood there is replaced.
 * Missing parents are made (0755, owned by root, with the time of the directory they are made in);
 * symlinks on the way are followed inside the tree. *resolved (may be NULL) gets the path without
 * symlinks; the caller frees it.
 * Errors: ENOENT, EACCES, EINVAL (target), ENOTDIR, ELOOP, ESTALE, and those of source_walk.
 */
struct source_options;
int tree_graft(struct tree *tree, const char *source, const char *target,
	const struct source_options *options, char **resolved, struct ramet_error *err);

/* The same for a file owned by root whose content is in memory; data is borrowed for the life of
 * the tree. It gets the time of the directory it is put in. */
int tree_add_file(struct tree *tree, const char *target, uint32_t mode, const void *data,
	size_t size, struct ramet_error *err);

/* From now on what is under root (which has no parent) may be moved within the tree: where the host
 * has each file is noted in the files. Uses the directories' place. -ENOMEM. */
int tree_make_movable(struct tree *tree, struct tree_node *root, struct ramet_error *err);

/* What the host of another name for node, which has TREE_MOVED, is; NULL without memory. */
const struct tree_node *tree_host_file(struct tree *tree, const struct tree_node *node);

/* The node that content comes from: itself, or the one it has its content of. */
static inline const struct tree_node *tree_content_node(const struct tree_node *node)
{
	return node->flags & TREE_MOVED && S_ISREG(node->host->mode) ? node->host : node;
}

/* Find the hard links and count everything, once. Links are found within one origin: two grafts of one
 * folder stay apart, as two mounts would. */
int tree_finish(struct tree *tree, struct ramet_error *err);

/* Every node once, directories before what they hold, in sorted order; NULL after the last. */
struct tree_node *tree_next(struct tree_node *node);
/* Every node once, directories after what they hold. Starts with tree_first_leaf(root). */
struct tree_node *tree_first_leaf(struct tree_node *node);
struct tree_node *tree_next_after(struct tree_node *node);

/* After tree_finish. The node that this one is another name for (never itself a link), or NULL. A
 * link's own first, target and data are gone; its attributes are those of its inode. */
static inline struct tree_node *tree_link(const struct tree_node *node)
{
	return node->flags & TREE_LINK ? node->linked : NULL;
}

/* The node that holds the inode: itself, or what it is a link to. */
static inline struct tree_node *tree_inode(struct tree_node *node)
{
	return node->flags & TREE_LINK ? node->linked : node;
}

/* "/usr/bin/env": the path in the image; "/" for the root. */
void tree_path(const struct tree_node *node, struct text *path);
/* "./rootfs/usr/bin/env": the path on the host, for messages. */
void tree_host_path(const struct tree *tree, const struct tree_node *node, struct text *path);
/* err says what about the node's host path: "cannot WHAT PATH: REASON". Answers -code. */
int tree_node_error(const struct tree *tree, const struct tree_node *node, int code,
	const char *what, struct ramet_error *err);
/* -ESTALE: "PATH HOW while the image was built; ...". */
int tree_node_stale(const struct tree *tree, const struct tree_node *node, const char *how,
	struct ramet_error *err);

/*
 * An fd of the host's directory that node is. Belongs to the tree and lives until some 60 other
 * directories were asked for. The directory is the one that the walk saw, or the answer is -ESTALE.
 */
int tree_directory_fd(struct tree *tree, const struct tree_node *node, struct ramet_error *err);

/* The index of a host device, added when it is new; -EOVERFLOW. By any thread. */
int tree_device_index(struct tree *tree, dev_t device);

#endif
