/* SPDX-License-Identifier: Apache-2.0 */
/* What the halves of the FUSE export share: bytes (fuse.c), and names and attributes (fuse_names.c). */
#ifndef EXPORT_FUSE_INSIDE_H
#define EXPORT_FUSE_INSIDE_H

#include <linux/fuse.h>
#include <time.h>

#include "export/export.h"

enum {
	FUSE_DEPTH = 64,         /* requests that are moved at once */
	FUSE_TRANSFER = 1 << 20, /* bytes that one of them moves at most */
	FUSE_DISK = 2,           /* the node of the disk; that of the folder is FUSE_ROOT_ID */
};

struct fuse_slot;

struct fuse_export {
	struct export export;
	struct export_options options;
	const struct export_device *served;
	char *folder;              /* as it is mounted; NULL before */
	char *file;                /* the disk in it */
	struct loop_fd connection; /* to the kernel */
	struct loop_timer idle;
	bool idle_set;
	bool stopped;
	bool greeted;            /* the kernel has said INIT, and we are one */
	bool dirty;              /* written to since the last flush */
	struct timespec changed; /* the disk's time */
	uint8_t *memory;         /* of the slots */
	struct fuse_slot *slots, *free;
	unsigned in_flight;
	unsigned burst;           /* requests to read before the engine's turn */
	uint64_t bytes, resident; /* being moved; in the slots' memory at most */
};

/* Answer a request, in whole: error is 0 or a negative errno. */
void fuse_reply(
	const struct fuse_export *fuse, uint64_t unique, int error, const void *body, size_t size);
/* Answer a request that moves no bytes of the disk. */
void fuse_answer(struct fuse_export *fuse, const struct fuse_in_header *in, const void *body);
/* The time of the disk is now. */
void fuse_touch(struct fuse_export *fuse);

#endif
