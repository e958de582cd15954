/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compression is known by its first bytes. gzip (RFC 1952) is undone by zlib itself, since
 * libarchive (3.6) does not look at the checksum behind it; the others by libarchive, to which each
 * is a "raw" archive of one entry.
 *
 * What comes after the end of the compressed bytes may be zeros (tapes and some pipes are padded so)
 * or, for formats that may be put one behind another, more of the same. Anything else is refused: it
 * is either damage or something that was meant to be read and would not be.
 */
#include "source/compressed.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/cleanup.h"
#include "source/archive.h"

#define OUTPUT ((size_t)256 * 1024)

static const struct compression {
	const char *name;
	size_t length;
	const char *magic;
} compressions[] = {
	{"gzip", 3, "\x1f\x8b\x08"},
	{"bzip2", 3, "BZh"},
	{"xz", 6, "\xfd\x37zXZ\0"},
	{"zstd", 4, "\x28\xb5\x2f\xfd"},
	/* Skippable frames in front of others: zstd and lz4 share them; zstd's are those in use. */
	{"zstd", 3, "\x50\x2a\x4d\x18"},
	{"lz4", 4, "\x04\x22\x4d\x18"},
	/* No magic, but parameters that everyone uses, and a dictionary of 64 KiB to 64 MiB. */
	{"lzma", 5, "\x5d\0\0\x01\0"},
	{"lzma", 5, "\x5d\0\0\x04\0"},
	{"lzma", 5, "\x5d\0\0\x10\0"},
	{"lzma", 5, "\x5d\0\0\x20\0"},
	{"lzma", 5, "\x5d\0\0\x40\0"},
	{"lzma", 5, "\x5d\0\0\x80\0"},
	{"lzma", 5, "\x5d\0\0\0\x01"},
	{"lzma", 5, "\x5d\0\0\0\x02"},
	{"lzma", 5, "\x5d\0\0\0\x04"},
};

const char *compression_of(const void *bytes, size_t length)
{
	for (size_t i = 0; i < ARRAY_SIZE(compressions); i++)
		if (length >= compressions[i].length &&
			memcmp(bytes, compressions[i].magic, compressions[i].length) == 0)
			return compressions[i].name;
	return NULL;
}

/* What all of them are: something below, of which a piece may be at hand. */
struct unpacker {
	struct feed feed;
	struct feed *below;
	const char *name; /* of what is unpacked */
	const char *compression;
	const unsigned char *piece; /* the piece of below that is being worked on */
	size_t length;              /* of what is left of it */
	bool ended;
};

static int refill(struct unpacker *u, struct ramet_error *err)
{
	const void *piece;
	if (u->length)
		return 0;
	int r = feed_next(u->below, &piece, &u->length, err);
	if (r == 0)
		u->piece = piece;
	else
		u->length = 0;
	return r;
}

static int damaged(const struct unpacker *u, const char *how, struct ramet_error *err)
{
	return error_set(err, EUCLEAN, "%s is damaged: its %s %s", u->name, u->compression, how);
}

static bool all_zero(const unsigned char *bytes, size_t length)
{
	return length == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, length - 1) == 0);
}

/* Behind the end there are zeros or nothing. */
static int expect_zeros(struct unpacker *u, struct ramet_error *err)
{
	for (;;) {
		if (!all_zero(u->piece, u->length))
			return damaged(u, "is followed by something else", err);
		u->length = 0;
		const void *piece;
		int r = feed_next(u->below, &piece, &u->length, err);
		if (r < 0 || !u->length)
			return r;
		u->piece = piece;
	}
}

/* ------------------------------------------------------------------------------------------- */
/* None.                                                                                        */

static int plain_next(
	struct feed *feed, const void **bytes, size_t *length, struct ramet_error *err)
{
	struct unpacker *u = (struct unpacker *)feed;
	if (!u->length)
		return feed_next(u->below, bytes, length, err);
	*bytes = u->piece;
	*length = u->length;
	u->length = 0;
	return 0;
}

static uint64_t plain_skip(struct feed *feed, uint64_t length)
{
	struct unpacker *u = (struct unpacker *)feed;
	size_t held = MIN(length, u->length);
	u->piece += held;
	u->length -= held;
	return held + (held < length ? feed_skip(u->below, length - held) : 0);
}

