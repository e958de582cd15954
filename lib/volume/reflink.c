/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The provider `reflink`: a clone of an ext4 base by FICLONE (ioctl_ficlonerange(2)), which shares
 * the base's blocks on the disk until the guest writes (XFS, btrfs). It costs no time and no room,
 * but a clone is a file of its own to the kernel: what two guests read of the base is in the host's
 * page cache twice.
 *
 * The clone gets an identity of its own. A size larger than the base's makes the file longer; the
 * guest's init grows the filesystem into it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/text.h"
#include "volume/mounts.h"
#include "volume/shared.h"
#include "volume/superblock.h"
#include "volume/volume.h"

struct reflink_batch {
	struct volume_batch batch;
	int base; /* borrowed */
	uint8_t superblock[EXT4_SUPER_SIZE];
};

static int open_scratch(const struct volume_place *place)
{
	int fd = openat(place->dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	return fd < 0 ? -errno : fd;
}

/* Why FICLONE from base into the store does not work, as a clause. */
static void explain(const struct volume_place *place, const struct volume_base *base, int code,
	char reason[static VOLUME_REASON_SIZE])
{
	char store_mount[160], base_mount[160], text[128];
	mount_describe(place->dirfd, store_mount, sizeof store_mount);
	if (base)
		mount_describe(base->fd, base_mount, sizeof base_mount);
	if (code == EXDEV && base)
		snprintf(reason, VOLUME_REASON_SIZE,
			"the base is on %s and the store on %s, and blocks are shared within one "
			"file system only; put the base there or name a store here with --root",
			base_mount, store_mount);
	else if (code == EOPNOTSUPP || code == ENOTTY || code == EINVAL)
		snprintf(reason, VOLUME_REASON_SIZE,
			"the store's file system, %s, cannot share blocks between files (XFS made "
			"with reflink=1 and btrfs can)",
			store_mount);
	else
		snprintf(reason, VOLUME_REASON_SIZE,
			"sharing blocks was tried on %s and failed: %s", store_mount,
			strerror_r(code, text, sizeof text));
}

/* Really clone something in the store: the base, or without one a small file. */
static int try_clone(const struct volume_place *place, const struct volume_base *base)
{
	_cleanup_close_ int target = open_scratch(place);
	if (target < 0)
		return target;
	_cleanup_close_ int own = -1;
	int source = base ? base->fd : (own = open_scratch(place));
	if (source < 0)
		return source;
	char block[4096] = "ramet";
	if (own >= 0) {
		int r = pwrite_full(own, block, sizeof block, 0);
		if (r < 0)
			return r;
	}
	return ioctl(target, FICLONE, source) < 0 ? -errno : 0;
}

/* Whether the base can be cloned into a fork at all; *size: at least so long must the clone be. */
static bool check_base(const struct volume_base *base, uint64_t size,
	uint8_t superblock[static EXT4_SUPER_SIZE], char reason[static VOLUME_REASON_SIZE])
{
	if (base->lazy) {
		snprintf(reason, VOLUME_REASON_SIZE,
			"the base is lazy: it has no blocks that could be shared");
		return false;
	}
	if (base->layers) {
		snprintf(reason, VOLUME_REASON_SIZE,
			"layers stand on the base, and a clone is of one image alone");
		return false;
	}
	if (strcmp(base->format, "ext4") != 0) {
		snprintf(reason, VOLUME_REASON_SIZE,
			"the base is %s, and only an ext4 can be cloned into a writable disk",
			base->format);
		return false;
	}
	struct superblock_state state;
	ssize_t n = pread_full(base->fd, superblock, EXT4_SUPER_SIZE, EXT4_SUPER_OFFSET);
	if (n == EXT4_SUPER_SIZE)
		superblock_inspect(superblock, &state);
	if (n != EXT4_SUPER_SIZE || !state.is_ext4)
		snprintf(reason, VOLUME_REASON_SIZE, "the base has no superblock of an ext4");
	else if (state.obstacle)
		snprintf(reason, VOLUME_REASON_SIZE, "the base cannot be cloned: %s",
			state.obstacle);
	else if (size && size < base->size) {
		char wanted[32], least[32];
		snprintf(reason, VOLUME_REASON_SIZE,
			"a clone has at least the base's size, %s, and %s was asked for",
			text_size(base->size, least), text_size(size, wanted));
	} else
		return true;
	return false;
}

static bool reflink_probe(const struct volume_place *place, const struct volume_base *base,
	uint64_t size, char reason[static VOLUME_REASON_SIZE])
{
	uint8_t superblock[EXT4_SUPER_SIZE];
	if (base && !check_base(base, size, superblock, reason))
		return false;
	int r = try_clone(place, base);
	if (r < 0) {
		explain(place, base, -r, reason);
		return false;
	}
	char mount[160];
	mount_describe(place->dirfd, mount, sizeof mount);
	snprintf(reason, VOLUME_REASON_SIZE, "%s%s shares blocks between files",
		base ? "the base is a clean ext4 and " : "", mount);
	return true;
}

static void reflink_close(struct volume_batch *batch)
{
	free(batch);
}

static int reflink_open(const struct volume_place *place, const struct volume_base *base,
	uint64_t size, struct volume_batch **batch, struct ramet_error *err)
{
	_cleanup_free_ struct reflink_batch *reflink = calloc(1, sizeof *reflink);
	if (!reflink)
		return error_memory(err);
	char reason[VOLUME_REASON_SIZE];
	if (!check_base(base, size, reflink->superblock, reason))
		return error_set(err, EOPNOTSUPP, "cannot clone %s: %s", base->path, reason);
	if (!checked_round_up(size ? size : base->size, 4096, &size) || size > INT64_MAX)
		return error_set(err, EFBIG, "the size asked for is larger than any file");
	reflink->base = base->fd;
	reflink->batch = (struct volume_batch){.provider = &volume_reflink, .size = size};
	*batch = &TAKE_PTR(reflink)->batch;
	return 0;
}

static int reflink_create(
	struct volume_batch *batch, int folder, const char *name, struct ramet_error *err)
{
	struct reflink_batch *reflink = (struct reflink_batch *)batch;
	struct identity identity;
	int r = identity_create(&identity, err);
	if (r < 0)
		return r;
	_cleanup_close_ int fd = volume_file_create(folder, name, err);
	if (fd < 0)
		return fd;
	if (ioctl(fd, FICLONE, reflink->base) < 0)
		return error_errno(
			err, errno, "cannot clone the base into the volume of fork %s", name);
	r = volume_file_set_size(fd, name, batch->size, err);
	if (r < 0)
		return r;
	uint8_t superblock[EXT4_SUPER_SIZE];
	memcpy(superblock, reflink->superblock, sizeof superblock);
	superblock_rename(superblock, &identity, false);
	r = pwrite_full(fd, superblock, sizeof superblock, EXT4_SUPER_OFFSET);
	return volume_file_finish(batch, fd, name, r, err);
}

const struct volume_provider volume_reflink = {
	.name = "reflink",
	.mode = "clone",
	.summary = "a clone of an ext4 base that shares its blocks; XFS and btrfs",
	.probe = reflink_probe,
	.open = reflink_open,
	.create = reflink_create,
	.close = reflink_close,
	.differences = shared_differences,
	.allocated = volume_file_allocated,
};
