/* SPDX-License-Identifier: Apache-2.0 */
/* A source file of a lazy image: opened beneath its root, and held against what the walk saw. */
#ifndef IMAGE_SOURCE_FILE_H
#define IMAGE_SOURCE_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "image/lazy.h"

enum source_cause {
	SOURCE_RIGHT,
	SOURCE_GONE,
	SOURCE_CHANGED,
	SOURCE_REPLACED,
	SOURCE_REFUSED,
	SOURCE_UNREACHABLE,
	SOURCE_CAUSES,
};

/* What became of the file: "vanished", "was replaced", "became shorter"; static. NULL where it is not the
 * file that is another. fd: the open one, or -1. */
const char *source_cause_word(enum source_cause cause, int fd, const struct lazy_file *seen);
/* Of an errno from opening or reading. */
enum source_cause source_cause_of(int code);

/*
 * Open path (as long as it may be) beneath root, through no symlink and to no device. 0, with *slow:
 * the filesystem is not one that answers at once; or a negative errno: -ELOOP where a symlink stands
 * in the way.
 */
int source_open(int root, const char *path, int *fd, bool *slow);
/* The same where all names are in the kernel's cache, on the very filesystem of the root: that never
 * blocks where the root is not slow. -EAGAIN and others: ask source_open(). */
int source_open_quick(int root, const char *path);
bool source_is_slow(int fd);
/*
 * Compare an open file with what was seen. A slow filesystem is asked, not its cache: that may take
 * for ever. code: the errno of SOURCE_UNREACHABLE and SOURCE_REFUSED.
 */
enum source_cause source_compare(int fd, bool slow, const struct lazy_file *seen, int *code);
/* How many milliseconds it is until a file that was last written at that time cannot be written again
 * without its time showing it: clocks of files tick, in steps of up to 10 ms, or of up to 2 s where
 * they count seconds (no fraction). */
unsigned source_unsettled(const struct lazy_file *seen);
/* Wait for that. */
void source_settle(const struct lazy_file *seen);

#endif
