/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of the image. EROFS metadata is not packed: inodes, attributes, directories and chunk
 * addresses stand plainly, small and near each other, so that a cache of pieces of the image serves
 * all of them, whatever the size of a block is.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "image/erofs_inside.h"

int erofs_pread(
	struct erofs *e, void *buffer, size_t length, uint64_t place, struct ramet_error *err)
{
	if (!range_within(place, length, e->size))
		return erofs_damage(err, "it refers to %zu bytes at %llu, and has %llu", length,
			erofs_shown(place), erofs_shown(e->size));
	ssize_t n = pread_full(e->fd, buffer, length, place);
	if (n < 0)
		return error_errno(
			err, (int)-n, "cannot read the EROFS image at %llu", erofs_shown(place));
	if ((size_t)n < length)
		return erofs_damage(
			err, "it ends within what it refers to at %llu", erofs_shown(place));
	return 0;
}

static int piece_get(
	struct erofs *e, uint64_t number, const struct erofs_piece **found, struct ramet_error *err)
{
	struct erofs_piece **slot = &e->pieces[number % EROFS_PIECES];
	if (!*slot)
		*slot = calloc(1, sizeof **slot);
	struct erofs_piece *piece = *slot;
	if (!piece)
		return error_memory(err);
	*found = piece;
	if (piece->length && piece->number == number)
		return 0;
	uint64_t place = number * EROFS_PIECE;
	size_t length = (size_t)MIN((uint64_t)EROFS_PIECE, e->size - place);
	piece->length = 0;
	int r = erofs_pread(e, piece->data, length, place, err);
	if (r < 0)
		return r;
	piece->number = number;
	piece->length = length;
	return 0;
}

int erofs_meta_read(
	struct erofs *e, void *buffer, size_t length, uint64_t place, struct ramet_error *err)
{
	if (!range_within(place, length, e->size))
		return erofs_damage(err, "it refers to %zu bytes at %llu, and has %llu", length,
			erofs_shown(place), erofs_shown(e->size));
	for (uint8_t *to = buffer; length > 0;) {
		const struct erofs_piece *piece = NULL;
		int r = piece_get(e, place / EROFS_PIECE, &piece, err);
		if (r < 0)
			return r;
		size_t within = place % EROFS_PIECE;
		size_t part = MIN(length, piece->length - within);
		memcpy(to, piece->data + within, part);
		to += part;
		place += part;
		length -= part;
	}
	return 0;
}

void erofs_meta_forget(struct erofs *e)
{
	for (size_t i = 0; i < EROFS_PIECES; i++)
		free(TAKE_PTR(e->pieces[i]));
}
