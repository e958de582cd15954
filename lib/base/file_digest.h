/* SPDX-License-Identifier: Apache-2.0 */
/* The SHA-256 of a file, "sha256:" and 64 hexadecimal digits. */
#ifndef BASE_FILE_DIGEST_H
#define BASE_FILE_DIGEST_H

#include "base/digest.h"

enum { FILE_DIGEST_SIZE = 72 }; /* with its NUL */

/* A file that is digested step by step. */
struct file_digest {
	int fd;                        /* borrowed, read with pread(); its place is not kept */
	uint64_t offset;               /* what is done */
	uint64_t size, data, data_end; /* [data, data_end): the next bytes that are no hole */
	struct digest_context context;
	uint8_t *buffer;
};

/* 0 or a negative errno. */
int file_digest_open(struct file_digest *digest, int fd);
/* Go on for up to a MiB. 1: there is more, 0: all is done, or a negative errno. */
int file_digest_step(struct file_digest *digest);
void file_digest_finish(struct file_digest *digest, char text[static FILE_DIGEST_SIZE]);
void file_digest_free(struct file_digest *digest);

/* The whole file at once. 0 or a negative errno. */
int file_digest(int fd, char text[static FILE_DIGEST_SIZE]);

#endif
