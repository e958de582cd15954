/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device of a lazy file: metadata from that file, content from the source files, zeros between.
 * A source file is opened when one of its blocks is first asked for, checked to be the one that the
 * walk saw, and checked again after each read; where it is not, its blocks give an I/O error, and
 * nothing else does.
 *
 * The engine's stall_ms and fail_stalled are those of the options. A sandbox must allow openat2, statx,
 * fstatfs and clock_nanosleep.
 */
#ifndef BLOCK_LAYOUT_DEVICE_H
#define BLOCK_LAYOUT_DEVICE_H

#include "block/device.h"
#include "image/lazy.h"

struct block_layout_options {
	const int *roots; /* the folders of the lazy's roots, in their order; borrowed */
	/* Their names, for messages; NULL: as the lazy has them. Borrowed. */
	const char *const *root_names;
	bool fail_stalled;   /* a source that does not answer for stall_ms fails its reads with EIO;
			      otherwise they wait as long as it takes, and stall_ms tells when to say so */
	unsigned stall_ms;   /* 0: 30,000 */
	unsigned open_files; /* kept open at most; 0: 256 */
	/* Told what an operator should know: which source changed, vanished, stalls, answers again.
	 * Once per file and cause. Called from any thread. May be NULL. */
	void (*note)(void *ctx, const char *sentence);
	void *note_ctx;
};

/* lazy and the fd it reads are borrowed, and live longer than the device. */
int block_layout_open(const struct lazy *lazy, int fd, const struct block_layout_options *options,
	struct block_device **device, struct ramet_error *err);

#endif
