/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first reading makes nodes; the second one, a tape that is kept, follows whoever writes the image.
 * A file is known by the place of its entry in the stream. A tape goes forward only; who asks for what
 * lies behind it has it opened anew, which costs time and is right all the same.
 */
#include "source/stream.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/ranges.h"
#include "source/acl.h"
#include "source/compressed.h"
#include "source/content.h"
#include "source/tape_entry.h"

#define BLOCK ((uint64_t)512)

/* Of the sparse file at the place number: where its pieces are in stream->pieces. */
struct sparse_file {
	uint64_t number;
	size_t first, count;
};

struct stream {
	struct reel reel;
	char *name;
	const struct archive_library *lib;
	struct acl_names names;
	VECTOR(struct sparse_file) sparse; /* by number */
	VECTOR(struct byte_range) pieces;
	struct tape tape;        /* of the second reading; without archive until it begins */
	struct stream **reading; /* shared with others (stream_share), or NULL */
	bool strict;             /* the archive must have an end mark, and nothing behind it */
};

int stream_new(struct stream **out, const struct reel *reel, const struct archive_library *lib,
	struct ramet_error *err)
{
	struct stream *stream = calloc(1, sizeof *stream);
	if (stream)
		stream->name = strdup(reel->name);
	if (!stream || !stream->name) {
		free(stream);
		return error_memory(err);
	}
	stream->reel = *reel;
	stream->reel.name = stream->name;
	stream->lib = lib;
	acl_names_load(&stream->names);
	*out = stream;
	return 0;
}

void stream_share(struct stream *stream, struct stream **reading)
{
	stream->reading = reading;
}

void stream_free(struct stream *stream)
{
	if (!stream)
		return;
	if (stream->reading && *stream->reading == stream)
		*stream->reading = NULL;
	tape_close(&stream->tape);
	acl_names_free(&stream->names);
	vector_free(&stream->sparse);
	vector_free(&stream->pieces);
	free(stream->name);
	free(stream);
}

/* ------------------------------------------------------------------------------------------- */
/* The second reading.                                                                          */

static struct sparse_file *find_sparse(const struct stream *stream, uint64_t number)
{
	size_t low = 0, high = stream->sparse.count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (stream->sparse.items[middle].number < number)
			low = middle + 1;
		else
			high = middle;
	}
	bool found = low < stream->sparse.count && stream->sparse.items[low].number == number;
	return found ? &stream->sparse.items[low] : NULL;
}

static int stream_content_open(struct content *content, struct ramet_error *err)
{
	content->own = find_sparse(content->source, content->node->host_inode);
	return 0;
}

