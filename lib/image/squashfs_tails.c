/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tails: what of a file does not fill a block, in most files all there is. They are packed, one after
 * the other, into blocks of their own, the fragments; a tail that was there before is not stored
 * again. libsquashfs could do it, but keeps some 80 bytes for each tail to know it again, which is as
 * much as the whole rest of a tree takes. Here a tail is 8 bytes of a table that is as large as
 * the tree needs from the start: where it is, and 16 bits of its hash. What has the same hash is
 * compared byte by byte: the fragment is at hand, or is read back from the image.
 *
 * A fragment goes to libsquashfs as a block of no file. Where it was put is told to the block
 * writer that stands in front of libsquashfs's own.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <sqfs/block.h>
#include <sqfs/error.h>

#include "base/cleanup.h"
#include "image/squashfs_writer.h"

/* A slot: 16 bits of hash, and the tail's place (squashfs_writer.h), which is never 0. */
#define TAG_SHIFT 48

struct fragment_writer {
	sqfs_block_writer_t base;
	struct squashfs_writer *writer;
};

static int put_block(sqfs_block_writer_t *base, void *user, sqfs_u32 size, sqfs_u32 checksum,
	sqfs_u32 flags, const sqfs_u8 *data, sqfs_u64 *location)
{
	struct squashfs_writer *writer = ((struct fragment_writer *)base)->writer;
	int r = writer->blocks->write_data_block(
		writer->blocks, user, size, checksum, flags, data, location);
	if (r != 0 || !user)
		return r;
	/* user is the fragment's number + 1; the format's bit 24 says that it is not compressed. */
	sqfs_u32 stored = flags & SQFS_BLK_IS_COMPRESSED ? size : size | 1U << 24;
	return sqfs_frag_table_set(
		writer->fragments, (sqfs_u32)((uintptr_t)user - 1), *location, stored);
}

static sqfs_u64 count_blocks(const sqfs_block_writer_t *base)
{
	const struct squashfs_writer *writer = ((const struct fragment_writer *)base)->writer;
	return writer->blocks->get_block_count(writer->blocks);
}

static void destroy(sqfs_object_t *object)
{
	free(object);
}

static size_t count_tails(struct tree *tree)
{
	size_t count = 0;
	for (struct tree_node *node = tree->root; node; node = tree_next(node))
		count += S_ISREG(node->mode) && !tree_link(node) &&
			 node->size % SQUASHFS_BLOCK != 0;
	return count;
}

int squashfs_tails_init(struct squashfs_writer *writer)
{
	struct squashfs_tails *tails = &writer->tails;
	size_t count = count_tails(writer->tree);
	tails->slot_count = count + count / 16 + 1;
	tails->slots = calloc(tails->slot_count, sizeof *tails->slots);
	tails->cached = malloc(SQUASHFS_BLOCK);
	tails->cached_number = SQUASHFS_NO_FRAGMENT;
	for (size_t i = 0; i < SQUASHFS_RECENT; i++) {
		tails->recent[i].number = SQUASHFS_NO_FRAGMENT;
		tails->recent[i].data = malloc(SQUASHFS_BLOCK);
		if (!tails->recent[i].data)
			return SQFS_ERROR_ALLOC;
	}
	struct fragment_writer *front = calloc(1, sizeof *front);
	if (!tails->slots || !tails->cached || !front) {
		free(front);
		return SQFS_ERROR_ALLOC;
	}
	*front = (struct fragment_writer){
		.base = {{destroy, NULL}, put_block, count_blocks}, .writer = writer};
	tails->front = &front->base;
	return 0;
}

void squashfs_tails_free(struct squashfs_tails *tails)
{
	sqfs_destroy(tails->front);
	free(tails->slots);
	free(tails->cached);
	for (size_t i = 0; i < SQUASHFS_RECENT; i++)
		free(tails->recent[i].data);
	*tails = (struct squashfs_tails){0};
}

static struct squashfs_recent *current(struct squashfs_tails *tails)
{
	return &tails->recent[tails->turn % SQUASHFS_RECENT];
}

int squashfs_tails_flush(struct squashfs_writer *writer)
{
	struct squashfs_recent *fragment = current(&writer->tails);
	if (!fragment->used || fragment->number == SQUASHFS_NO_FRAGMENT)
		return 0;
	int r = sqfs_block_processor_submit_block(writer->processor,
		(void *)(uintptr_t)(fragment->number + 1ULL), SQFS_BLK_IGNORE_SPARSE,
		fragment->data, fragment->used);
	writer->tails.turn++;
	current(&writer->tails)->number = SQUASHFS_NO_FRAGMENT;
	current(&writer->tails)->used = 0;
	return r;
}

/* A fragment that is not at hand any more: from the image, as soon as it is there. The buffer for
 * content is free when a file's tail is looked up. */
