/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The little filesystem around the disk: a folder with one file, whose length never changes. Names and
 * attributes are the kernel's to remember for ever. A read-only disk is not even told when it is
 * opened (ENOSYS to OPEN: the kernel asks no more, and keeps what it has cached).
 *
 * The messages are those of the kernel's include/uapi/linux/fuse.h.
 */
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "export/fuse.h"
#include "export/fuse_inside.h"

enum {
	MINOR = 31, /* of the protocol: pages by number, folders without open */
	OLDEST_MINOR = 28,
	/* The kernel's own measure. It also reads that much around each fault of a mapping: more would
	 * have a guest on virtio-pmem pull in what it never looks at. */
	READAHEAD = 128 << 10,
	FOREVER = 1 << 30, /* seconds */
	BLOCK = 4096,
};

#define WANTED \
	(FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_ASYNC_DIO | FUSE_NO_OPEN_SUPPORT | \
		FUSE_PARALLEL_DIROPS | FUSE_MAX_PAGES | FUSE_NO_OPENDIR_SUPPORT)

void fuse_touch(struct fuse_export *fuse)
{
	clock_gettime(CLOCK_REALTIME_COARSE, &fuse->changed);
}

static void answer_init(
	struct fuse_export *fuse, const struct fuse_in_header *in, const struct fuse_init_in *init)
{
	struct fuse_init_out out = {
		.major = FUSE_KERNEL_VERSION,
		.minor = MINOR,
		.max_readahead = READAHEAD,
		.flags = WANTED & init->flags,
		.max_background = FUSE_DEPTH,
		.congestion_threshold = FUSE_DEPTH,
		.max_write = FUSE_TRANSFER,
		.max_pages = (uint16_t)(FUSE_TRANSFER / sysconf(_SC_PAGESIZE)),
		.time_gran = 1,
	};
	fuse->greeted = init->major == FUSE_KERNEL_VERSION && init->minor >= OLDEST_MINOR;
	fuse_reply(fuse, in->unique, fuse->greeted ? 0 : -EPROTO, &out, sizeof out);
}

static uint32_t disk_mode(const struct fuse_export *fuse)
{
	if (!fuse->served->device->read_only)
		return S_IFREG | 0600;
	return fuse->options.user ? S_IFREG | 0400 : S_IFREG | 0444;
}

static struct fuse_attr attributes(const struct fuse_export *fuse, uint64_t node)
{
	const struct export_user *user = fuse->options.user;
	uint64_t size = fuse->served->device->size;
	struct fuse_attr attr = {
		.ino = node,
		.mode = S_IFDIR | 0500,
		.nlink = 2,
		.uid = user ? user->uid : geteuid(),
		.gid = user ? user->gid : getegid(),
		.blksize = BLOCK,
		.atime = (uint64_t)fuse->changed.tv_sec,
		.mtime = (uint64_t)fuse->changed.tv_sec,
		.ctime = (uint64_t)fuse->changed.tv_sec,
		.atimensec = (uint32_t)fuse->changed.tv_nsec,
		.mtimensec = (uint32_t)fuse->changed.tv_nsec,
		.ctimensec = (uint32_t)fuse->changed.tv_nsec,
	};
	if (node == FUSE_DISK) {
		attr.mode = disk_mode(fuse);
		attr.nlink = 1;
		attr.size = size;
		attr.blocks = size / 512;
	}
	return attr;
}

static void answer_lookup(
	struct fuse_export *fuse, const struct fuse_in_header *in, const char *name)
{
	struct fuse_entry_out out = {
		.nodeid = FUSE_DISK,
		.entry_valid = FOREVER,
		.attr_valid = FOREVER,
		.attr = attributes(fuse, FUSE_DISK),
	};
	bool found = in->nodeid == FUSE_ROOT_ID && strcmp(name, FUSE_FILE) == 0;
	fuse_reply(fuse, in->unique, found ? 0 : -ENOENT, &out, sizeof out);
}

