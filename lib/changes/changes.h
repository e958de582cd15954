/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What differs between two views of a tree: the base, and what a fork made of it.
 *
 * changes_walk finds the changes; a form (list, JSON, tar layer, patch) is a visitor that writes
 * them down as they come. Both modes of a fork are the same comparison: in overlay mode the new
 * view is the merged one, in clone mode it is the clone.
 */
#ifndef CHANGES_CHANGES_H
#define CHANGES_CHANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/error.h"
#include "image/fs.h"

/* A view and what messages call it: "the base /images/base.squashfs". Both are borrowed. */
struct changes_view {
	struct fs *fs;
	const char *name;
};

/* One side of a change: an object of one of the views. */
struct change_side {
	const struct changes_view *view;
	const char *path; /* absolute */
	fs_ref ref;
	struct fs_stat stat;
};

enum change_kind {
	CHANGE_ADDED = 'A',
	CHANGE_MODIFIED = 'M',
	CHANGE_DELETED = 'D',
	CHANGE_RETYPED = 'T', /* a file became a symlink, a directory a file, ... */
};

/* What is not the same. A new time alone is no change. */
enum change_what {
	CHANGE_CONTENT = 1, /* bytes of a file, target of a symlink, numbers of a device */
	CHANGE_MODE = 2,    /* the permissions */
	CHANGE_OWNER = 4,
	CHANGE_XATTRS = 8,
};

struct change {
	enum change_kind kind;
	const char *path; /* absolute */
	unsigned what;    /* of change_what; 0 unless modified or retyped */
	bool implied;     /* deleted, and so says already what was visited before: a directory
			     above it is deleted, retyped or emptied */
	const struct change_side *old, *new; /* NULL where there is none */
};

enum changes_verdict {
	CHANGES_COMPARE, /* the bytes are to be compared */
	CHANGES_SAME,    /* taken for the same without a look */
	CHANGES_DIFFER,
};

/* Strings and sides live until the call returns. Each answers 0, or a negative errno that ends
 * the walk. */
struct changes_visitor {
	int (*each)(void *ctx, const struct change *change, struct ramet_error *err);
	/* Called before what is in directory: nothing that the old view had in it is there any
	 * more. left_empty: and nothing new is. May be NULL. */
	int (*emptied)(void *ctx, const char *directory, bool left_empty, struct ramet_error *err);
	/* Called before anything that is in a directory: old and new are its sides, NULL where it is
	 * none. May be NULL. */
	int (*entered)(void *ctx, const struct change_side *old, const struct change_side *new,
		struct ramet_error *err);
	/* Called for what was compared and is the same; not for what the views could prove to be
	 * (fs_ops.same). May be NULL. */
	int (*kept)(void *ctx, const struct change_side *old, const struct change_side *new,
		struct ramet_error *err);
	/* How to find out whether two files of one size, neither of them empty, hold the same. NULL:
	 * their bytes are compared. */
	int (*judge)(void *ctx, const struct change_side *old, const struct change_side *new,
		enum changes_verdict *verdict, struct ramet_error *err);
};

/* Paths that limit a walk, made absolute and plain: no "//", no "/" at the end. */
struct changes_limits {
	char **paths;
	size_t count;
};

/* paths: NULL-terminated, or NULL for no limits. -EINVAL for a path that is not absolute or has
 * "." or ".." in it. */
int changes_limits_parse(
	const char *const *paths, struct changes_limits *limits, struct ramet_error *err);
void changes_limits_free(struct changes_limits *limits);

/* Where a path stands to the limits. */
enum changes_place {
	CHANGES_OUTSIDE,
	CHANGES_TOWARDS, /* a directory on the way to a limit */
	CHANGES_INSIDE,
};
enum changes_place changes_limits_place(const struct changes_limits *limits, const char *path);

struct changes_options {
	const struct changes_limits *limits;
	bool plain_root; /* the new root is a directory that an overlay was mounted with: when it
			    looks as mkdir makes it, it is not a change of "/" */
};

/*
 * Visit every change, in the order of the bytes of the full paths. Memory is bounded by the largest
 * directories on one path; the same directory met twice, and paths of more than 64 KiB, are
 * damage (-EUCLEAN).
 */
int changes_walk(const struct changes_view *old, const struct changes_view *new,
	const struct changes_options *options, const struct changes_visitor *visitor, void *ctx,
	struct ramet_error *err);

/* What differs between two objects of one type: *what gets bits of change_what. files: what is known
 * of the content of two files of one size. */
int changes_compare(const struct change_side *old, const struct change_side *new,
	enum changes_verdict files, unsigned *what, struct ramet_error *err);

/* Whether the directory looks as mkdir makes it. */
int changes_is_plain(const struct change_side *directory, bool *plain, struct ramet_error *err);

#endif