static void plain_close(struct feed *feed)
{
	struct unpacker *u = (struct unpacker *)feed;
	feed_close(u->below);
	free(u);
}

/* ------------------------------------------------------------------------------------------- */
/* gzip: any number of members, one behind the other.                                           */

struct gunzip {
	struct unpacker base;
	z_stream stream;
	bool between; /* members: what comes may be another, or zeros */
	unsigned char output[];
};

static int inflate_failed(struct gunzip *g, int code, struct ramet_error *err)
{
	if (code == Z_MEM_ERROR)
		return error_memory(err);
	return damaged(&g->base, g->stream.msg ? g->stream.msg : "stream makes no sense", err);
}

/* The end of a member was seen: 1 when another begins, 0 when that was the last. */
static int next_member(struct gunzip *g, struct ramet_error *err)
{
	int r = refill(&g->base, err);
	if (r < 0)
		return r;
	if (g->base.length && g->base.piece[0] == 0x1f) {
		inflateReset(&g->stream);
		g->between = false;
		return 1;
	}
	g->base.ended = true;
	return expect_zeros(&g->base, err);
}

static int gunzip_step(struct gunzip *g, struct ramet_error *err)
{
	int r = refill(&g->base, err);
	if (r < 0)
		return r;
	if (!g->base.length)
		return damaged(&g->base, "stream is cut off", err);
	g->stream.next_in = (unsigned char *)g->base.piece;
	g->stream.avail_in = (uInt)MIN(g->base.length, (size_t)1 << 30);
	uInt given = g->stream.avail_in;
	int code = inflate(&g->stream, Z_NO_FLUSH);
	g->base.piece += given - g->stream.avail_in;
	g->base.length -= given - g->stream.avail_in;
	if (code == Z_STREAM_END)
		g->between = true;
	else if (code != Z_OK && code != Z_BUF_ERROR)
		return inflate_failed(g, code, err);
	return 0;
}

static int gunzip_next(
	struct feed *feed, const void **bytes, size_t *length, struct ramet_error *err)
{
	struct gunzip *g = (struct gunzip *)feed;
	g->stream.next_out = g->output;
	g->stream.avail_out = (uInt)OUTPUT;
	*bytes = g->output;
	*length = 0;
	while (!g->base.ended && g->stream.avail_out) {
		int r = g->between ? next_member(g, err) : gunzip_step(g, err);
		if (r < 0)
			return r;
	}
	*length = OUTPUT - g->stream.avail_out;
	return 0;
}

static void gunzip_close(struct feed *feed)
{
	struct gunzip *g = (struct gunzip *)feed;
	inflateEnd(&g->stream);
	plain_close(feed);
}

static struct unpacker *gunzip_make(struct ramet_error *err)
{
	struct gunzip *g = calloc(1, sizeof *g + OUTPUT);
	/* 15 bits of window, and 16: a gzip header (zlib.h). */
	if (g && inflateInit2(&g->stream, 15 + 16) != Z_OK) {
		free(g);
		g = NULL;
	}
	if (!g) {
		error_memory(err);
		return NULL;
	}
	g->base.feed = (struct feed){gunzip_next, NULL, gunzip_close};
	return &g->base;
}

/* ------------------------------------------------------------------------------------------- */
/* The others, by libarchive.                                                                   */

struct raw {
	struct unpacker base;
	const struct archive_library *lib;
	struct archive *archive;
	bool begun;     /* base.piece, the first of all, was handed to libarchive */
	uint64_t given; /* bytes handed to libarchive; the last of them are base.piece */
	int result;     /* what below failed with while libarchive asked it */
	struct ramet_error err;
};

static la_ssize_t raw_give(struct archive *archive, void *ctx, const void **bytes)
{
	struct raw *raw = ctx;
	if (raw->begun) {
		raw->base.length = 0;
		raw->result = refill(&raw->base, &raw->err);
	}
	if (raw->result < 0) {
		raw->lib->archive_set_error(archive, -raw->result, "it cannot be read");
		return -1;
	}
	raw->begun = true;
	raw->given += raw->base.length;
	*bytes = raw->base.piece;
	return (la_ssize_t)raw->base.length;
}

