/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The name of a blob is the SHA-1 of "blob SIZE", a NUL and the bytes (gitformat-pack, "git
 * hash-object"). A binary hunk is "literal SIZE", then lines of up to 52 bytes of the deflated
 * content: their count as a letter (A-Z for 1..26, a-z for 27..52), the bytes in base 85, four to
 * five digits, the last group filled with zeros; an empty line ends it (git: diff.c and base85.c
 * define the form, gitdiffcore names it). Content is streamed, so its size is no matter.
 */
#include "changes/blob.h"

#include <errno.h>
#include <inttypes.h>
#include <nettle/sha1.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "base/cleanup.h"
#include "changes/side.h"
#include "changes/textdiff.h"

enum { BUFFER = 256 * 1024, LINE = 52 };

/* Calls take for all the bytes, in order. */
static int blob_stream(const struct blob *blob,
	int (*take)(void *ctx, const void *bytes, size_t length, struct ramet_error *err),
	void *ctx, struct ramet_error *err)
{
	if (blob->data || blob->size == 0)
		return take(ctx, blob->data ? blob->data : "", (size_t)blob->size, err);
	_cleanup_free_ char *buffer = malloc(BUFFER);
	if (!buffer)
		return error_memory(err);
	for (uint64_t offset = 0; offset < blob->size;) {
		size_t step = (size_t)MIN(blob->size - offset, (uint64_t)BUFFER);
		int r = side_read(blob->side, offset, buffer, step, err);
		if (r == 0)
			r = take(ctx, buffer, step, err);
		if (r < 0)
			return r;
		offset += step;
	}
	return 0;
}

static int digest_take(void *ctx, const void *bytes, size_t length, struct ramet_error *err)
{
	sha1_update(ctx, length, bytes);
	return 0;
}

static int blob_name(struct blob *blob, struct ramet_error *err)
{
	struct sha1_ctx sha1;
	uint8_t digest[SHA1_DIGEST_SIZE];
	char head[48];
	int length = snprintf(head, sizeof head, "blob %" PRIu64, blob->size);
	sha1_init(&sha1);
	sha1_update(&sha1, (size_t)length + 1, (const uint8_t *)head);
	int r = blob_stream(blob, digest_take, &sha1, err);
	if (r < 0)
		return r;
	sha1_digest(&sha1, sizeof digest, digest);
	for (size_t i = 0; i < sizeof digest; i++)
		snprintf(blob->id + 2 * i, 3, "%02x", digest[i]);
	return 0;
}

static int blob_load(struct blob *blob, struct ramet_error *err)
{
	if (S_ISLNK(blob->side->stat.mode)) {
		int r = side_readlink(blob->side, &blob->data, err);
		if (r == 0)
			blob->size = strlen(blob->data);
		return r;
	}
	blob->size = blob->side->stat.size;
	blob->binary = blob->size > LINES_BYTES_MAX;
	if (blob->binary || blob->size == 0)
		return 0;
	blob->data = malloc((size_t)blob->size);
	if (!blob->data)
		return error_memory(err);
	int r = side_read(blob->side, 0, blob->data, (size_t)blob->size, err);
	blob->binary = r == 0 && memchr(blob->data, '\0', (size_t)blob->size);
	return r;
}

int blob_open(struct blob *blob, const struct change_side *side, struct ramet_error *err)
{
	*blob = (struct blob){.side = side, .id = BLOB_NO_ID};
	if (!side)
		return 0;
	int r = blob_load(blob, err);
	return r < 0 ? r : blob_name(blob, err);
}

void blob_free(struct blob *blob)
{
	free(TAKE_PTR(blob->data));
}

/* ------------------------------------------------------------------------------------------- */

struct binary_writer {
	struct sink *sink;
	z_stream z;
	unsigned char out[BUFFER];
	size_t used;
};

static void put_line(struct sink *sink, const unsigned char *bytes, size_t length)
{
	static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "abcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~";
	char line[1 + LINE / 4 * 5 + 1];
	size_t at = 0;
	line[at++] = (char)(length <= 26 ? 'A' + length - 1 : 'a' + length - 27);
	for (size_t i = 0; i < length; i += 4) {
		uint32_t group = 0;
		for (size_t j = 0; j < 4; j++)
			group = group << 8 | (i + j < length ? bytes[i + j] : 0);
		for (size_t j = 5; j-- > 0; group /= 85)
			line[at + j] = digits[group % 85];
		at += 5;
	}
	line[at++] = '\n';
	sink_write(sink, line, at);
}

/* Whole lines of what was deflated; at the end the rest too. */
static void put_lines(struct binary_writer *w, bool end)
{
	size_t done = 0;
	while (w->used - done >= (end ? 1 : LINE)) {
		size_t length = MIN(w->used - done, (size_t)LINE);
		put_line(w->sink, w->out + done, length);
		done += length;
	}
	memmove(w->out, w->out + done, w->used - done);
	w->used -= done;
}

static int deflate_some(struct binary_writer *w, int flush, struct ramet_error *err)
{
	for (;;) {
		w->z.next_out = w->out + w->used;
		w->z.avail_out = (uInt)(BUFFER - w->used);
		int status = deflate(&w->z, flush);
		w->used = BUFFER - w->z.avail_out;
		bool full = w->z.avail_out == 0;
		put_lines(w, status == Z_STREAM_END);
		if (status != Z_OK && status != Z_BUF_ERROR && status != Z_STREAM_END)
			return error_set(err, EIO, "zlib cannot deflate a file");
		if (!full)
			return sink_check(w->sink, err);
	}
}

static int deflate_take(void *ctx, const void *bytes, size_t length, struct ramet_error *err)
{
	struct binary_writer *w = ctx;
	w->z.next_in = (Bytef *)(uintptr_t)bytes;
	w->z.avail_in = (uInt)length;
	return deflate_some(w, Z_NO_FLUSH, err);
}

int blob_write_binary(const struct blob *blob, struct sink *sink, struct ramet_error *err)
{
	_cleanup_free_ struct binary_writer *w = calloc(1, sizeof *w);
	if (!w || deflateInit(&w->z, Z_DEFAULT_COMPRESSION) != Z_OK)
		return error_memory(err);
	w->sink = sink;
	sink_format(sink, "literal %" PRIu64 "\n", blob->size);
	int r = blob_stream(blob, deflate_take, w, err);
	if (r == 0)
		r = deflate_some(w, Z_FINISH, err);
	deflateEnd(&w->z);
	sink_string(sink, "\n");
	return r;
}
