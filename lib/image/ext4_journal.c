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

#include <ext2fs/ext2fs.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "image/ext4_journal_inside.h"

enum {
	KIND_DESCRIPTOR = 1,
	KIND_COMMIT = 2,
	KIND_REVOKE = 5,
	TAG_ESCAPED = 1,
	TAG_SAME_UUID = 2,
	TAG_LAST = 8,
	CRC32 = 1,
};
static const uint64_t ESCAPED_BIT = 1ULL << 63;

struct commit {
	struct journal_header header;
	uint8_t checksum_type, checksum_size, padding[2];
	uint32_t checksums[8];
	uint64_t seconds;
	uint32_t nanoseconds;
} __attribute__((packed));

struct ext4_journal {
	/* block of the device -> block with its content, ESCAPED_BIT */
	struct ext4_blockmap blocks;
};

/* Transactions count round the clock. */
static bool later(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) > 0;
}

static uint32_t journal_log_step(const struct journal_log *log, uint32_t number, uint32_t steps)
{
	uint64_t next = (uint64_t)number + steps;
	return (uint32_t)(next < log->last ? next : next - (log->last - log->first));
}

/* A checksum at the end of a block, or 4 bytes at `at`, is made with those bytes as zeros. */
static bool block_sum_right(const struct journal_log *log, const uint8_t *block, size_t at)
{
	static const uint8_t zero[JOURNAL_CHECKSUM_SIZE];
	uint32_t stored, sum = ext4_crc32c(log->seed, block, at);
	memcpy(&stored, block + at, sizeof stored);
	sum = ext4_crc32c(sum, zero, sizeof zero);
	at += sizeof zero;
	sum = ext4_crc32c(sum, block + at, log->e->block_size - at);
	return ext4_sum_right(sum, be32toh(stored));
}

static bool tail_sum_right(const struct journal_log *log, const uint8_t *block)
{
	return !journal_has_checksums(log) ||
	       block_sum_right(log, block, log->e->block_size - JOURNAL_CHECKSUM_SIZE);
}

/* One tag of a descriptor: which block the next one of the log is. */
struct tag {
	uint64_t block;
	uint32_t flags, checksum;
};

static size_t tag_size(const struct journal_log *log)
{
	if (log->super.incompat & JOURNAL_INCOMPAT_CSUM_3)
		return 16;
	size_t size = log->super.incompat & JOURNAL_INCOMPAT_CSUM_2 ? 14 : 12;
	return log->super.incompat & JOURNAL_INCOMPAT_64BIT ? size : size - 4;
}

/* The tag at *at, which moves on; false at the end of the descriptor. */
static bool tag_next(
	const struct journal_log *log, const uint8_t *block, size_t *at, struct tag *tag)
{
	size_t size = tag_size(log),
	       end = log->e->block_size - (journal_has_checksums(log) ? JOURNAL_CHECKSUM_SIZE : 0);
	if (*at == 0)
		*at = sizeof(struct journal_header);
	else if (tag->flags & TAG_LAST)
		return false;
	if (*at + size > end)
		return false;
	uint32_t words[4] = {0};
	memcpy(words, block + *at, size);
	tag->block = be32toh(words[0]);
	if (log->super.incompat & JOURNAL_INCOMPAT_CSUM_3) {
		tag->flags = be32toh(words[1]);
		tag->checksum = be32toh(words[3]);
	} else {
		tag->checksum = be32toh(words[1]) >> 16;
		tag->flags = be32toh(words[1]) & 0xffff;
	}
	if (log->super.incompat & JOURNAL_INCOMPAT_64BIT)
		tag->block |= (uint64_t)be32toh(words[2]) << 32;
	*at += size + (tag->flags & TAG_SAME_UUID ? 0 : JOURNAL_UUID_SIZE);
	return true;
}

