/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking into one view: listing it, writing files and trees out, counting it, proving it whole.
 * Everything here runs in a sandboxed child and reads what a stranger wrote.
 */
#ifndef LOOK_LOOK_H
#define LOOK_LOOK_H

#include "base/text.h"
#include "changes/changes.h"
#include "changes/sink.h"

/* listing.c */
/* How a listing is written; the line of one object, or what stands around all of them. */
struct listing_form {
	const char *name; /* "names", "long", "json" */
	const char *begin, *end;
	/* first: nothing was written before. name: how the object is called in this listing. */
	int (*each)(struct text *line, const struct change_side *object, const char *name,
		bool first, struct ramet_error *err);
};
/* By name (NULL: "names"), or NULL. */
const struct listing_form *listing_form_find(const char *name);

struct listing {
	const struct listing_form *form;
	bool recursive;
	bool disarm;      /* control characters of names become '?', but in JSON */
	uint64_t entries; /* how many were written */
};
/* List ref, which real (absolute, without symlinks) names: what is in a directory, or the file
 * itself. Names are those within the directory; with recursive, and in JSON, whole paths. */
int look_list(const struct changes_view *view, fs_ref ref, const char *real,
	struct listing *listing, struct sink *sink, struct ramet_error *err);

/* bytes.c */
/* Write a regular file's content to fd. At the end of a regular file, holes stay holes. */
int look_bytes(const struct change_side *file, int fd, struct ramet_error *err);

/* archive.c */
/*
 * Write directory and all below it to fd as a tar. Names in it begin with prefix, the directory's
 * own name; "" is for what is in it, with "./" for itself. *omitted: objects that a tar cannot hold.
 */
int look_archive(const struct change_side *directory, const char *prefix, int fd, uint64_t *omitted,
	struct ramet_error *err);

/* census.c */
struct census {
	uint64_t entries; /* all names, the root among them */
	/* Each once, however many names it has. */
	uint64_t files, directories, symlinks, character_devices, block_devices, fifos, sockets;
	uint64_t hard_links;          /* names beyond the first of a file */
	uint64_t content_bytes;       /* sum of the files' sizes, hard links once */
	uint64_t xattrs, with_xattrs; /* attributes, and objects that have some */
	/* What a layer of an overlay has: deletions, directories that hide what is below, names
	 * that stand for another one's content. */
	uint64_t whiteouts, opaque, redirects;
};
/* Count all of a view; no content is read. */
int look_census(const struct changes_view *view, struct census *census, struct ramet_error *err);

#endif
