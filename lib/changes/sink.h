/* SPDX-License-Identifier: Apache-2.0 */
/* Where an answer goes: an fd, through a buffer. */
#ifndef CHANGES_SINK_H
#define CHANGES_SINK_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct sink {
	int fd;
	char *buffer;
	size_t used;
	uint64_t total; /* bytes given so far */
	int failed;     /* a negative errno: nothing is written after it */
};

/* -ENOMEM. */
int sink_open(struct sink *sink, int fd, struct ramet_error *err);
/* Each may be called after a failure, and then does nothing: ask sink_check now and then. */
void sink_write(struct sink *sink, const void *bytes, size_t length);
void sink_string(struct sink *sink, const char *string);
void sink_format(struct sink *sink, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* 0, or the failure with its sentence. */
int sink_check(const struct sink *sink, struct ramet_error *err);
int sink_flush(struct sink *sink, struct ramet_error *err);
void sink_free(struct sink *sink);

#endif
