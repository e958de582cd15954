/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal of an ext4 that was not unmounted, replayed on a private view: nothing is written or
 * copied, a map only says for each block where in the journal its newest content is.
 *
 * It goes as the kernel's fs/jbd2/recovery.c does, in three passes over the log from its oldest
 * transaction: find where it ends (the first block that is not the next one, or a commit with a
 * wrong checksum), collect what was revoked, take the blocks. What makes the kernel refuse to mount
 * is damage here. Fields are big-endian. Memory is bounded by the length of the journal, which is
 * on the device block by block.
 */
#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <ext2fs/ext2fs.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "image/ext4_inside.h"

enum {
	MAGIC = 0xC03B3998,
	KIND_DESCRIPTOR = 1,
	KIND_COMMIT = 2,
	KIND_SUPER_1 = 3,
	KIND_SUPER_2 = 4,
	KIND_REVOKE = 5,
	COMPAT_CHECKSUM = 1,
	INCOMPAT_REVOKE = 1,
	INCOMPAT_64BIT = 2,
	INCOMPAT_ASYNC_COMMIT = 4,
	INCOMPAT_CSUM_2 = 8,
	INCOMPAT_CSUM_3 = 16,
	INCOMPAT_FAST_COMMIT = 32,
	TAG_ESCAPED = 1,
	TAG_SAME_UUID = 2,
	TAG_LAST = 8,
	UUID_SIZE = 16,
	CHECKSUM_SIZE = 4,
	CRC32 = 1,
	FAST_BLOCKS_DEFAULT = 256,
	LOG_BLOCKS_LEAST = 1024,
	FAST_TAG_HEAD = 9,
};
static const uint64_t ESCAPED_BIT = 1ULL << 63;

struct header {
	uint32_t magic, kind, sequence;
};

struct super {
	struct header header;
	uint32_t block_size, length, first;
	uint32_t sequence, start, error;
	uint32_t compat, incompat, ro_compat;
	uint8_t uuid[UUID_SIZE];
	uint32_t users, dynamic, max_transaction, max_data;
	uint8_t checksum_type, padding[3];
	uint32_t fast_blocks, head, more[40], checksum;
	uint8_t user_ids[768];
};
_Static_assert(sizeof(struct super) == 1024, "a journal's superblock has 1024 bytes");

struct commit {
	struct header header;
	uint8_t checksum_type, checksum_size, padding[2];
	uint32_t checksums[8];
	uint64_t seconds;
	uint32_t nanoseconds;
} __attribute__((packed));

/* A map from blocks to 64-bit values: open addressing, keys + 1 so that 0 is free. */
struct map {
	struct map_slot {
		uint64_t key, value;
	} * slots;
	size_t count, size;
};

struct ext4_journal {
	struct map blocks; /* block of the device -> block with its content, ESCAPED_BIT */
};

struct log {
	struct ext4 *e;
	struct ext4_node inode;
	struct super super;         /* in host byte order */
	uint32_t first, last, seed; /* the log is blocks first .. last - 1 */
	uint32_t end;               /* the transaction where it ends */
	struct map revoked;         /* block -> the last transaction that revoked it */
	struct map blocks;
	uint8_t *block, *data; /* scratch, a block each */
};

static struct map_slot *map_slot(struct map_slot *slots, size_t size, uint64_t key)
{
	size_t at = (size_t)(key * 0x9e3779b97f4a7c15ULL >> 24);
	while (slots[at & (size - 1)].key && slots[at & (size - 1)].key != key)
		at++;
	return &slots[at & (size - 1)];
}

static const uint64_t *map_find(const struct map *map, uint64_t block)
{
	if (!map->size)
		return NULL;
	struct map_slot *slot = map_slot(map->slots, map->size, block + 1);
	return slot->key ? &slot->value : NULL;
}

