/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block devices in user space. A device moves no bytes: it answers where they are, and the engine
 * (engine.h) moves them between that place and the memory of whoever asked, like the targets of the
 * kernel's device-mapper. So a plain file, a tree served lazily and a copy-on-write file are one thing
 * to every export.
 *
 * Threads: map, prepare_write, commit_write and put are called from the engine's thread; ready, flush
 * and discard may block and are called from others, ready and discard many at once, and never two
 * flushes. A device guards what these share.
 */
#ifndef BLOCK_DEVICE_H
#define BLOCK_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum block_kind {
	BLOCK_DATA, /* length bytes from offset of fd */
	BLOCK_ZERO, /* reads as zeros, and nothing is stored for it */
	BLOCK_WAIT, /* not known, or not to be had yet: call ready(), then ask again */
};

/* A run of bytes of a device. */
struct block_extent {
	enum block_kind kind;
	int fd;
	uint64_t offset, length; /* length is never 0 */
	/* Which source of the device this is, for ready and put; devices with one file ignore it. */
	uint32_t source;
	/* put() must be called once the bytes have been read: it says whether they were the right
	 * ones, and lets go of the fd. */
	bool held;
};

struct block_device;

struct block_ops {
	const char *name; /* "file", "layout" */
	/*
	 * Where [offset, offset + length) is: at most most extents, in order and without gaps from
	 * offset on; they may end before offset + length does, and nothing comes after a WAIT. Never
	 * blocks. Answers how many (at least 1), or a negative errno.
	 */
	int (*map)(struct block_device *device, uint64_t offset, uint64_t length,
		struct block_extent *extents, unsigned most);
	/* Bring what a WAIT extent waits for. Blocks. 0, or a negative errno: the read fails with it. */
	int (*ready)(struct block_device *device, const struct block_extent *extent);
	/* The bytes of a held extent have been read: 0, or a negative errno when they are not to be
	 * believed. */
	int (*put)(struct block_device *device, const struct block_extent *extent);
	/*
	 * Where what is written to [offset, offset + length) goes, as map: DATA, or WAIT. NULL: the
	 * device is read-only. commit_write is told when the bytes are there; until then, and when it
	 * is never told, reads go on to answer what was there before. It may be NULL.
	 */
	int (*prepare_write)(struct block_device *device, uint64_t offset, uint64_t length,
		struct block_extent *extents, unsigned most);
	int (*commit_write)(struct block_device *device, uint64_t offset, uint64_t length);
	/* Everything committed before the call survives a loss of power. Blocks. NULL with
	 * prepare_write NULL. */
	int (*flush)(struct block_device *device);
	/* The bytes are not wanted any more, and read as zeros from now on. Blocks. -EOPNOTSUPP, or
	 * NULL: whoever wants zeros has to write them. */
	int (*discard)(struct block_device *device, uint64_t offset, uint64_t length);
	void (*close)(struct block_device *device); /* frees device too */
};

/* Every device starts with this. */
struct block_device {
	const struct block_ops *ops;
	uint64_t size; /* bytes, a multiple of 512 */
	bool read_only;
};

void block_close(struct block_device *device); /* NULL is fine */
static inline void block_closep(struct block_device **device)
{
	block_close(*device);
}
#define _cleanup_block_ __attribute__((cleanup(block_closep)))

/* A file of the host, or a kernel's block device: fd is taken over when the answer is 0, and was
 * opened O_RDWR unless read_only. A tail of less than 512 bytes is not served. */
int block_file_open(int fd, bool read_only, struct block_device **device, struct ramet_error *err);

#endif
