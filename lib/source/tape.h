/* SPDX-License-Identifier: Apache-2.0 */
/* One reading of a tar stream, from its beginning forward. */
#ifndef SOURCE_TAPE_H
#define SOURCE_TAPE_H

#include "base/text.h"
#include "source/archive.h"
#include "source/reel.h"

struct tape {
	const struct archive_library *lib;
	const char *name; /* of the archive, for messages */
	struct feed *feed;
	struct archive *archive;
	struct archive_entry *entry; /* the one in hand */
	struct text path;            /* its name, for messages */
	uint64_t number;             /* its place in the stream, from 1; 0 before the first */
	bool skips;                  /* bytes that nobody wants need not come through */
	/* Set after tape_open: the archive may end without an end mark, and within the padding of
	 * its last file, as layers that umoci writes do. */
	bool forgiving;
	bool padded; /* what was missing there has been given, and is not counted in given */
	const char *compression; /* "gzip", or NULL */
	/* Of what was handed to libarchive. */
	const unsigned char *piece;
	size_t length;
	uint64_t given;
	int result;
	struct ramet_error err;
	/* Of the content of the entry: a piece, and where in the file it belongs. */
	const char *data;
	size_t data_length;
	uint64_t data_offset;
	bool data_ended;
};

/* Reads what reel gives, unpacked; each of the digests may be NULL. tape_close() in any case. */
int tape_open(struct tape *tape, const struct reel *reel, const struct archive_library *lib,
	struct sha256_ctx *packed, struct sha256_ctx *unpacked, struct ramet_error *err);
void tape_close(struct tape *tape);
/* The next entry: 1, and 0 at the end of the archive. */
int tape_next(struct tape *tape, struct ramet_error *err);
/* Bytes of the unpacked stream that lie before what comes next. */
uint64_t tape_position(const struct tape *tape);
/* Go past the content of the entry. */
int tape_pass(struct tape *tape, struct ramet_error *err);
/* length bytes of the entry's content from offset, zeros where it has holes; never backward. */
int tape_read(
	struct tape *tape, uint64_t offset, void *buffer, size_t length, struct ramet_error *err);
/* After the last entry: read to the end of the stream. strict: there are only zeros. */
int tape_end(struct tape *tape, bool strict, struct ramet_error *err);
/* -EUCLEAN: "NAME is damaged at the entry 'X': HOW". */
int tape_damaged(const struct tape *tape, const char *how, struct ramet_error *err);

#endif