static int map_put(struct map *map, uint64_t block, uint64_t value, struct ramet_error *err)
{
	if (map->count * 4 >= map->size * 3) {
		struct map grown = {.count = map->count, .size = map->size ? map->size * 2 : 1024};
		grown.slots = calloc(grown.size, sizeof *grown.slots);
		if (!grown.slots)
			return error_memory(err);
		for (size_t i = 0; i < map->size; i++) {
			if (map->slots[i].key)
				*map_slot(
					grown.slots, grown.size, map->slots[i].key) = map->slots[i];
		}
		free(map->slots);
		*map = grown;
	}
	struct map_slot *slot = map_slot(map->slots, map->size, block + 1);
	map->count += !slot->key;
	*slot = (struct map_slot){.key = block + 1, .value = value};
	return 0;
}

static bool has_checksums(const struct log *log)
{
	return log->super.incompat & (INCOMPAT_CSUM_2 | INCOMPAT_CSUM_3);
}

/* Transactions count round the clock. */
static bool later(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) > 0;
}

/* Where a block of the journal is on the device. */
static int log_place(struct log *log, uint32_t number, uint64_t *place, struct ramet_error *err)
{
	int r = ext4_map(log->e, &log->inode, number, err);
	if (r < 0)
		return r;
	if (log->inode.run.hole)
		return ext4_damage(err, "its block %u is missing", number);
	*place = log->inode.run.block + (number - log->inode.run.first);
	return 0;
}

static int log_read(struct log *log, uint32_t number, uint8_t *buffer, struct ramet_error *err)
{
	uint64_t place = 0;
	int r = log_place(log, number, &place, err);
	if (r < 0)
		return r;
	return ext4_pread(log->e, buffer, log->e->block_size, place << log->e->block_log, err);
}

static uint32_t log_step(const struct log *log, uint32_t number, uint32_t steps)
{
	uint64_t next = (uint64_t)number + steps;
	return (uint32_t)(next < log->last ? next : next - (log->last - log->first));
}

/* A checksum at the end of a block, or 4 bytes at `at`, is made with those bytes as zeros. */
static bool block_sum_right(const struct log *log, const uint8_t *block, size_t at)
{
	static const uint8_t zero[CHECKSUM_SIZE];
	uint32_t stored, sum = ext4_crc32c(log->seed, block, at);
	memcpy(&stored, block + at, sizeof stored);
	sum = ext4_crc32c(sum, zero, sizeof zero);
	at += sizeof zero;
	sum = ext4_crc32c(sum, block + at, log->e->block_size - at);
	return ext4_sum_right(sum, be32toh(stored));
}

static bool tail_sum_right(const struct log *log, const uint8_t *block)
{
	return !has_checksums(log) ||
	       block_sum_right(log, block, log->e->block_size - CHECKSUM_SIZE);
}

/* One tag of a descriptor: which block the next one of the log is. */
struct tag {
	uint64_t block;
	uint32_t flags, checksum;
};

static size_t tag_size(const struct log *log)
{
	if (log->super.incompat & INCOMPAT_CSUM_3)
		return 16;
	size_t size = log->super.incompat & INCOMPAT_CSUM_2 ? 14 : 12;
	return log->super.incompat & INCOMPAT_64BIT ? size : size - 4;
}

/* The tag at *at, which moves on; false at the end of the descriptor. */
static bool tag_next(const struct log *log, const uint8_t *block, size_t *at, struct tag *tag)
{
	size_t size = tag_size(log),
	       end = log->e->block_size - (has_checksums(log) ? CHECKSUM_SIZE : 0);
	if (*at == 0)
		*at = sizeof(struct header);
	else if (tag->flags & TAG_LAST)
		return false;
	if (*at + size > end)
		return false;
	uint32_t words[4] = {0};
	memcpy(words, block + *at, size);
	tag->block = be32toh(words[0]);
	if (log->super.incompat & INCOMPAT_CSUM_3) {
		tag->flags = be32toh(words[1]);
		tag->checksum = be32toh(words[3]);
	} else {
		tag->checksum = be32toh(words[1]) >> 16;
		tag->flags = be32toh(words[1]) & 0xffff;
	}
	if (log->super.incompat & INCOMPAT_64BIT)
		tag->block |= (uint64_t)be32toh(words[2]) << 32;
	*at += size + (tag->flags & TAG_SAME_UUID ? 0 : UUID_SIZE);
	return true;
}