static int raw_failed(struct raw *raw, struct ramet_error *err)
{
	if (raw->result < 0) {
		if (err)
			*err = raw->err;
		return raw->result;
	}
	if (raw->lib->archive_errno(raw->archive) == ENOMEM)
		return error_memory(err);
	const char *what = raw->lib->archive_error_string(raw->archive);
	return error_set(err, EUCLEAN, "%s is damaged: its %s stream cannot be read (%s)",
		raw->base.name, raw->base.compression, what ? what : "libarchive does not say why");
}

/* libarchive has seen the end; what it did not take of what it was given is behind that. */
static int raw_end(struct raw *raw, struct ramet_error *err)
{
	raw->base.ended = true;
	uint64_t taken = (uint64_t)raw->lib->archive_filter_bytes(raw->archive, -1);
	uint64_t left = raw->given - MIN(taken, raw->given);
	if (left > raw->base.length)
		return damaged(&raw->base, "is followed by something else", err);
	raw->base.piece += raw->base.length - left;
	raw->base.length = (size_t)left;
	return expect_zeros(&raw->base, err);
}

static int raw_next(struct feed *feed, const void **bytes, size_t *length, struct ramet_error *err)
{
	struct raw *raw = (struct raw *)feed;
	la_int64_t offset;
	*length = 0;
	if (raw->base.ended)
		return 0;
	if (!raw->given) {
		struct archive_entry *entry;
		if (raw->lib->archive_read_open2(raw->archive, raw, NULL, raw_give, NULL, NULL) !=
				ARCHIVE_OK ||
			raw->lib->archive_read_next_header(raw->archive, &entry) != ARCHIVE_OK)
			return raw_failed(raw, err);
	}
	int code = ARCHIVE_OK;
	while (code == ARCHIVE_OK && *length == 0)
		code = raw->lib->archive_read_data_block(raw->archive, bytes, length, &offset);
	if (code == ARCHIVE_EOF) {
		*length = 0;
		return raw_end(raw, err);
	}
	return code == ARCHIVE_OK ? 0 : raw_failed(raw, err);
}

static void raw_close(struct feed *feed)
{
	struct raw *raw = (struct raw *)feed;
	if (raw->archive)
		raw->lib->archive_read_free(raw->archive);
	plain_close(feed);
}

static struct unpacker *raw_make(const struct archive_library *lib, struct ramet_error *err)
{
	struct raw *raw = calloc(1, sizeof *raw);
	if (raw)
		raw->archive = lib->archive_read_new();
	if (!raw || !raw->archive) {
		free(raw);
		error_memory(err);
		return NULL;
	}
	raw->lib = lib;
	lib->archive_read_support_format_raw(raw->archive);
	lib->archive_read_support_filter_bzip2(raw->archive);
	lib->archive_read_support_filter_lz4(raw->archive);
	lib->archive_read_support_filter_lzma(raw->archive);
	lib->archive_read_support_filter_xz(raw->archive);
	lib->archive_read_support_filter_zstd(raw->archive);
	raw->base.feed = (struct feed){raw_next, NULL, raw_close};
	return &raw->base;
}

/* ------------------------------------------------------------------------------------------- */

static struct unpacker *make(
	const char *compression, const struct archive_library *lib, struct ramet_error *err)
{
	if (compression && strcmp(compression, "gzip") == 0)
		return gunzip_make(err);
	if (compression)
		return raw_make(lib, err);
	struct unpacker *plain = calloc(1, sizeof *plain);
	if (plain)
		plain->feed = (struct feed){plain_next, plain_skip, plain_close};
	else
		error_memory(err);
	return plain;
}

int feed_unpack(struct feed **feed, const char *name, const struct archive_library *lib,
	const char **out, struct ramet_error *err)
{
	_cleanup_feed_ struct feed *below = TAKE_PTR(*feed);
	const void *piece;
	size_t length;
	int r = feed_next(below, &piece, &length, err);
	if (r < 0)
		return r;
	const char *compression = compression_of(piece, length);
	struct unpacker *u = make(compression, lib, err);
	if (!u)
		return -ENOMEM;
	u->below = TAKE_PTR(below);
	u->name = name;
	u->compression = compression;
	u->piece = piece;
	u->length = length;
	if (out)
		*out = compression;
	*feed = &u->feed;
	return 0;
}
