/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libarchive reads the tar; what it reads comes from a feed, and goes to whoever asks without being
 * copied. It is not told to undo compression, so that what it reads can be hashed.
 *
 * libarchive converts names from UTF-8, in which pax headers are written, to the charset of the
 * locale. In the "C" locale it cannot where it matters, says so in a warning, and gives the bytes as
 * they are: that is what is wanted, so that locale is set while it reads a header, and that one
 * warning is passed over. All other warnings mean that something was left out: they are failures.
 */
#include "source/tape.h"

#include <locale.h>
#include <string.h>

#include "base/cleanup.h"
#include "source/compressed.h"

/* The padding of the last block, and an end mark. */
static size_t pad(struct tape *tape, const void **bytes)
{
	static const char zeros[3 * 512];
	tape->padded = true;
	*bytes = zeros;
	return 2 * 512 + (size_t)(-tape->given & 511);
}

static la_ssize_t give(struct archive *archive, void *ctx, const void **bytes)
{
	struct tape *tape = ctx;
	const void *piece = NULL;
	tape->length = 0;
	tape->result = feed_next(tape->feed, &piece, &tape->length, &tape->err);
	if (tape->result < 0) {
		tape->lib->archive_set_error(archive, -tape->result, "it cannot be read");
		return -1;
	}
	tape->piece = piece;
	tape->given += tape->length;
	if (!tape->length && tape->forgiving && !tape->padded)
		return (la_ssize_t)pad(tape, bytes);
	*bytes = piece;
	return (la_ssize_t)tape->length;
}

static la_int64_t skip(struct archive *archive, void *ctx, la_int64_t request)
{
	struct tape *tape = ctx;
	if (request <= 0)
		return 0;
	uint64_t skipped = feed_skip(tape->feed, (uint64_t)request);
	tape->given += skipped;
	return (la_int64_t)skipped;
}

int tape_open(struct tape *tape, const struct reel *reel, const struct archive_library *lib,
	struct sha256_ctx *packed, struct sha256_ctx *unpacked, struct ramet_error *err)
{
	*tape = (struct tape){.lib = lib, .name = reel->name};
	int r = reel_feed(reel, lib, &tape->feed, err);
	if (r == 0 && packed) {
		struct feed *below = TAKE_PTR(tape->feed);
		r = feed_hash(&tape->feed, below, packed, err);
	}
	if (r == 0)
		r = feed_unpack(&tape->feed, reel->name, lib, &tape->compression, err);
	if (r == 0 && unpacked) {
		struct feed *below = TAKE_PTR(tape->feed);
		r = feed_hash(&tape->feed, below, unpacked, err);
	}
	if (r < 0)
		return r;
	tape->skips = tape->feed->skip != NULL;
	tape->archive = lib->archive_read_new();
	if (!tape->archive)
		return error_memory(err);
	lib->archive_read_support_format_tar(tape->archive);
	return 0;
}

void tape_close(struct tape *tape)
{
	if (tape->archive)
		tape->lib->archive_read_free(tape->archive);
	feed_close(tape->feed);
	text_free(&tape->path);
	*tape = (struct tape){0};
}

int tape_damaged(const struct tape *tape, const char *how, struct ramet_error *err)
{
	if (!tape->number)
		return error_set(err, EUCLEAN, "%s is damaged: %s", tape->name, how);
	return error_set(err, EUCLEAN, "%s is damaged at the entry '%s': %s", tape->name,
		tape->path.data ? tape->path.data : "", how);
}

static int failed(const struct tape *tape, bool in_header, struct ramet_error *err)
{
	if (tape->result < 0) {
		if (err)
			*err = tape->err;
		return tape->result;
	}
	if (tape->lib->archive_errno(tape->archive) == ENOMEM)
		return error_memory(err);
	const char *what = tape->lib->archive_error_string(tape->archive);
	what = what ? what : "libarchive does not say how";
	if (!in_header)
		return tape_damaged(tape, what, err);
	if (!tape->number)
		return error_set(
			err, EUCLEAN, "%s is damaged at its first entry: %s", tape->name, what);
	return error_set(err, EUCLEAN, "%s is damaged after the entry '%s': %s", tape->name,
		tape->path.data ? tape->path.data : "", what);
}

