/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block devices in user space. A device moves no bytes: it answers where they are, and the engine
 * (engine.h) moves them between that place and the memory of whoever asked, like the targets of the
 * kernel's device-mapper. So a plain file, a tree served lazily and a copy-on-write file are one thing
 * to every export.
 *
 * Threads: map, cached, prepare_write, commit_write and stalled are called from the engine's thread, put too
 * but for extents with a group; ready, flush, discard and such a put may block and are called from
 * others, many at once, but never two flushes. A device guards what these share.
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
	/* Not 0: whoever has the bytes may not answer for ever (a FUSE server that hangs). Only
	 * workers touch the file, put() is called by them too, and what waits for one group does not
	 * hold up others. Never of writes. */
	uint16_t group;
	/* For put(): 0, the errno with which reading failed, or ECANCELED when nothing was read. */
	int failed;
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
	/* As map, for whoever wants to know where zeros are and not to read them: what map has as data
	 * though it was never written may be ZERO here. May look at the disk. NULL: map knows all. */
	int (*status)(struct block_device *device, uint64_t offset, uint64_t length,
		struct block_extent *extents, unsigned most);
	/* Whether all of it is in the page cache now. Where this is, map answers with one extent, whose
	 * bytes need no checking and may be sent on from the file. Never blocks. NULL: no. */
	bool (*cached)(struct block_device *device, uint64_t offset, uint64_t length);
	/* Bring what a WAIT extent waits for. Blocks. 0: ask again, it may have to wait once more; or a
	 * negative errno: the read fails with it. */
	int (*ready)(struct block_device *device, const struct block_extent *extent);
	/* The bytes of a held extent have been read: 0, or a negative errno when they are not to be
	 * believed. */
	int (*put)(struct block_device *device, const struct block_extent *extent);
	/* An extent with a group has been read, or made ready, for stall_ms and more; over: that has
	 * ended after all. Told once each. May be NULL. */
	void (*stalled)(struct block_device *device, const struct block_extent *extent, bool over);
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
	/* What takes longer has stalled, where extents have groups: milliseconds, 0 for never. With
	 * fail_stalled it fails then with EIO, whenever it may end; else it is waited for. */
	unsigned stall_ms;
	bool fail_stalled;
};

/* Bytes of an extent with a group, at most: with fail_stalled they are read into memory of the
 * engine's own. */
#define BLOCK_GROUP_MOST ((uint64_t)256 << 10)

void block_close(struct block_device *device); /* NULL is fine */
static inline void block_closep(struct block_device **device)
{
	block_close(*device);
}
#define _cleanup_block_ __attribute__((cleanup(block_closep)))

/* A file of the host, or a kernel's block device: fd is taken over when the answer is 0, and was
 * opened O_RDWR unless read_only. A tail of less than 512 bytes is not served. */
int block_file_open(int fd, bool read_only, struct block_device **device, struct ramet_error *err);

/* Put zeros behind the end of a read-only device, up to a multiple of align (a power of two, at least
 * 512): *device becomes a device over the one that was there, and owns it. */
int block_padded_open(struct block_device **device, uint64_t align, struct ramet_error *err);

#endif
