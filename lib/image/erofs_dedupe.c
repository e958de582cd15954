/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Equal chunks once. A table holds a tag and the block of each chunk in the image, 8 bytes; that two
 * chunks are equal is not left to a hash: the one in the image is read back and compared. The plan
 * chooses chunks so large that there are few million of them, so the table has a bound. A tree made
 * to fill one corner of it only misses equal chunks: a search looks at few slots and gives up.
 */
#include "image/erofs_writer.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define MOST_PROBES 16

int erofs_chunks_open(struct erofs_writer *writer, struct ramet_error *err)
{
	const struct erofs_plan *plan = &writer->plan;
	size_t chunk = (size_t)EROFS_BLOCK_SIZE << plan->chunk_bits;
	uint64_t expected = plan->most_data >> plan->chunk_bits;
	size_t size = 1024;
	while (size < expected + expected / 2)
		size *= 2;
	writer->chunks.mask = size - 1;
	writer->chunks.slots = calloc(size, sizeof *writer->chunks.slots);
	writer->chunk = malloc(chunk);
	return writer->chunks.slots && writer->chunk ? 0 : error_memory(err);
}

/* Eight bytes at a time, each mixed into all bits by a multiplication. */
static uint64_t hash(const uint8_t *bytes, size_t length)
{
	uint64_t state = length;
	for (size_t i = 0; i < length; i += sizeof state) {
		uint64_t word;
		memcpy(&word, bytes + i, sizeof word);
		state = (state ^ word) * 0x9e3779b97f4a7c15;
		state ^= state >> 32;
	}
	return state;
}

static bool is_zero(const uint8_t *bytes, size_t length)
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, length - 1) == 0;
}

static int write_chunk(struct erofs_writer *writer, const uint8_t *bytes, size_t length,
	uint32_t *block, struct ramet_error *err)
{
	if (writer->next_block + length / EROFS_BLOCK_SIZE >= EROFS_NO_BLOCK)
		return error_set(
			err, EFBIG, "the tree holds more than the 16 TiB of an erofs image");
	*block = (uint32_t)writer->next_block;
	uint64_t place = writer->next_block * EROFS_BLOCK_SIZE;
	writer->next_block += length / EROFS_BLOCK_SIZE;
	while (length) {
		uint8_t *room;
		size_t piece = length;
		int r = erofs_output_room(&writer->output, place, &room, &piece, err);
		if (r < 0)
			return r;
		memcpy(room, bytes, piece);
		erofs_output_filled(&writer->output, piece);
		bytes += piece;
		place += piece;
		length -= piece;
	}
	return 0;
}

int erofs_chunk_store(struct erofs_writer *writer, const uint8_t *bytes, size_t length,
	uint32_t *block, struct ramet_error *err)
{
	*block = EROFS_NO_BLOCK;
	if (is_zero(bytes, length))
		return 0;
	uint64_t sum = hash(bytes, length);
	uint32_t tag = (uint32_t)(sum >> 32);
	struct erofs_chunk_table *table = &writer->chunks;
	struct erofs_chunk_slot *slot = NULL;
	for (size_t probe = 0; probe < MOST_PROBES; probe++) {
		slot = &table->slots[(sum + probe) & table->mask];
		if (!slot->block)
			break;
		bool equal = false;
		if (slot->tag == tag) {
			uint64_t place = (uint64_t)slot->block * EROFS_BLOCK_SIZE;
			int r = erofs_output_equal(
				&writer->output, place, bytes, length, &equal, err);
			if (r < 0)
				return r;
		}
		if (equal) {
			*block = slot->block;
			return 0;
		}
	}
	int r = write_chunk(writer, bytes, length, block, err);
	if (r == 0 && !slot->block)
		*slot = (struct erofs_chunk_slot){tag, *block};
	return r;
}