static bool is_harmless(const struct tape *tape)
{
	const char *what = tape->lib->archive_error_string(tape->archive);
	return what && strstr(what, "can't be converted from UTF-8 to current locale");
}

static int read_header(struct tape *tape)
{
	locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
	locale_t before = plain ? uselocale(plain) : (locale_t)0;
	const struct archive_library *lib = tape->lib;
	int code = ARCHIVE_OK;
	if (!tape->number)
		code = lib->archive_read_open2(tape->archive, tape, NULL, give, skip, NULL);
	if (code == ARCHIVE_OK)
		code = lib->archive_read_next_header(tape->archive, &tape->entry);
	if (plain) {
		uselocale(before);
		freelocale(plain);
	}
	return code;
}

int tape_next(struct tape *tape, struct ramet_error *err)
{
	tape->data_length = 0;
	tape->data_offset = 0;
	tape->data_ended = false;
	int code = read_header(tape);
	if (code == ARCHIVE_EOF)
		return 0;
	if (code != ARCHIVE_OK && !(code == ARCHIVE_WARN && is_harmless(tape)))
		return failed(tape, true, err);
	const char *path = tape->lib->archive_entry_pathname(tape->entry);
	text_truncate(&tape->path, 0);
	text_append(&tape->path, path ? path : "");
	tape->number++;
	if (tape->path.failed)
		return error_memory(err);
	return path ? 1 : tape_damaged(tape, "it has no name", err);
}

uint64_t tape_position(const struct tape *tape)
{
	return (uint64_t)tape->lib->archive_filter_bytes(tape->archive, 0);
}

int tape_pass(struct tape *tape, struct ramet_error *err)
{
	int code = tape->lib->archive_read_data_skip(tape->archive);
	return code == ARCHIVE_OK || code == ARCHIVE_EOF ? 0 : failed(tape, false, err);
}

/* The next piece of the entry's content. */
static int next_data(struct tape *tape, struct ramet_error *err)
{
	const void *bytes = NULL;
	size_t length = 0;
	la_int64_t offset = 0;
	int code = tape->lib->archive_read_data_block(tape->archive, &bytes, &length, &offset);
	if (code == ARCHIVE_EOF) {
		tape->data_ended = true;
		return 0;
	}
	if (code != ARCHIVE_OK)
		return failed(tape, false, err);
	if (offset < 0 || (uint64_t)offset < tape->data_offset)
		return tape_damaged(tape, "its sparse map goes backward", err);
	tape->data = bytes;
	tape->data_length = length;
	tape->data_offset = (uint64_t)offset;
	return 0;
}

int tape_read(
	struct tape *tape, uint64_t offset, void *buffer, size_t length, struct ramet_error *err)
{
	char *into = buffer;
	while (length) {
		while (!tape->data_ended && tape->data_offset + tape->data_length <= offset) {
			int r = next_data(tape, err);
			if (r < 0)
				return r;
		}
		uint64_t start = tape->data_ended ? UINT64_MAX : tape->data_offset;
		size_t n;
		if (start > offset) {
			n = (size_t)MIN((uint64_t)length, start - offset);
			memset(into, 0, n);
		} else {
			uint64_t within = offset - start;
			n = (size_t)MIN((uint64_t)length, tape->data_length - within);
			memcpy(into, tape->data + within, n);
		}
		into += n;
		offset += n;
		length -= n;
	}
	return 0;
}

static bool all_zero(const unsigned char *bytes, size_t length)
{
	return length == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, length - 1) == 0);
}

int tape_end(struct tape *tape, bool strict, struct ramet_error *err)
{
	uint64_t position = tape_position(tape);
	uint64_t left = tape->given - MIN(position, tape->given);
	const void *bytes = tape->piece;
	size_t length = tape->length;
	if (left < length) {
		bytes = tape->piece + (length - left);
		length = (size_t)left;
	}
	do {
		if (strict && !all_zero(bytes, length))
			return error_set(err, EUCLEAN,
				"%s is damaged: something follows the end of the archive (the last "
				"entry is '%s')",
				tape->name, tape->path.data ? tape->path.data : "");
		int r = feed_next(tape->feed, &bytes, &length, err);
		if (r < 0)
			return r;
	} while (length);
	return 0;
}
