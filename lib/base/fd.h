/* SPDX-License-Identifier: Apache-2.0 */
/* Whole reads and writes, and files that appear only when they are whole. */
#ifndef BASE_FD_H
#define BASE_FD_H

#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/* Each goes on after short transfers and EINTR. pread_full and read_full answer how many bytes
 * there were (less than length only at the end of the file) or a negative errno; the writers
 * answer 0 or a negative errno. */
ssize_t read_full(int fd, void *buffer, size_t length);
ssize_t pread_full(int fd, void *buffer, size_t length, uint64_t offset);
int write_full(int fd, const void *buffer, size_t length);
int pwrite_full(int fd, const void *buffer, size_t length, uint64_t offset);

/* A file written front to back that fsync will be asked for: every few MiB the kernel is told to
 * begin, so that the disk works while the next bytes are made. Start with {.fd = fd}; end: how far
 * the file is written. */
struct writeback {
	int fd; /* borrowed */
	uint64_t begun;
};
void writeback_advance(struct writeback *writeback, uint64_t end);

/* The whole of a small file, NUL-terminated; the caller frees *data. -EFBIG beyond max bytes. */
int read_file(int dirfd, const char *path, size_t max, char **data, size_t *length);

/*
 * A file that is written aside and takes its name only when it is whole. outfile_publish makes it
 * durable (fsync of file and folder) and renames it over whatever stood there. Until then, and
 * when the process is killed at any moment, nothing of it is to be seen (O_TMPFILE; where the
 * filesystem has no such thing, a hidden name next to the target that outfile_open of the same
 * target clears away later).
 */
struct outfile {
	int fd; /* read-write */
	int dirfd;
	char *path; /* as the user wrote it, for messages */
	char *name; /* within dirfd */
	char *temp; /* the hidden name, or NULL with O_TMPFILE */
};
#define OUTFILE_NONE \
	{ \
		.fd = -1, .dirfd = -1 \
	}

int outfile_open(struct outfile *out, const char *path, struct ramet_error *err);
int outfile_publish(struct outfile *out, struct ramet_error *err);
/* Release everything; an outfile that was not published leaves no trace. */
void outfile_close(struct outfile *out);
#define _cleanup_outfile_ __attribute__((cleanup(outfile_close)))

#endif
