/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the journal's replay share: its format, and the log while it is read. */
#ifndef IMAGE_EXT4_JOURNAL_INSIDE_H
#define IMAGE_EXT4_JOURNAL_INSIDE_H

#include "image/ext4_blockmap.h"
#include "image/ext4_inside.h"

enum {
	JOURNAL_MAGIC = 0xC03B3998,
	JOURNAL_COMPAT_CHECKSUM = 1,
	JOURNAL_INCOMPAT_REVOKE = 1,
	JOURNAL_INCOMPAT_64BIT = 2,
	JOURNAL_INCOMPAT_ASYNC_COMMIT = 4,
	JOURNAL_INCOMPAT_CSUM_2 = 8,
	JOURNAL_INCOMPAT_CSUM_3 = 16,
	JOURNAL_INCOMPAT_FAST_COMMIT = 32,
	JOURNAL_UUID_SIZE = 16,
	JOURNAL_CHECKSUM_SIZE = 4,
};

struct journal_header {
	uint32_t magic, kind, sequence;
};

struct journal_super {
	struct journal_header header;
	uint32_t block_size, length, first;
	uint32_t sequence, start, error;
	uint32_t compat, incompat, ro_compat;
	uint8_t uuid[JOURNAL_UUID_SIZE];
	uint32_t users, dynamic, max_transaction, max_data;
	uint8_t checksum_type, padding[3];
	uint32_t fast_blocks, head, more[40], checksum;
	uint8_t user_ids[768];
};
_Static_assert(sizeof(struct journal_super) == 1024, "a journal's superblock has 1024 bytes");

/* Start with e alone. */
struct journal_log {
	struct ext4 *e;
	struct ext4_node inode;
	struct journal_super super;   /* in host byte order */
	uint32_t first, last, seed;   /* the log is blocks first .. last - 1 */
	uint32_t end;                 /* the transaction where it ends */
	struct ext4_blockmap revoked; /* block -> the last transaction that revoked it */
	struct ext4_blockmap blocks;
	uint8_t *block, *data; /* scratch, a block each */
};

static inline bool journal_has_checksums(const struct journal_log *log)
{
	return log->super.incompat & (JOURNAL_INCOMPAT_CSUM_2 | JOURNAL_INCOMPAT_CSUM_3);
}

/* Find the journal, and read and check its superblock. What fails too is closed by
 * journal_log_close(). */
int journal_log_open(struct journal_log *log, struct ramet_error *err);
void journal_log_close(struct journal_log *log);
/* Where a block of the journal is on the device. */
int journal_log_place(
	struct journal_log *log, uint32_t number, uint64_t *place, struct ramet_error *err);
/* Read a block of the journal into buffer. */
int journal_log_read(
	struct journal_log *log, uint32_t number, uint8_t *buffer, struct ramet_error *err);
/* Refuse what would have to be replayed behind the end of the log. */
int journal_check_fast_commits(struct journal_log *log, struct ramet_error *err);

#endif
