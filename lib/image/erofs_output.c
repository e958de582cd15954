/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Data grows in one large buffer; when it is full, or something comes that does not follow, a thread
 * writes it while the next one is filled: reading and writing take about the same time. A small
 * image never starts the thread.
 *
 * Inodes come in small pieces which are near each other but in no strict order: a few windows of the
 * image are kept in memory, and one is written when another takes its place. When it is needed again
 * it is read back. What was never written are zeros: the file is new.
 */
#include "image/erofs_writer.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define BUFFER_SIZE ((size_t)512 * 1024)

int erofs_output_open(
	struct erofs_output *output, int fd, uint64_t data_start, struct ramet_error *err)
{
	output->data_start = data_start;
	output->fd = fd;
	pthread_mutex_init(&output->lock, NULL);
	pthread_cond_init(&output->changed, NULL);
	for (size_t i = 0; i < EROFS_BUFFERS; i++) {
		output->buffers[i].bytes = malloc(BUFFER_SIZE);
		if (!output->buffers[i].bytes)
			return error_memory(err);
	}
	return 0;
}

void erofs_output_free(struct erofs_output *output)
{
	if (output->started) {
		pthread_mutex_lock(&output->lock);
		output->ending = true;
		pthread_cond_broadcast(&output->changed);
		pthread_mutex_unlock(&output->lock);
		pthread_join(output->thread, NULL);
	}
	for (size_t i = 0; i < EROFS_WINDOWS; i++)
		free(TAKE_PTR(output->windows[i].bytes));
	for (size_t i = 0; i < EROFS_BUFFERS; i++)
		free(TAKE_PTR(output->buffers[i].bytes));
}

static int failed(int code, struct ramet_error *err)
{
	return error_errno(err, -code, "cannot write the image");
}

static int write_out(struct erofs_output *output, const void *bytes, size_t length, uint64_t offset,
	struct ramet_error *err)
{
	int r = pwrite_full(output->fd, bytes, length, offset);
	return r < 0 ? failed(r, err) : 0;
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

static struct erofs_buffer *buffer_of(struct erofs_output *output, uint64_t number)
{
	return &output->buffers[number % EROFS_BUFFERS];
}

/* The thread: buffer after buffer, until there is none and none will come. After a failure the rest
 * is only counted. */
static void *write_buffers(void *arg)
{
	struct erofs_output *output = arg;
	struct writeback writeback = {.fd = output->fd};
	pthread_mutex_lock(&output->lock);
	while (output->written < output->filled || !output->ending) {
		if (output->written == output->filled) {
			pthread_cond_wait(&output->changed, &output->lock);
			continue;
		}
		const struct erofs_buffer *buffer = buffer_of(output, output->written);
		int r = output->error;
		pthread_mutex_unlock(&output->lock);
		if (r == 0)
			r = pwrite_full(output->fd, buffer->bytes, buffer->used, buffer->offset);
		writeback_advance(&writeback, buffer->offset + buffer->used);
		pthread_mutex_lock(&output->lock);
		output->error = r;
		output->written++;
		pthread_cond_broadcast(&output->changed);
	}
	pthread_mutex_unlock(&output->lock);
	return NULL;
}

/* Wait until at most so many buffers are still to be written. */
static int await_written(struct erofs_output *output, uint64_t most, struct ramet_error *err)
{
	pthread_mutex_lock(&output->lock);
	while (output->filled - output->written > most)
		pthread_cond_wait(&output->changed, &output->lock);
	int r = output->error;
	pthread_mutex_unlock(&output->lock);
	return r < 0 ? failed(r, err) : 0;
}

/* The current buffer goes to the thread; the next one is empty and goes on at offset. */
static int pass_on(struct erofs_output *output, uint64_t offset, struct ramet_error *err)
{
	int r = 0;
	if (buffer_of(output, output->filled)->used) {
		if (!output->started) {
			int code = pthread_create(&output->thread, NULL, write_buffers, output);
			if (code)
				return error_errno(err, code, "cannot start a thread");
			output->started = true;
		}
		pthread_mutex_lock(&output->lock);
		output->filled++;
		pthread_cond_broadcast(&output->changed);
		pthread_mutex_unlock(&output->lock);
		r = await_written(output, EROFS_BUFFERS - 1, err);
	}
	struct erofs_buffer *buffer = buffer_of(output, output->filled);
	buffer->offset = offset;
	buffer->used = 0;
	return r;
}

int erofs_output_room(struct erofs_output *output, uint64_t offset, uint8_t **room, size_t *length,
	struct ramet_error *err)
{
	struct erofs_buffer *buffer = buffer_of(output, output->filled);
	int r = 0;
	if (buffer->offset + buffer->used != offset || buffer->used == BUFFER_SIZE) {
		r = pass_on(output, offset, err);
		buffer = buffer_of(output, output->filled);
	}
	*room = buffer->bytes + buffer->used;
	*length = MIN(*length, BUFFER_SIZE - buffer->used);
	return r;
}

void erofs_output_filled(struct erofs_output *output, size_t length)
{
	buffer_of(output, output->filled)->used += length;
}

int erofs_output_equal(struct erofs_output *output, uint64_t offset, const uint8_t *bytes,
	size_t length, bool *equal, struct ramet_error *err)
{
	const struct erofs_buffer *buffer = buffer_of(output, output->filled);
	uint64_t end = buffer->offset + buffer->used;
	if (offset >= buffer->offset && offset + length <= end) {
		*equal = memcmp(buffer->bytes + (offset - buffer->offset), bytes, length) == 0;
		return 0;
	}
	int r = offset + length > buffer->offset ? pass_on(output, end, err) : 0;
	if (r == 0)
		r = await_written(output, 0, err);
	*equal = true;
	uint8_t there[EROFS_BLOCK_SIZE];
	for (size_t done = 0; done < length && *equal && r == 0; done += sizeof there) {
		r = read_back(output, there, sizeof there, offset + done, err);
		*equal = r == 0 && memcmp(there, bytes + done, sizeof there) == 0;
	}
	return r;
}

/* What a small image has of data needs no thread. */
static int flush_data(struct erofs_output *output, struct ramet_error *err)
{
	struct erofs_buffer *buffer = buffer_of(output, output->filled);
	int r = output->started ? await_written(output, 0, err) : 0;
	if (r == 0 && buffer->used)
		r = write_out(output, buffer->bytes, buffer->used, buffer->offset, err);
	buffer->offset += buffer->used;
	buffer->used = 0;
	return r;
}

int erofs_output_flush(struct erofs_output *output, struct ramet_error *err)
{
	int r = flush_data(output, err);
	for (size_t i = 0; i < EROFS_WINDOWS && r == 0; i++)
		r = close_window(output, &output->windows[i], err);
	return r;
}
