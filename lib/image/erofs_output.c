/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Data grows in one large buffer, which is written when it is full or when something comes that does
 * not follow. Inodes come in small pieces which are near each other but in no strict order: a few
 * windows of the image are kept in memory, and one is written when another takes its place. When
 * it is needed again it is read back. What was never written are zeros: the file is new.
 */
#include "image/erofs_writer.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define BUFFER_SIZE ((size_t)1024 * 1024)

int erofs_output_open(
	struct erofs_output *output, int fd, uint64_t data_start, struct ramet_error *err)
{
	output->data_start = data_start;
	output->fd = fd;
	output->writeback.fd = fd;
	output->bytes = malloc(BUFFER_SIZE);
	return output->bytes ? 0 : error_memory(err);
}

void erofs_output_free(struct erofs_output *output)
{
	for (size_t i = 0; i < EROFS_WINDOWS; i++)
		free(TAKE_PTR(output->windows[i].bytes));
	free(TAKE_PTR(output->bytes));
}

static int write_out(struct erofs_output *output, const void *bytes, size_t length, uint64_t offset,
	struct ramet_error *err)
{
	int r = pwrite_full(output->fd, bytes, length, offset);
	return r < 0 ? error_errno(err, -r, "cannot write the image") : 0;
}

static int read_back(struct erofs_output *output, uint8_t *bytes, size_t length, uint64_t offset,
	struct ramet_error *err)
{
	ssize_t n = pread_full(output->fd, bytes, length, offset);
	if (n < 0)
		return error_errno(err, (int)-n, "cannot read the image back");
	memset(bytes + n, 0, length - (size_t)n);
	return 0;
}

static int close_window(
	struct erofs_output *output, struct erofs_window *window, struct ramet_error *err)
{
	if (!window->number)
		return 0;
	uint64_t offset = (window->number - 1) * EROFS_WINDOW;
	window->number = 0;
	size_t length = MIN(output->data_start - offset, (uint64_t)EROFS_WINDOW);
	return write_out(output, window->bytes, length, offset, err);
}

static int open_window(struct erofs_output *output, uint64_t number, struct erofs_window **found,
	struct ramet_error *err)
{
	struct erofs_window *window = *found = &output->windows[number % EROFS_WINDOWS];
	if (window->number == number + 1)
		return 0;
	int r = close_window(output, window, err);
	if (r == 0 && !window->bytes && !(window->bytes = malloc(EROFS_WINDOW)))
		return error_memory(err);
	if (r == 0)
		r = read_back(output, window->bytes, EROFS_WINDOW, number * EROFS_WINDOW, err);
	if (r == 0)
		window->number = number + 1;
	return r;
}

int erofs_output_put(struct erofs_output *output, uint64_t offset, const void *bytes, size_t length,
	struct ramet_error *err)
{
	const uint8_t *from = bytes;
	if (offset < EROFS_BLOCK_SIZE) {
		memcpy(output->first + offset, from, length);
		return 0;
	}
	while (length) {
		struct erofs_window *window;
		int r = open_window(output, offset / EROFS_WINDOW, &window, err);
		if (r < 0)
			return r;
		size_t within = offset % EROFS_WINDOW, piece = MIN(length, EROFS_WINDOW - within);
		memcpy(window->bytes + within, from, piece);
		from += piece;
		offset += piece;
		length -= piece;
	}
	return 0;
}

static int flush_data(struct erofs_output *output, struct ramet_error *err)
{
	int r = output->used ? write_out(output, output->bytes, output->used, output->offset, err)
			     : 0;
	output->offset += output->used;
	output->used = 0;
	writeback_advance(&output->writeback, output->offset);
	return r;
}

int erofs_output_room(struct erofs_output *output, uint64_t offset, uint8_t **room, size_t *length,
	struct ramet_error *err)
{
	int r = 0;
	if (output->offset + output->used != offset || output->used == BUFFER_SIZE) {
		r = flush_data(output, err);
		output->offset = offset;
	}
	*room = output->bytes + output->used;
	*length = MIN(*length, BUFFER_SIZE - output->used);
	return r;
}

void erofs_output_filled(struct erofs_output *output, size_t length)
{
	output->used += length;
}

int erofs_output_equal(struct erofs_output *output, uint64_t offset, const uint8_t *bytes,
	size_t length, bool *equal, struct ramet_error *err)
{
	if (offset >= output->offset && offset + length <= output->offset + output->used) {
		*equal = memcmp(output->bytes + (offset - output->offset), bytes, length) == 0;
		return 0;
	}
	int r = offset + length > output->offset ? flush_data(output, err) : 0;
	*equal = true;
	uint8_t there[EROFS_BLOCK_SIZE];
	for (size_t done = 0; done < length && *equal && r == 0; done += sizeof there) {
		r = read_back(output, there, sizeof there, offset + done, err);
		*equal = r == 0 && memcmp(there, bytes + done, sizeof there) == 0;
	}
	return r;
}

int erofs_output_flush(struct erofs_output *output, struct ramet_error *err)
{
	int r = flush_data(output, err);
	for (size_t i = 0; i < EROFS_WINDOWS && r == 0; i++)
		r = close_window(output, &output->windows[i], err);
	return r;
}
