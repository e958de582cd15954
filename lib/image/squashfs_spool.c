/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directory table is made while the inode table, which stands before it, grows. libsquashfs can
 * keep it itself, but takes 8 KiB for each block of it, however small that became.
 */
#include "image/squashfs_spool.h"

#include <sqfs/error.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define PIECE ((size_t)64 * 1024)

/* Nobody reads it but squashfs_spool_copy. */
static int read_at(sqfs_file_t *base, sqfs_u64 offset, void *buffer, size_t length)
{
	return SQFS_ERROR_UNSUPPORTED;
}

static int add_piece(struct squashfs_spool *spool)
{
	char *piece = malloc(PIECE);
	char **place = piece ? vector_push(&spool->pieces) : NULL;
	if (!place) {
		free(piece);
		return -ENOMEM;
	}
	*place = piece;
	return 0;
}

static int write_at(sqfs_file_t *base, sqfs_u64 offset, const void *buffer, size_t length)
{
	struct squashfs_spool *spool = (struct squashfs_spool *)base;
	if (offset != spool->size)
		return SQFS_ERROR_UNSUPPORTED;
	for (size_t n; length; length -= n, buffer = (const char *)buffer + n, spool->size += n) {
		size_t used = spool->size % PIECE;
		if (!used && add_piece(spool) < 0)
			return SQFS_ERROR_ALLOC;
		n = MIN(length, PIECE - used);
		memcpy(spool->pieces.items[spool->pieces.count - 1] + used, buffer, n);
	}
	return 0;
}

static sqfs_u64 get_size(const sqfs_file_t *base)
{
	return ((const struct squashfs_spool *)base)->size;
}

static int set_size(sqfs_file_t *base, sqfs_u64 size)
{
	return SQFS_ERROR_UNSUPPORTED;
}

static void destroy(sqfs_object_t *object)
{
}

void squashfs_spool_init(struct squashfs_spool *spool)
{
	*spool = (struct squashfs_spool){
		.base = {{destroy, NULL}, read_at, write_at, get_size, set_size},
	};
}

int squashfs_spool_copy(struct squashfs_spool *spool, sqfs_file_t *file)
{
	int r = 0;
	for (size_t i = 0; i < spool->pieces.count && r == 0; i++) {
		size_t length = MIN(PIECE, spool->size - i * PIECE);
		r = file->write_at(file, file->get_size(file), spool->pieces.items[i], length);
	}
	return r;
}

void squashfs_spool_free(struct squashfs_spool *spool)
{
	for (size_t i = 0; i < spool->pieces.count; i++)
		free(spool->pieces.items[i]);
	vector_free(&spool->pieces);
}