/* The first piece that ends behind offset. */
static int stream_content_data(struct content *content, uint64_t offset, uint64_t *start,
	uint64_t *end, struct ramet_error *err)
{
	const struct stream *stream = content->source;
	const struct sparse_file *sparse = content->own;
	const struct byte_range *pieces = stream->pieces.items;
	size_t low = sparse ? sparse->first : 0, high = low + (sparse ? sparse->count : 0);
	size_t last = high;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (pieces[middle].offset + pieces[middle].length <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	*start = *end = content->node->size;
	if (low < last) {
		*start = MAX(offset, pieces[low].offset);
		*end = pieces[low].offset + pieces[low].length;
	}
	return 0;
}

/* Bring the tape to the entry of this place. */
static int wind(struct stream *stream, uint64_t number, uint64_t offset, struct ramet_error *err)
{
	struct tape *tape = &stream->tape;
	if (stream->reading && *stream->reading != stream) {
		if (*stream->reading)
			tape_close(&(*stream->reading)->tape);
		*stream->reading = stream;
	}
	if (tape->archive &&
		(tape->number > number || (tape->number == number && tape->data_offset > offset)))
		tape_close(tape);
	int r = 1;
	if (!tape->archive) {
		r = tape_open(tape, &stream->reel, stream->lib, NULL, NULL, err);
		tape->forgiving = !stream->strict;
	}
	while (r >= 0 && tape->number < number) {
		r = tape_next(tape, err);
		if (r == 0)
			r = error_set(err, ESTALE, "%s ended sooner than when it was read first",
				stream->name);
	}
	if (r < 0)
		tape_close(tape);
	return r < 0 ? r : 0;
}

static int stream_content_read(struct content *content, uint64_t offset, void *buffer,
	size_t length, struct ramet_error *err)
{
	struct stream *stream = content->source;
	int r = wind(stream, content->node->host_inode, offset, err);
	return r < 0 ? r : tape_read(&stream->tape, offset, buffer, length, err);
}

static int stream_content_verify(struct content *content, struct ramet_error *err)
{
	const struct stream *stream = content->source;
	return reel_verify(&stream->reel, err);
}

static const struct content_ops stream_content = {
	.streamed = true,
	.open = stream_content_open,
	.data = stream_content_data,
	.read = stream_content_read,
	.verify = stream_content_verify,
};

/* ------------------------------------------------------------------------------------------- */
/* The first reading.                                                                           */

static int add_origin(struct stream *stream, struct tree *tree, struct ramet_error *err)
{
	struct tree_origin *origin;
	int r = tree_origin_new(tree, stream->name, &origin, err);
	if (r < 0)
		return r;
	origin->content = &stream_content;
	origin->source = stream;
	return 0;
}

/* Keep the map of the file whose entry the tape has in hand. *stored: bytes of it in the archive. */
static int keep_map(struct stream *stream, const struct tape *tape, struct layer_entry *entry,
	uint64_t *stored, struct ramet_error *err)
{
	_cleanup_ranges_ struct range_list map = {0};
	int r = tape_entry_map(tape, &map, &entry->sparse, err);
	*stored = entry->size;
	if (r < 0 || !entry->sparse)
		return r;
	*stored = 0;
	struct sparse_file *file = vector_push(&stream->sparse);
	if (!file)
		return error_memory(err);
	*file = (struct sparse_file){tape->number, stream->pieces.count, map.count};
	for (size_t i = 0; i < map.count; i++) {
		struct byte_range *piece = vector_push(&stream->pieces);
		if (!piece)
			return error_memory(err);
		*piece = map.items[i];
		*stored += piece->length;
	}
	return 0;
}

/* Go past the content of a file, and see that the archive has as much of it as it says. */
static int pass_content(struct tape *tape, const struct layer_entry *entry, uint64_t stored,
	struct ramet_error *err)
{
	uint64_t before = tape_position(tape);
	int r = tape_pass(tape, err);
	if (r < 0 || entry->hardlink || !S_ISREG(entry->mode))
		return r;
	if (tape->padded && stored > 0 && before + stored > tape->given)
		return tape_damaged(tape, "it is cut off", err);
	if (tape_position(tape) - before != (stored + BLOCK - 1) / BLOCK * BLOCK)
		return tape_damaged(tape,
			entry->sparse ? "its sparse map lies about the file"
				      : "its size is not that of its content",
			err);
	return 0;
}

static int apply_entry(
	struct stream *stream, struct tape *tape, struct layers *layers, struct ramet_error *err)
{
	struct layer_entry entry;
	uint64_t stored = 0;
	int r = tape_entry(tape, &stream->names, layers_tree(layers), &entry, err);
	if (r == 0 && !entry.hardlink && S_ISREG(entry.mode))
		r = keep_map(stream, tape, &entry, &stored, err);
	if (r < 0)
		return r;
	r = layers_add(layers, &entry, err);
	if (r < 0)
		return error_prefix(err, r, "%s", stream->name);
	return pass_content(tape, &entry, stored, err);
}

static int apply_entries(struct stream *stream, struct tape *tape, struct layers *layers,
	bool strict, const struct source_options *options, struct ramet_error *err)
{
	for (;;) {
		uint64_t position = tape->number ? tape_position(tape) : 0;
		int r = tape_next(tape, err);
		if (r == 0 && strict && tape_position(tape) == position)
			return error_set(err, EUCLEAN,
				"%s is cut off: it has no end mark after the entry '%s'",
				stream->name, tape->path.data ? tape->path.data : "");
		if (r == 1)
			r = apply_entry(stream, tape, layers, err);
		else
			return r;
		if (r < 0)
			return r;
		if (options->meter)
			meter_advance(options->meter, ++*options->walked);
	}
}

static void to_hex(const uint8_t digest[static SHA256_DIGEST_SIZE],
	char hex[static 2 * SHA256_DIGEST_SIZE + 1])
{
	for (size_t i = 0; i < SHA256_DIGEST_SIZE; i++)
		snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

static int check_digest(const struct stream *stream, const char *what, struct sha256_ctx *sha,
	const uint8_t *expected, struct ramet_error *err)
{
	uint8_t digest[SHA256_DIGEST_SIZE];
	char is[2 * SHA256_DIGEST_SIZE + 1], should[2 * SHA256_DIGEST_SIZE + 1];
	if (!expected)
		return 0;
	sha256_digest(sha, sizeof digest, digest);
	if (memcmp(digest, expected, sizeof digest) == 0)
		return 0;
	to_hex(digest, is);
	to_hex(expected, should);
	return error_set(err, EUCLEAN, "%s is damaged: the sha256 of %s is %s, and should be %s",
		stream->name, what, is, should);
}

int stream_apply(struct stream *stream, struct layers *layers, const struct stream_options *options,
	const struct source_options *source_options, struct ramet_error *err)
{
	struct tree *tree = layers_tree(layers);
	struct sha256_ctx packed, unpacked;
	__attribute__((cleanup(tape_close))) struct tape tape = {0};
	bool strict = stream->strict = !options->digest && !options->packed_digest;
	int r = add_origin(stream, tree, err);
	if (r == 0)
		r = tape_open(&tape, &stream->reel, stream->lib,
			options->packed_digest ? &packed : NULL, options->digest ? &unpacked : NULL,
			err);
	if (r < 0)
		return r;
	tape.forgiving = !strict;
	layers_begin(layers, (uint16_t)(tree->origins.count - 1), options->whiteouts);
	r = apply_entries(stream, &tape, layers, strict, source_options, err);
	if (r == 0)
		r = tape_end(&tape, strict, err);
	if (r == 0)
		r = check_digest(stream, "its bytes", &packed, options->packed_digest, err);
	if (r == 0)
		r = check_digest(stream, "its content", &unpacked, options->digest, err);
	return r;
}

/* ------------------------------------------------------------------------------------------- */

int stream_list(struct stream *stream,
	int (*each)(void *ctx, const struct stream_member *member, struct ramet_error *err),
	void *ctx, bool *packed, struct ramet_error *err)
{
	__attribute__((cleanup(tape_close))) struct tape tape = {0};
	int r = tape_open(&tape, &stream->reel, stream->lib, NULL, NULL, err);
	*packed = r == 0 && tape.compression;
	while (r == 0 && (r = tape_next(&tape, err)) == 1) {
		const struct archive_library *lib = stream->lib;
		const char *name = lib->archive_entry_pathname(tape.entry);
		const char *link = lib->archive_entry_hardlink(tape.entry);
		while (strncmp(name, "./", 2) == 0)
			name += 2;
		const struct stream_member member = {
			.name = name,
			.link = link ? link : lib->archive_entry_symlink(tape.entry),
			.mode = link ? 0
				     : lib->archive_entry_filetype(tape.entry) |
						lib->archive_entry_perm(tape.entry),
			.size = (uint64_t)MAX(lib->archive_entry_size(tape.entry), 0),
			.offset = tape_position(&tape),
		};
		r = each(ctx, &member, err);
	}
	return r;
}

int reel_load(const struct reel *reel, const struct archive_library *lib, size_t max, char **data,
	size_t *length, struct ramet_error *err)
{
	_cleanup_feed_ struct feed *feed = NULL;
	_cleanup_text_ struct text all = {0};
	const void *piece;
	size_t n = 1;
	text_append(&all, "");
	int r = reel_feed(reel, lib, &feed, err);
	while (r == 0 && n) {
		r = feed_next(feed, &piece, &n, err);
		if (r == 0)
			text_append_bytes(&all, piece, n);
		if (r == 0 && all.length > max)
			r = error_set(err, EFBIG, "%s is larger than it may be, %zu bytes",
				reel->name, max);
		if (r == 0 && all.failed)
			r = error_memory(err);
	}
	if (r < 0)
		return r;
	*data = TAKE_PTR(all.data);
	*length = all.length;
	return 0;
}

/* The sum of a header's bytes, with spaces in place of the sum itself, stands at 148 in octal
 * (tar(5)). Some old tars summed signed bytes. */
static bool is_header(const unsigned char header[static BLOCK])
{
	uint32_t sum = 0, stored = 0;
	int32_t signed_sum = 0;
	for (size_t i = 0; i < BLOCK; i++) {
		unsigned char byte = i >= 148 && i < 156 ? ' ' : header[i];
		sum += byte;
		signed_sum += (signed char)byte;
	}
	size_t i = 148;
	while (i < 156 && header[i] == ' ')
		i++;
	for (; i < 156 && header[i] >= '0' && header[i] <= '7'; i++)
		stored = stored * 8 + (header[i] - '0');
	return stored && (stored == sum || (int64_t)stored == signed_sum);
}

int stream_probe(const struct reel *reel, bool *is_tar, struct ramet_error *err)
{
	unsigned char bytes[2 * BLOCK] = {0};
	size_t wanted = (size_t)MIN(reel->length, sizeof bytes);
	ssize_t n = pread_full(reel->fd, bytes, wanted, reel->offset);
	if (n < 0)
		return error_errno(err, (int)-n, "cannot read %s", reel->name);
	static const unsigned char zeros[sizeof bytes];
	*is_tar = compression_of(bytes, (size_t)n) != NULL ||
		  ((size_t)n >= BLOCK && is_header(bytes)) ||
		  ((size_t)n == sizeof bytes && memcmp(bytes, zeros, sizeof zeros) == 0);
	return 0;
}
