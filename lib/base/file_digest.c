/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-256 of a file (FIPS 180-4, by nettle, which uses the processor's instructions for it). Holes
 * are told by lseek(2) SEEK_DATA and are not read; their zeros still go through the sum, for
 * the digest is the one that sha256sum gives.
 */
#include "base/file_digest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"

enum { STEP = 1 << 20 };

int file_digest_open(struct file_digest *digest, int fd)
{
	struct stat st;
	*digest = (struct file_digest){.fd = fd};
	if (fstat(fd, &st) < 0)
		return -errno;
	off_t end = S_ISBLK(st.st_mode) ? lseek(fd, 0, SEEK_END) : st.st_size;
	if (end < 0)
		return -errno;
	digest->size = (uint64_t)end;
	digest->buffer = malloc(STEP);
	digest_begin(&digest->context, DIGEST_SHA256);
	return digest->buffer ? 0 : -ENOMEM;
}

/* Find the data at or after offset; where holes cannot be told, all is data. */
static void find_data(struct file_digest *digest)
{
	off_t data = lseek(digest->fd, (off_t)digest->offset, SEEK_DATA);
	if (data < 0 && errno == ENXIO) {
		digest->data = digest->data_end = digest->size;
		return;
	}
	off_t end = data < 0 ? -1 : lseek(digest->fd, data, SEEK_HOLE);
	digest->data = end < 0 ? digest->offset : (uint64_t)data;
	digest->data_end = end < 0 ? digest->size : MIN((uint64_t)end, digest->size);
}

int file_digest_step(struct file_digest *digest)
{
	if (digest->offset >= digest->size)
		return 0;
	if (digest->offset >= digest->data_end)
		find_data(digest);
	bool hole = digest->offset < digest->data;
	uint64_t end = hole ? digest->data : digest->data_end;
	size_t length = (size_t)MIN(end - digest->offset, (uint64_t)STEP);
	if (hole) {
		memset(digest->buffer, 0, length);
	} else {
		ssize_t n = pread_full(digest->fd, digest->buffer, length, digest->offset);
		if (n != (ssize_t)length)
			return n < 0 ? (int)n : -ESTALE; /* it was cut off meanwhile */
	}
	digest_update(&digest->context, digest->buffer, length);
	digest->offset += length;
	return digest->offset < digest->size;
}

void file_digest_finish(struct file_digest *digest, char text[static FILE_DIGEST_SIZE])
{
	struct digest sum;
	char buffer[DIGEST_TEXT_MAX];
	digest_end(&digest->context, &sum);
	strcpy(text, digest_text(&sum, buffer));
}

void file_digest_free(struct file_digest *digest)
{
	free(TAKE_PTR(digest->buffer));
}

int file_digest(int fd, char text[static FILE_DIGEST_SIZE])
{
	struct file_digest digest;
	int r = file_digest_open(&digest, fd);
	while (r == 0 && (r = file_digest_step(&digest)) > 0)
		r = 0;
	if (r == 0)
		file_digest_finish(&digest, text);
	file_digest_free(&digest);
	return r;
}
