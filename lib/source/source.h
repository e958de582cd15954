/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sources: where a tree comes from. A kind of source is a file that opens one and makes a tree of
 * it, and a line in the table of api/sources.c.
 *
 * The work is in two parts because of what is hostile: open runs in the caller's process, opens
 * every file that will be needed and trusts nothing in them but small, bounded descriptions (JSON);
 * walk and the reading of content, which parse what a stranger wrote, may then run in a sandbox
 * that can open nothing more.
 */
#ifndef SOURCE_SOURCE_H
#define SOURCE_SOURCE_H

#include <sys/stat.h>

#include "base/progress.h"
#include "source/tree.h"

/* Threads that walk one folder. */
#define WALK_MOST 4

struct source_options {
	const struct stat *avoid; /* a directory that must not be met (the output's), or NULL */
	struct meter *meter;      /* told the number of entries, or NULL */
	uint64_t *walked;         /* the running count of entries for meter, or NULL */
	unsigned
		threads; /* that walk a large folder; 0: as the processors are, at most WALK_MOST */
	/* Told what a user should know. May be NULL. */
	void (*note)(void *ctx, const char *sentence);
	void *note_ctx;
};

struct source;

/* What open is told beside the place. */
struct ramet_store;
struct source_request {
	bool layer;           /* it is laid over others: a folder is a layer of an overlay */
	const char *platform; /* "linux/amd64", or NULL: the host's */
	int spool_dirfd; /* a folder in which a stream that can be read only once is kept, nameless
			    (O_TMPFILE), until it was read: the output's. -1: none */
	/* The place is open already, here, and can be read anywhere: reel_open() takes it. NULL: it is
	 * not. */
	const int *opened;
	struct ramet_store *store; /* what is known of images; NULL: nothing */
	/* Told what a user should know: what was taken for what, what was skipped. May be NULL. */
	void (*note)(void *ctx, const char *sentence);
	void *note_ctx;
};

struct source_ops {
	const char *name; /* as messages call the kind: "directory", "tar archive" */
	bool hostile;     /* walk and content parse what a stranger wrote: they want a sandbox */
	/*
	 * Lay the source over the tree: a tree without a root gets one, otherwise the source is a
	 * layer on what is there (whiteouts take away, directories meet). The source must live
	 * longer than the tree, whose content it may have to read.
	 */
	int (*walk)(struct source *source, struct tree *tree, const struct source_options *options,
		struct ramet_error *err);
	void (*close)(struct source *source); /* frees source too */
};

/* A bind mount that came with the source (a runtime bundle's). */
struct source_bind {
	char *source, *target;
	bool read_only;
};

/* The kinds' own structures start with this. source_init and source_release do what is common. */
struct source {
	const struct source_ops *ops;
	char *place;     /* as the user wrote it, for messages */
	VECTOR(int) fds; /* what walk and content need in a sandbox; they belong to the source */
	/* Paths of the host below which walk and content read. In a sandbox they can, and nothing
	 * else. */
	VECTOR(char *) folders;
	VECTOR(struct source_bind) binds;
	bool read_only; /* the guest is to see the root read-only */
	/* In what walk takes in, that the guest mounts read-only: absolute, one a line; or NULL. */
	char *read_only_paths;
	char *process; /* JSON of the default command that the source names (process.h), or NULL */
};
void source_init(struct source *source, const struct source_ops *ops);
void source_release(struct source *source);
/* Add a copy of path to source->folders. */
int source_add_folder(struct source *source, const char *path, struct ramet_error *err);
/* The close of kinds that have no more than struct source. */
void source_free(struct source *source);
void source_close(struct source *source); /* NULL is fine */
static inline void source_closep(struct source **source)
{
	source_close(*source);
}
#define _cleanup_source_ __attribute__((cleanup(source_closep)))

/* A kind of source. */
struct source_kind {
	const char *prefix;  /* "oci": "oci:PLACE" is this kind */
	const char *summary; /* for help: one line */
	int (*open)(const char *place, const struct source_request *request, struct source **source,
		struct ramet_error *err);
	/* Whether the file fd, which can be read anywhere, is of this kind by its content: then no
	 * prefix is needed. The kinds are asked in the table's order, outside of any sandbox. NULL:
	 * the prefix is needed. */
	bool (*recognise)(int fd);
};

/* A folder of the host. Never hostile: the operator names it, and the kernel reads it. */
int source_open_directory(const char *place, const struct source_request *request,
	struct source **source, struct ramet_error *err);

/* A tar archive, compressed or not; "-" is the standard input. Hostile. */
int source_open_tar(const char *place, const struct source_request *request, struct source **source,
	struct ramet_error *err);
bool source_is_tar(int fd);

/* The same as a layer of an overlay, with whiteouts (lowerdir.c). */
extern const struct source_ops source_lowerdir_ops;

/*
 * Walk the directory path into the empty tree. No symlink is followed but path itself.
 * Errors: ENOENT, ENOTDIR, EACCES, ESTALE (it changed meanwhile), EINVAL (avoid was met), EFBIG.
 */
int source_walk(struct tree *tree, const char *path, const struct source_options *options,
	struct ramet_error *err);

/*
 * Open path as a new origin and make the node for it, with everything under it when it is a
 * directory. Regular files are taken only with allow_file. *top has no parent; it is called name.
 */
int source_take(struct tree *tree, const char *path, const char *name, bool allow_file,
	const struct source_options *options, struct tree_node **top, struct ramet_error *err);

/* Whether an image is to have the attribute: user, trusted, security and the POSIX ACLs. */
bool source_keeps_xattr(const char *name);
/* Put a copy of the attribute, at most 4 GiB, into the sorted list, in place of one of that name.
 * -ENOMEM. */
int source_add_xattr(struct tree *tree, struct tree_xattr **list, const char *name,
	const void *value, size_t size);

/* Read the extended attributes of name in the directory dirfd ("." for itself) into node. */
int source_read_xattrs(struct tree *tree, struct tree_node *node, int dirfd, const char *name,
	struct ramet_error *err);

#endif
