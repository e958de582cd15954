/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reels: bytes that can be read forward as often as one likes, each time from the beginning: a file,
 * a part of one, or a part of what is inside the compression of another reel (a member of a
 * compressed archive).
 */
#ifndef SOURCE_REEL_H
#define SOURCE_REEL_H

#include <sys/types.h>
#include <time.h>

#include "source/feed.h"

struct archive_library;
struct source_request;

/* Plain to copy: it owns nothing. */
struct reel {
	const char *name; /* as messages call it: "image.tar"; borrowed */
	int fd;           /* a file that can be read anywhere with pread(); borrowed */
	/* Or: the bytes are some of what is inside this one's compression; borrowed. */
	const struct reel *inside;
	uint64_t offset, length; /* bytes; which part */
	struct timespec written; /* the file's mtime when it was opened */
};

/* All of fd, a regular file or block device. Errors: ESPIPE (it cannot be read twice). */
int reel_of_file(struct reel *reel, int fd, const char *name, struct ramet_error *err);
/* A part of another's bytes, as they are. */
struct reel reel_part(const struct reel *of, const char *name, uint64_t offset, uint64_t length);
/* A part of what is inside the compression (or none) of another. */
struct reel reel_part_unpacked(
	const struct reel *of, const char *name, uint64_t offset, uint64_t length);

/*
 * Open place, a file, or "-" for the standard input. What can be read only once (a pipe) is first
 * kept, as it is, in a nameless file in request->spool_dirfd, and request->note is told. *fd is for
 * the caller to close. Errors: ENOENT, EACCES, EISDIR, ENOSPC.
 */
int reel_open(struct reel *reel, const char *place, const struct source_request *request, int *fd,
	struct ramet_error *err);

/* Read the bytes as they are, from the first. */
int reel_feed(const struct reel *reel, const struct archive_library *lib, struct feed **feed,
	struct ramet_error *err);
/* -ESTALE and a sentence when the file was written to since the reel was made. */
int reel_verify(const struct reel *reel, struct ramet_error *err);

#endif
