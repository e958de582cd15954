/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening the journal: the inode it is in, its superblock, and what may stand behind its log.
 *
 * The superblock is the journal's block 0 and is distrusted as all of it: a length, a start or a
 * feature that the kernel would refuse is damage. A superblock of kind 1 has no features.
 * Source: the kernel's fs/jbd2/journal.c and include/linux/jbd2.h.
 */
#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "image/ext4_journal_inside.h"

enum {
	KIND_SUPER_1 = 3,
	KIND_SUPER_2 = 4,
	FAST_BLOCKS_DEFAULT = 256,
	LOG_BLOCKS_LEAST = 1024,
	FAST_TAG_HEAD = 9,
};

int journal_log_place(
	struct journal_log *log, uint32_t number, uint64_t *place, struct ramet_error *err)
{
	int r = ext4_map(log->e, &log->inode, number, err);
	if (r < 0)
		return r;
	if (log->inode.run.hole)
		return ext4_damage(err, "its block %u is missing", number);
	*place = log->inode.run.block + (number - log->inode.run.first);
	return 0;
}

int journal_log_read(
	struct journal_log *log, uint32_t number, uint8_t *buffer, struct ramet_error *err)
{
	uint64_t place = 0;
	int r = journal_log_place(log, number, &place, err);
	if (r < 0)
		return r;
	return ext4_pread(log->e, buffer, log->e->block_size, place << log->e->block_log, err);
}

static void super_to_host(struct journal_super *super)
{
	uint32_t *const words[] = {&super->header.magic, &super->header.kind, &super->block_size,
		&super->length, &super->first, &super->sequence, &super->start, &super->compat,
		&super->incompat, &super->ro_compat, &super->fast_blocks, &super->checksum};
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		*words[i] = be32toh(*words[i]);
}

/* The features of the journal, once it is known to have any. */
static int check_super_features(
	struct journal_log *log, const struct journal_super *stored, struct ramet_error *err)
{
	struct journal_super *super = &log->super;
	const uint32_t known = JOURNAL_INCOMPAT_REVOKE | JOURNAL_INCOMPAT_64BIT |
			       JOURNAL_INCOMPAT_ASYNC_COMMIT | JOURNAL_INCOMPAT_CSUM_2 |
			       JOURNAL_INCOMPAT_CSUM_3 | JOURNAL_INCOMPAT_FAST_COMMIT;
	if (super->header.kind == KIND_SUPER_1)
		super->compat = super->incompat = super->ro_compat = 0;
	if (super->incompat & ~known)
		return error_set(err, EOPNOTSUPP,
			"it has features that are not known here (incompat %#x)",
			super->incompat & ~known);
	if (!journal_has_checksums(log))
		return 0;
	uint32_t sum = ext4_crc32c(~0u, stored, offsetof(struct journal_super, checksum));
	static const uint8_t zero[JOURNAL_CHECKSUM_SIZE];
	sum = ext4_crc32c(sum, zero, sizeof zero);
	sum = ext4_crc32c(sum, stored->user_ids, sizeof stored->user_ids);
	if (!ext4_sum_right(sum, super->checksum))
		return ext4_damage(err, "its superblock has the wrong checksum");
	log->seed = ext4_crc32c(~0u, super->uuid, sizeof super->uuid);
	return 0;
}

static int read_super(struct journal_log *log, struct ramet_error *err)
{
	struct journal_super *super = &log->super, stored;
	int r = journal_log_read(log, 0, log->block, err);
	if (r < 0)
		return r;
	memcpy(&stored, log->block, sizeof stored);
	*super = stored;
	super_to_host(super);
	if (super->header.magic != JOURNAL_MAGIC ||
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
	if (super->incompat & JOURNAL_INCOMPAT_FAST_COMMIT) {
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
int journal_check_fast_commits(struct journal_log *log, struct ramet_error *err)
{
	if (!(log->super.incompat & JOURNAL_INCOMPAT_FAST_COMMIT) || log->last == log->super.length)
		return 0;
	struct {
		uint16_t tag, length;
		uint32_t features, transaction;
	} head;
	int r = journal_log_read(log, log->last, log->block, err);
	if (r < 0)
		return r;
	memcpy(&head, log->block, sizeof head);
	if (le16toh(head.tag) != FAST_TAG_HEAD || le32toh(head.transaction) != log->end)
		return 0;
	return error_set(err, EOPNOTSUPP,
		"it holds fast commits, which cannot be replayed here; mount and unmount the "
		"filesystem where it belongs");
}

int journal_log_open(struct journal_log *log, struct ramet_error *err)
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
	return log->block && log->data ? read_super(log, err) : error_memory(err);
}

void journal_log_close(struct journal_log *log)
{
	free(log->block);
	free(log->data);
	ext4_blockmap_free(&log->revoked);
	ext4_blockmap_free(&log->blocks);
}