static bool data_sum_right(
	const struct log *log, const struct tag *tag, uint32_t sequence, const uint8_t *data)
{
	if (!has_checksums(log))
		return true;
	sequence = htobe32(sequence);
	uint32_t sum = ext4_crc32c(log->seed, &sequence, sizeof sequence);
	sum = ext4_crc32c(sum, data, log->e->block_size);
	return log->super.incompat & INCOMPAT_CSUM_3 ? ext4_sum_right(sum, tag->checksum)
						     : ext4_sum_right(sum & 0xffff, tag->checksum);
}

/* What a pass is doing. */
struct pass {
	enum { PASS_SCAN, PASS_REVOKE, PASS_REPLAY } kind;
	uint32_t sequence, at; /* the transaction and the block that come next */
	bool ended;            /* scan: log->end was found before the last block was */
	bool doubtful;         /* scan: a descriptor of this transaction had a wrong checksum */
	uint64_t committed;    /* scan: when the transaction before was committed */
	uint32_t crc;          /* scan: of the transaction's blocks (COMPAT_CHECKSUM) */
};

static int corrupt(const struct pass *pass, struct ramet_error *err)
{
	return ext4_damage(err, "transaction %u has the wrong checksum", pass->sequence);
}

/* Pass over the blocks that the descriptor in log->block is about. */
static int skip_blocks(struct log *log, struct pass *pass, struct ramet_error *err)
{
	bool sum = pass->kind == PASS_SCAN && log->super.compat & COMPAT_CHECKSUM;
	if (sum)
		pass->crc = ext2fs_crc32_be(pass->crc, log->block, log->e->block_size);
	struct tag tag;
	for (size_t at = 0; tag_next(log, log->block, &at, &tag);) {
		if (sum) {
			int r = log_read(log, pass->at, log->data, err);
			if (r < 0)
				return r;
			pass->crc = ext2fs_crc32_be(pass->crc, log->data, log->e->block_size);
		}
		pass->at = log_step(log, pass->at, 1);
	}
	return 0;
}