static void answer_attributes(struct fuse_export *fuse, const struct fuse_in_header *in)
{
	struct fuse_attr_out out = {
		.attr_valid = FOREVER,
		.attr = attributes(fuse, in->nodeid),
	};
	fuse_reply(fuse, in->unique, 0, &out, sizeof out);
}

/* Times may be set; that is, they become now. The length stays, and so do owner and mode. */
static void answer_change(struct fuse_export *fuse, const struct fuse_in_header *in,
	const struct fuse_setattr_in *change)
{
	const uint32_t refused = FATTR_MODE | FATTR_UID | FATTR_GID;
	bool resized = (change->valid & FATTR_SIZE) && change->size != fuse->served->device->size;
	if (resized || (change->valid & refused)) {
		fuse_reply(fuse, in->unique, -EPERM, NULL, 0);
		return;
	}
	fuse_touch(fuse);
	answer_attributes(fuse, in);
}

static void answer_open(struct fuse_export *fuse, const struct fuse_in_header *in)
{
	const struct fuse_open_out out = {0};
	int error = fuse->served->device->read_only ? -ENOSYS : 0;
	fuse_reply(fuse, in->unique, error, &out, sizeof out);
}

static size_t put_name(uint8_t *at, const char *name, uint64_t node, uint64_t place, uint32_t type)
{
	const struct fuse_dirent entry = {
		.ino = node, .off = place, .namelen = (uint32_t)strlen(name), .type = type >> 12};
	memcpy(at, &entry, FUSE_NAME_OFFSET);
	memcpy(at + FUSE_NAME_OFFSET, name, entry.namelen);
	return FUSE_DIRENT_SIZE(&entry);
}

static void answer_list(
	struct fuse_export *fuse, const struct fuse_in_header *in, const struct fuse_read_in *read)
{
	uint8_t list[128] = {0};
	size_t length = 0;
	if (read->offset < 1)
		length += put_name(list, ".", FUSE_ROOT_ID, 1, S_IFDIR);
	if (read->offset < 2)
		length += put_name(list + length, "..", FUSE_ROOT_ID, 2, S_IFDIR);
	if (read->offset < 3)
		length += put_name(list + length, FUSE_FILE, FUSE_DISK, 3, S_IFREG);
	/* The kernel asks with a page or more. */
	fuse_reply(fuse, in->unique, length <= read->size ? 0 : -EINVAL, list, length);
}

static void answer_statistics(struct fuse_export *fuse, const struct fuse_in_header *in)
{
	const struct fuse_statfs_out out = {.st = {
						    .blocks = fuse->served->device->size / BLOCK,
						    .files = 1,
						    .bsize = BLOCK,
						    .frsize = BLOCK,
						    .namelen = 255,
					    }};
	fuse_reply(fuse, in->unique, 0, &out, sizeof out);
}

void fuse_answer(struct fuse_export *fuse, const struct fuse_in_header *in, const void *body)
{
	switch (in->opcode) {
	case FUSE_INIT:
		answer_init(fuse, in, body);
		break;
	case FUSE_LOOKUP:
		answer_lookup(fuse, in, body);
		break;
	case FUSE_GETATTR:
		answer_attributes(fuse, in);
		break;
	case FUSE_SETATTR:
		answer_change(fuse, in, body);
		break;
	case FUSE_OPEN:
		answer_open(fuse, in);
		break;
	case FUSE_READDIR:
		answer_list(fuse, in, body);
		break;
	case FUSE_STATFS:
		answer_statistics(fuse, in);
		break;
	case FUSE_RELEASE:
		fuse_reply(fuse, in->unique, 0, NULL, 0);
		break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
		break; /* These two have no answer. */
	default:
		/* The kernel does without: no xattrs, no locks of ours, no interrupting. */
		fuse_reply(fuse, in->unique, -ENOSYS, NULL, 0);
	}
}
