/* SPDX-License-Identifier: Apache-2.0 */
#include "changes/sink.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"

enum { CAPACITY = 256 * 1024 };

int sink_open(struct sink *sink, int fd, struct ramet_error *err)
{
	*sink = (struct sink){.fd = fd, .buffer = malloc(CAPACITY)};
	return sink->buffer ? 0 : error_memory(err);
}

static void sink_empty(struct sink *sink)
{
	if (!sink->failed && sink->used)
		sink->failed = write_full(sink->fd, sink->buffer, sink->used);
	sink->used = 0;
}

void sink_write(struct sink *sink, const void *bytes, size_t length)
{
	sink->total += length;
	if (length > CAPACITY - sink->used)
		sink_empty(sink);
	if (sink->failed)
		return;
	if (length > CAPACITY) {
		sink->failed = write_full(sink->fd, bytes, length);
		return;
	}
	memcpy(sink->buffer + sink->used, bytes, length);
	sink->used += length;
}

void sink_string(struct sink *sink, const char *string)
{
	sink_write(sink, string, strlen(string));
}

void sink_format(struct sink *sink, const char *format, ...)
{
	char text[512];
	va_list args;
	va_start(args, format);
	int length = vsnprintf(text, sizeof text, format, args);
	va_end(args);
	if (length < 0 || (size_t)length >= sizeof text)
		sink->failed = -EOVERFLOW;
	else
		sink_write(sink, text, (size_t)length);
}

int sink_check(const struct sink *sink, struct ramet_error *err)
{
	if (sink->failed)
		return error_errno(err, -sink->failed, "cannot write the answer");
	return 0;
}

int sink_flush(struct sink *sink, struct ramet_error *err)
{
	sink_empty(sink);
	return sink_check(sink, err);
}

void sink_free(struct sink *sink)
{
	free(sink->buffer);
	sink->buffer = NULL;
}
