/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks that libext2fs wrote and that wait for their neighbours, on their way to the device. */
#ifndef IMAGE_EXT4_WINDOW_H
#define IMAGE_EXT4_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EXT4_WINDOWS = 8, EXT4_WINDOW_BLOCKS = 64 };

/* Start with {0}; ext4_windows_free() in any case. */
struct ext4_windows {
	struct ext4_window {
		uint64_t number;  /* of the part of the device */
		uint64_t written; /* a bit for each block that is here and not on the device */
		uint8_t *bytes;
	} windows[EXT4_WINDOWS];
};

/* Take in one block. 0 or a negative errno: of the block, or of those that made room for it. */
int ext4_windows_put(struct ext4_windows *windows, int fd, uint64_t block, const void *data);
/* The same for length bytes at offset in a block; what surrounds them is as it was. */
int ext4_windows_patch(struct ext4_windows *windows, int fd, uint64_t block, size_t offset,
	const void *data, size_t length);
/* Whether the block is here; then its bytes go to data. */
bool ext4_windows_get(const struct ext4_windows *windows, uint64_t block, void *data);
/* All that is here goes to the device. */
int ext4_windows_settle(struct ext4_windows *windows, int fd);
void ext4_windows_free(struct ext4_windows *windows);

#endif