static bool data_sum_right(const struct journal_log *log, const struct tag *tag, uint32_t sequence,
	const uint8_t *data)
{
	if (!journal_has_checksums(log))
		return true;
	sequence = htobe32(sequence);
	uint32_t sum = ext4_crc32c(log->seed, &sequence, sizeof sequence);
	sum = ext4_crc32c(sum, data, log->e->block_size);
	return log->super.incompat & JOURNAL_INCOMPAT_CSUM_3
		       ? ext4_sum_right(sum, tag->checksum)
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
static int skip_blocks(struct journal_log *log, struct pass *pass, struct ramet_error *err)
{
	bool sum = pass->kind == PASS_SCAN && log->super.compat & JOURNAL_COMPAT_CHECKSUM;
	if (sum)
		pass->crc = ext2fs_crc32_be(pass->crc, log->block, log->e->block_size);
	struct tag tag;
	for (size_t at = 0; tag_next(log, log->block, &at, &tag);) {
		if (sum) {
			int r = journal_log_read(log, pass->at, log->data, err);
			if (r < 0)
				return r;
			pass->crc = ext2fs_crc32_be(pass->crc, log->data, log->e->block_size);
		}
		pass->at = journal_log_step(log, pass->at, 1);
	}
	return 0;
}

static int replay_blocks(struct journal_log *log, struct pass *pass, struct ramet_error *err)
{
	struct tag tag;
	for (size_t at = 0; tag_next(log, log->block, &at, &tag);) {
		uint32_t number = pass->at;
		pass->at = journal_log_step(log, number, 1);
		const uint64_t *revoked = ext4_blockmap_find(&log->revoked, tag.block);
		if (revoked && !later(pass->sequence, (uint32_t)*revoked))
			continue;
		if (tag.block >= log->e->blocks)
			return ext4_damage(err,
				"transaction %u writes block %llu, and there are %llu",
				pass->sequence, (unsigned long long)tag.block,
				(unsigned long long)log->e->blocks);
		uint64_t place = 0;
		int r = journal_log_place(log, number, &place, err);
		if (r == 0)
			r = ext4_pread(log->e, log->data, log->e->block_size,
				place << log->e->block_log, err);
		if (r < 0)
			return r;
		if (!data_sum_right(log, &tag, pass->sequence, log->data))
			return corrupt(pass, err);
		if (tag.flags & TAG_ESCAPED)
			place |= ESCAPED_BIT;
		r = ext4_blockmap_put(&log->blocks, tag.block, place, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int on_descriptor(struct journal_log *log, struct pass *pass, struct ramet_error *err)
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

/* Whether the checksum of the whole transaction (COMPAT_CHECKSUM) is in its commit, or none
 * is. */
static bool transaction_sum_right(const struct pass *pass, const struct commit *commit)
{
	uint32_t stored = be32toh(commit->checksums[0]);
	if (commit->checksum_type == CRC32 && commit->checksum_size == JOURNAL_CHECKSUM_SIZE)
		return ext4_sum_right(pass->crc, stored);
	return commit->checksum_type == 0 && commit->checksum_size == 0 && stored == 0;
}

/* The scan at a commit: 1 goes on, 0 says that the log ends before it. */
static int on_commit(struct journal_log *log, struct pass *pass, struct ramet_error *err)
{
	struct commit commit;
	memcpy(&commit, log->block, sizeof commit);
	uint64_t when = be64toh(commit.seconds);
	bool right = true;
	if (log->super.compat & JOURNAL_COMPAT_CHECKSUM) {
		right = transaction_sum_right(pass, &commit);
		pass->crc = ~0u;
	}
	if (journal_has_checksums(log))
		right = block_sum_right(log, log->block, offsetof(struct commit, checksums));
	if (pass->doubtful || !right) {
		/* Older than what is before it: left over from the last round of the log. */
		if (when < pass->committed)
			return 0;
		if (pass->doubtful || !(log->super.incompat & JOURNAL_INCOMPAT_ASYNC_COMMIT))
			return corrupt(pass, err);
		return 0;
	}
	pass->committed = when;
	return 1;
}

static int on_revoke(struct journal_log *log, struct pass *pass, struct ramet_error *err)
{
	size_t size = log->super.incompat & JOURNAL_INCOMPAT_64BIT ? 8 : 4,
	       at = sizeof(struct journal_header) + sizeof(uint32_t),
	       most = log->e->block_size - (journal_has_checksums(log) ? JOURNAL_CHECKSUM_SIZE : 0);
	uint32_t end;
	memcpy(&end, log->block + sizeof(struct journal_header), sizeof end);
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
		const uint64_t *before = ext4_blockmap_find(&log->revoked, block);
		if (before && !later(pass->sequence, (uint32_t)*before))
			continue;
		int r = ext4_blockmap_put(&log->revoked, block, pass->sequence, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* One block of the log: 1 goes on, 0 ends the pass. */
static int pass_step(struct journal_log *log, struct pass *pass, struct ramet_error *err)
{
	struct journal_header header;
	int r = journal_log_read(log, pass->at, log->block, err);
	if (r < 0)
		return r;
	memcpy(&header, log->block, sizeof header);
	if (be32toh(header.magic) != JOURNAL_MAGIC || be32toh(header.sequence) != pass->sequence)
		return 0;
	pass->at = journal_log_step(log, pass->at, 1);
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

static int pass_run(struct journal_log *log, int kind, struct ramet_error *err)
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

int ext4_journal_replay(struct ext4 *e, struct ramet_error *err)
{
	_cleanup_(journal_log_close) struct journal_log log = {.e = e};
	int r = journal_log_open(&log, err);
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
		r = journal_check_fast_commits(&log, err);
	if (r < 0 || log.blocks.count == 0)
		return r;
	e->journal = malloc(sizeof *e->journal);
	if (!e->journal)
		return error_memory(err);
	e->journal->blocks = log.blocks;
	log.blocks = (struct ext4_blockmap){0};
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
	uint32_t magic = htobe32(JOURNAL_MAGIC);
	for (size_t i = from; i < to && i < sizeof magic && place & ESCAPED_BIT; i++)
		out[i - from] = ((uint8_t *)&magic)[i];
	return r;
}

int ext4_journal_patch(
	struct ext4 *e, void *buffer, size_t length, uint64_t offset, struct ramet_error *err)
{
	uint64_t end = offset + length;
	for (uint64_t block = offset >> e->block_log; block << e->block_log < end; block++) {
		const uint64_t *place = ext4_blockmap_find(&e->journal->blocks, block);
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
		if (ext4_blockmap_find(&e->journal->blocks, block + i))
			return true;
	return false;
}

void ext4_journal_free(struct ext4_journal *journal)
{
	if (journal)
		ext4_blockmap_free(&journal->blocks);
	free(journal);
}