static int replay_blocks(struct log *log, struct pass *pass, struct ramet_error *err)
{
	struct tag tag;
	for (size_t at = 0; tag_next(log, log->block, &at, &tag);) {
		uint32_t number = pass->at;
		pass->at = log_step(log, number, 1);
		const uint64_t *revoked = map_find(&log->revoked, tag.block);
		if (revoked && !later(pass->sequence, (uint32_t)*revoked))
			continue;
		if (tag.block >= log->e->blocks)
			return ext4_damage(err,
				"transaction %u writes block %llu, and there are %llu",
				pass->sequence, (unsigned long long)tag.block,
				(unsigned long long)log->e->blocks);
		uint64_t place = 0;
		int r = log_place(log, number, &place, err);
		if (r == 0)
			r = ext4_pread(log->e, log->data, log->e->block_size,
				place << log->e->block_log, err);
		if (r < 0)
			return r;
		if (!data_sum_right(log, &tag, pass->sequence, log->data))
			return corrupt(pass, err);
		if (tag.flags & TAG_ESCAPED)
			place |= ESCAPED_BIT;
		r = map_put(&log->blocks, tag.block, place, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int on_descriptor(struct log *log, struct pass *pass, struct ramet_error *err)
{
	if (!tail_sum_right(log, log->block)) {
		/* The scan may come upon stale blocks: the commit will tell. */
		if (pass->kind != PASS_SCAN)
			return corrupt(pass, err);
		pass->doubtful = true;
	}
	return pass->kind == PASS_REPLAY ? replay_blocks(log, pass, err)
					 : skip_blocks(log, pass, err);
}

/* Whether the checksum of the whole transaction (COMPAT_CHECKSUM) is in its commit, or none is. */
static bool transaction_sum_right(const struct pass *pass, const struct commit *commit)
{
	uint32_t stored = be32toh(commit->checksums[0]);
	if (commit->checksum_type == CRC32 && commit->checksum_size == CHECKSUM_SIZE)
		return ext4_sum_right(pass->crc, stored);
	return commit->checksum_type == 0 && commit->checksum_size == 0 && stored == 0;
}

/* The scan at a commit: 1 goes on, 0 says that the log ends before it. */
static int on_commit(struct log *log, struct pass *pass, struct ramet_error *err)
{
	struct commit commit;
	memcpy(&commit, log->block, sizeof commit);
	uint64_t when = be64toh(commit.seconds);
	bool right = true;
	if (log->super.compat & COMPAT_CHECKSUM) {
		right = transaction_sum_right(pass, &commit);
		pass->crc = ~0u;
	}
	if (has_checksums(log))
		right = block_sum_right(log, log->block, offsetof(struct commit, checksums));
	if (pass->doubtful || !right) {
		/* Older than what is before it: left over from the last round of the log. */
		if (when < pass->committed)
			return 0;
		if (pass->doubtful || !(log->super.incompat & INCOMPAT_ASYNC_COMMIT))
			return corrupt(pass, err);
		return 0;
	}
	pass->committed = when;
	return 1;
}

static int on_revoke(struct log *log, struct pass *pass, struct ramet_error *err)
{
	size_t size = log->super.incompat & INCOMPAT_64BIT ? 8 : 4,
	       at = sizeof(struct header) + sizeof(uint32_t),
	       most = log->e->block_size - (has_checksums(log) ? CHECKSUM_SIZE : 0);
	uint32_t end;
	memcpy(&end, log->block + sizeof(struct header), sizeof end);
	end = be32toh(end);
	if (!tail_sum_right(log, log->block))
		return corrupt(pass, err);
	if (end > most)
		return ext4_damage(
			err, "transaction %u revokes more than a block can", pass->sequence);
	for (; at + size <= end; at += size) {
		uint64_t wide = 0;
		uint32_t narrow = 0;
		if (size == sizeof wide)
			memcpy(&wide, log->block + at, sizeof wide);
		else
			memcpy(&narrow, log->block + at, sizeof narrow);
		uint64_t block = size == sizeof wide ? be64toh(wide) : be32toh(narrow);
		const uint64_t *before = map_find(&log->revoked, block);
		if (before && !later(pass->sequence, (uint32_t)*before))
			continue;
		int r = map_put(&log->revoked, block, pass->sequence, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* One block of the log: 1 goes on, 0 ends the pass. */
static int pass_step(struct log *log, struct pass *pass, struct ramet_error *err)
{
	struct header header;
	int r = log_read(log, pass->at, log->block, err);
	if (r < 0)
		return r;
	memcpy(&header, log->block, sizeof header);
	if (be32toh(header.magic) != MAGIC || be32toh(header.sequence) != pass->sequence)
		return 0;
	pass->at = log_step(log, pass->at, 1);
	switch (be32toh(header.kind)) {
	case KIND_DESCRIPTOR:
		r = on_descriptor(log, pass, err);
		return r < 0 ? r : 1;
	case KIND_COMMIT:
		r = pass->kind == PASS_SCAN ? on_commit(log, pass, err) : 1;
		pass->sequence += r > 0;
		return r;
	case KIND_REVOKE:
		r = pass->kind == PASS_REVOKE ? on_revoke(log, pass, err) : 0;
		return r < 0 ? r : 1;
	default:
		return 0;
	}
}

static int pass_run(struct log *log, int kind, struct ramet_error *err)
{
	struct pass pass = {
		.kind = kind, .sequence = log->super.sequence, .at = log->super.start, .crc = ~0u};
	/* Each step takes a block of the log at least; a log that goes round on itself is none. */
	for (uint64_t steps = 0; kind == PASS_SCAN || pass.sequence != log->end; steps++) {
		if (steps > log->last)
			return ext4_damage(err, "it does not end");
		int r = pass_step(log, &pass, err);
		if (r < 0)
			return r;
		if (r == 0)
			break;
	}
	if (kind == PASS_SCAN)
		log->end = pass.sequence;
	else if (pass.sequence != log->end)
		return ext4_damage(
			err, "it ends at transaction %u rather than %u", pass.sequence, log->end);
	return 0;
}

static void super_to_host(struct super *super)
{
	uint32_t *const words[] = {&super->header.magic, &super->header.kind, &super->block_size,
		&super->length, &super->first, &super->sequence, &super->start, &super->compat,
		&super->incompat, &super->ro_compat, &super->fast_blocks, &super->checksum};
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		*words[i] = be32toh(*words[i]);
}

/* The features of the journal, once it is known to have any. */
static int check_super_features(
	struct log *log, const struct super *stored, struct ramet_error *err)
{
	struct super *super = &log->super;
	const uint32_t known = INCOMPAT_REVOKE | INCOMPAT_64BIT | INCOMPAT_ASYNC_COMMIT |
			       INCOMPAT_CSUM_2 | INCOMPAT_CSUM_3 | INCOMPAT_FAST_COMMIT;
	if (super->header.kind == KIND_SUPER_1)
		super->compat = super->incompat = super->ro_compat = 0;
	if (super->incompat & ~known)
		return error_set(err, EOPNOTSUPP,
			"it has features that are not known here (incompat %#x)",
			super->incompat & ~known);
	if (!has_checksums(log))
		return 0;
	uint32_t sum = ext4_crc32c(~0u, stored, offsetof(struct super, checksum));
	static const uint8_t zero[CHECKSUM_SIZE];
	sum = ext4_crc32c(sum, zero, sizeof zero);
	sum = ext4_crc32c(sum, stored->user_ids, sizeof stored->user_ids);
	if (!ext4_sum_right(sum, super->checksum))
		return ext4_damage(err, "its superblock has the wrong checksum");
	log->seed = ext4_crc32c(~0u, super->uuid, sizeof super->uuid);
	return 0;
}

static int log_super(struct log *log, struct ramet_error *err)
{
	struct super *super = &log->super, stored;
	int r = log_read(log, 0, log->block, err);
	if (r < 0)
		return r;
	memcpy(&stored, log->block, sizeof stored);
	*super = stored;
	super_to_host(super);
	if (super->header.magic != MAGIC ||
		(super->header.kind != KIND_SUPER_1 && super->header.kind != KIND_SUPER_2))
		return ext4_damage(err, "it has no superblock");
	r = check_super_features(log, &stored, err);
	if (r < 0)
		return r;
	if (super->block_size != log->e->block_size ||
		super->length > log->inode.size >> log->e->block_log || super->first == 0 ||
		super->first >= super->length)
		return ext4_damage(err, "its superblock claims blocks %u to %u of %u bytes",
			super->first, super->length, super->block_size);
	log->first = super->first;
	log->last = super->length;
	if (super->incompat & INCOMPAT_FAST_COMMIT) {
		uint32_t fast = super->fast_blocks ? super->fast_blocks : FAST_BLOCKS_DEFAULT;
		if (fast < super->length && super->length - fast >= LOG_BLOCKS_LEAST)
			log->last -= fast;
	}
	if (super->start && (super->start < log->first || super->start >= log->last))
		return ext4_damage(err, "it is said to start at its block %u", super->start);
	return 0;
}

/* Fast commits are a log of another kind behind the log. Those of an older transaction are left
 * over; others would have to be replayed. Source: the kernel's fs/ext4/fast_commit.{c,h}. */
static int check_fast_commits(struct log *log, struct ramet_error *err)
{
	if (!(log->super.incompat & INCOMPAT_FAST_COMMIT) || log->last == log->super.length)
		return 0;
	struct {
		uint16_t tag, length;
		uint32_t features, transaction;
	} head;
	int r = log_read(log, log->last, log->block, err);
	if (r < 0)
		return r;
	memcpy(&head, log->block, sizeof head);
	if (le16toh(head.tag) != FAST_TAG_HEAD || le32toh(head.transaction) != log->end)
		return 0;
	return error_set(err, EOPNOTSUPP,
		"it holds fast commits, which cannot be replayed here; mount and unmount the "
		"filesystem where it belongs");
}

static int log_open(struct log *log, struct ramet_error *err)
{
	struct ext4 *e = log->e;
	if (!(e->super.s_feature_compat & EXT3_FEATURE_COMPAT_HAS_JOURNAL) ||
		(e->super.s_journal_inum == 0 && e->super.s_journal_dev == 0))
		return ext4_damage(err, "it is to be replayed but there is none");
	if (e->super.s_journal_inum == 0)
		return error_set(
			err, EOPNOTSUPP, "it is on another device, which cannot be replayed here");
	int r = ext4_node_read(e, e->super.s_journal_inum, &log->inode, err);
	if (r < 0)
		return r;
	if (!S_ISREG(log->inode.mode) || log->inode.flags & EXT4_INLINE_DATA_FL ||
		log->inode.size >> e->block_log > e->blocks)
		return ext4_damage(err, "its inode %u is no journal", log->inode.number);
	log->block = malloc(e->block_size);
	log->data = malloc(e->block_size);
	return log->block && log->data ? log_super(log, err) : error_memory(err);
}

static void log_close(struct log *log)
{
	free(log->block);
	free(log->data);
	free(log->revoked.slots);
	free(log->blocks.slots);
}

int ext4_journal_replay(struct ext4 *e, struct ramet_error *err)
{
	_cleanup_(log_close) struct log log = {.e = e};
	int r = log_open(&log, err);
	if (r < 0)
		return r;
	log.end = log.super.sequence;
	if (log.super.start) {
		r = pass_run(&log, PASS_SCAN, err);
		if (r == 0)
			r = pass_run(&log, PASS_REVOKE, err);
		if (r == 0)
			r = pass_run(&log, PASS_REPLAY, err);
	}
	if (r == 0)
		r = check_fast_commits(&log, err);
	if (r < 0 || log.blocks.count == 0)
		return r;
	e->journal = malloc(sizeof *e->journal);
	if (!e->journal)
		return error_memory(err);
	e->journal->blocks = log.blocks;
	log.blocks = (struct map){0};
	return 0;
}

/* Take the newer content of one block, the part [from, to) of it, into out. */
static int patch_block(struct ext4 *e, uint64_t place, size_t from, size_t to, uint8_t *out,
	struct ramet_error *err)
{
	struct ext4_journal *journal = e->journal;
	e->journal = NULL; /* the journal's own blocks are read as they are */
	int r = ext4_pread(e, out, to - from, ((place & ~ESCAPED_BIT) << e->block_log) + from, err);
	e->journal = journal;
	/* The magic number at the start of a block stands as zeros in the log. */
	uint32_t magic = htobe32(MAGIC);
	for (size_t i = from; i < to && i < sizeof magic && place & ESCAPED_BIT; i++)
		out[i - from] = ((uint8_t *)&magic)[i];
	return r;
}

int ext4_journal_patch(
	struct ext4 *e, void *buffer, size_t length, uint64_t offset, struct ramet_error *err)
{
	uint64_t end = offset + length;
	for (uint64_t block = offset >> e->block_log; block << e->block_log < end; block++) {
		const uint64_t *place = map_find(&e->journal->blocks, block);
		if (!place)
			continue;
		uint64_t start = block << e->block_log;
		size_t from = start < offset ? (size_t)(offset - start) : 0;
		size_t to = (size_t)MIN(e->block_size, end - start);
		int r = patch_block(
			e, *place, from, to, (uint8_t *)buffer + (start + from - offset), err);
		if (r < 0)
			return r;
	}
	return 0;
}

bool ext4_journal_holds(const struct ext4 *e, uint64_t block, uint64_t count)
{
	if (!e->journal)
		return false;
	for (uint64_t i = 0; i < count; i++)
		if (map_find(&e->journal->blocks, block + i))
			return true;
	return false;
}

void ext4_journal_free(struct ext4_journal *journal)
{
	if (journal)
		free(journal->blocks.slots);
	free(journal);
}