static int read_back(struct squashfs_writer *writer, uint32_t number)
{
	struct squashfs_tails *tails = &writer->tails;
	sqfs_fragment_t where;
	int r = sqfs_frag_table_lookup(writer->fragments, number, &where);
	if (r == 0 && where.size == 0) {
		r = sqfs_block_processor_sync(writer->processor);
		if (r == 0)
			r = sqfs_frag_table_lookup(writer->fragments, number, &where);
	}
	uint32_t size = SQFS_ON_DISK_BLOCK_SIZE(where.size);
	bool packed = SQFS_IS_BLOCK_COMPRESSED(where.size);
	if (r == 0 && (size == 0 || size > SQUASHFS_BLOCK))
		r = SQFS_ERROR_INTERNAL;
	tails->cached_number = SQUASHFS_NO_FRAGMENT;
	if (r == 0)
		r = writer->file.base.read_at(&writer->file.base, where.start_offset,
			packed ? writer->buffer : tails->cached, size);
	if (r != 0)
		return r;
	if (packed) {
		sqfs_s32 n = writer->decompressor->do_block(writer->decompressor,
			(const sqfs_u8 *)writer->buffer, size, (sqfs_u8 *)tails->cached,
			SQUASHFS_BLOCK);
		if (n <= 0)
			return n < 0 ? n : SQFS_ERROR_INTERNAL;
		size = (uint32_t)n;
	}
	tails->cached_number = number;
	tails->cached_used = size;
	return 0;
}

/* Whether the tail is what stands at place. */
static int compare(
	struct squashfs_writer *writer, uint64_t place, const char *data, size_t size, bool *equal)
{
	struct squashfs_tails *tails = &writer->tails;
	uint32_t number = squashfs_place_fragment(place), offset = squashfs_place_offset(place);
	const char *bytes = NULL;
	size_t used = 0;
	for (size_t i = 0; i < SQUASHFS_RECENT; i++)
		if (tails->recent[i].number == number) {
			bytes = tails->recent[i].data;
			used = tails->recent[i].used;
		}
	if (!bytes) {
		int r = tails->cached_number == number ? 0 : read_back(writer, number);
		if (r != 0)
			return r;
		bytes = tails->cached;
		used = tails->cached_used;
	}
	*equal = offset <= used && size <= used - offset && memcmp(bytes + offset, data, size) == 0;
	return 0;
}

/* Equal tails have equal hashes; a stranger who makes others equal too only makes us slow. */
static uint64_t hash_bytes(const char *data, size_t size)
{
	const uint64_t odd = 0x9e3779b97f4a7c15;
	uint64_t hash = size * odd, word = 0;
	for (; size >= sizeof word; size -= sizeof word, data += sizeof word) {
		memcpy(&word, data, sizeof word);
		hash = (hash ^ word) * odd;
		hash ^= hash >> 29;
	}
	word = 0;
	memcpy(&word, data, size);
	hash = (hash ^ word) * odd;
	return hash ^ hash >> 32;
}

/* The tail's place if it is there, else 0 and the slot that is free for it. */
static int find(struct squashfs_writer *writer, const char *data, size_t size, uint64_t hash,
	uint64_t *place, size_t *slot)
{
	const struct squashfs_tails *tails = &writer->tails;
	size_t i = (size_t)(((unsigned __int128)hash * tails->slot_count) >> 64);
	*place = 0;
	for (; tails->slots[i]; i = i + 1 == tails->slot_count ? 0 : i + 1) {
		if (tails->slots[i] >> TAG_SHIFT != (hash & 0xffff))
			continue;
		uint64_t found = tails->slots[i] & (((uint64_t)1 << TAG_SHIFT) - 1);
		bool equal;
		int r = compare(writer, found, data, size, &equal);
		if (r != 0 || equal) {
			*place = found;
			return r;
		}
	}
	*slot = i;
	return 0;
}

int squashfs_tails_add(
	struct squashfs_writer *writer, const char *data, size_t size, uint64_t *place)
{
	struct squashfs_tails *tails = &writer->tails;
	uint64_t hash = hash_bytes(data, size);
	size_t slot = 0;
	int r = find(writer, data, size, hash, place, &slot);
	if (r != 0 || *place)
		return r;
	if (current(tails)->used + size > SQUASHFS_BLOCK)
		r = squashfs_tails_flush(writer);
	struct squashfs_recent *fragment = current(tails);
	if (r == 0 && fragment->number == SQUASHFS_NO_FRAGMENT)
		r = sqfs_frag_table_append(writer->fragments, 0, 0, &fragment->number);
	if (r == 0 && fragment->number > SQUASHFS_MOST_FRAGMENTS)
		r = SQFS_ERROR_OVERFLOW;
	if (r != 0)
		return r;
	*place = squashfs_tail_place(fragment->number, (uint32_t)fragment->used);
	memcpy(fragment->data + fragment->used, data, size);
	fragment->used += size;
	tails->slots[slot] = (hash & 0xffff) << TAG_SHIFT | *place;
	return 0;
}
