/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libext2fs sends the block of an inode table once for each of the sixteen inodes in it, and asks for
 * it back in between. Here such blocks wait, in a few parts of the device at a time, and go out in
 * runs when another part takes their place. Only what was written goes out, so a sparse device stays
 * sparse.
 */
#include "image/ext4_window.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "image/ext4_format.h"

#define BIT(i) ((uint64_t)1 << (i))
_Static_assert(EXT4_WINDOW_BLOCKS == 64, "a bit of a uint64_t for each block");

static struct ext4_window *window_of(const struct ext4_windows *windows, uint64_t block)
{
	uint64_t number = block / EXT4_WINDOW_BLOCKS;
	return (struct ext4_window *)&windows->windows[number % EXT4_WINDOWS];
}

static uint8_t *place_of(const struct ext4_window *window, uint64_t block)
{
	return window->bytes + block % EXT4_WINDOW_BLOCKS * EXT4_BLOCK_SIZE;
}

/* The run of blocks at the lowest written one. */
static int write_run(struct ext4_window *window, int fd)
{
	unsigned first = (unsigned)__builtin_ctzll(window->written), end = first;
	while (end < EXT4_WINDOW_BLOCKS && window->written & BIT(end))
		window->written &= ~BIT(end++);
	uint64_t block = window->number * EXT4_WINDOW_BLOCKS + first;
	return pwrite_full(fd, place_of(window, block), (size_t)(end - first) * EXT4_BLOCK_SIZE,
		block * EXT4_BLOCK_SIZE);
}

static int settle(struct ext4_window *window, int fd)
{
	int r = 0;
	while (window->written && r == 0)
		r = write_run(window, fd);
	return r;
}

/* Make the block's window its own. */
static int enter(struct ext4_window *window, int fd, uint64_t block)
{
	if (window->number != block / EXT4_WINDOW_BLOCKS) {
		int r = settle(window, fd);
		if (r < 0)
			return r;
	}
	if (!window->bytes) {
		window->bytes = malloc((size_t)EXT4_WINDOW_BLOCKS * EXT4_BLOCK_SIZE);
		if (!window->bytes)
			return -ENOMEM;
	}
	window->number = block / EXT4_WINDOW_BLOCKS;
	return 0;
}

int ext4_windows_put(struct ext4_windows *windows, int fd, uint64_t block, const void *data)
{
	struct ext4_window *window = window_of(windows, block);
	int r = enter(window, fd, block);
	if (r < 0)
		return r;
	window->written |= BIT(block % EXT4_WINDOW_BLOCKS);
	memcpy(place_of(window, block), data, EXT4_BLOCK_SIZE);
	return 0;
}

int ext4_windows_patch(struct ext4_windows *windows, int fd, uint64_t block, size_t offset,
	const void *data, size_t length)
{
	struct ext4_window *window = window_of(windows, block);
	int r = enter(window, fd, block);
	if (r < 0)
		return r;
	uint8_t *place = place_of(window, block);
	if (!(window->written & BIT(block % EXT4_WINDOW_BLOCKS))) {
		ssize_t n = pread_full(fd, place, EXT4_BLOCK_SIZE, block * EXT4_BLOCK_SIZE);
		if (n < 0)
			return (int)n;
		memset(place + n, 0, EXT4_BLOCK_SIZE - (size_t)n);
		window->written |= BIT(block % EXT4_WINDOW_BLOCKS);
	}
	memcpy(place + offset, data, length);
	return 0;
}

bool ext4_windows_get(const struct ext4_windows *windows, uint64_t block, void *data)
{
	const struct ext4_window *window = window_of(windows, block);
	if (window->number != block / EXT4_WINDOW_BLOCKS ||
		!(window->written & BIT(block % EXT4_WINDOW_BLOCKS)))
		return false;
	memcpy(data, place_of(window, block), EXT4_BLOCK_SIZE);
	return true;
}

int ext4_windows_settle(struct ext4_windows *windows, int fd)
{
	int r = 0;
	for (unsigned i = 0; i < EXT4_WINDOWS && r == 0; i++)
		r = settle(&windows->windows[i], fd);
	return r;
}

void ext4_windows_free(struct ext4_windows *windows)
{
	for (unsigned i = 0; i < EXT4_WINDOWS; i++)
		free(windows->windows[i].bytes);
}
