/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest can forge everything in its disk, an inode's times too, but not where the host put the
 * blocks. What is still shared with the base was not written; FIEMAP tells where each piece of a
 * file stands (Documentation/filesystems/fiemap.rst). The two maps are walked side by side: a piece
 * is the same when both are holes, or when both stand at the same place of the disk and have the
 * same flags. FIEMAP_FLAG_SYNC has what is still in memory written out first. Extents whose place
 * is not known (or, compressed by btrfs, not linear) simply do not match.
 */
#include "volume/shared.h"

#include <errno.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/cleanup.h"

enum { EXTENTS_AT_ONCE = 512 };
#define MOST_DIFFERENCES ((size_t)4 << 20)
#define UNSURE           (FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_DATA_INLINE)
/* Whether a block is shared with somebody, or is the file's last, says nothing of its content. */
#define NO_MATTER (FIEMAP_EXTENT_SHARED | FIEMAP_EXTENT_LAST)

/* The map of one file, read piece by piece. */
struct walk {
	int fd;
	uint64_t size;
	uint32_t at;
	union {
		struct fiemap map;
		uint8_t room[sizeof(struct fiemap) +
			     EXTENTS_AT_ONCE * sizeof(struct fiemap_extent)];
	};
};

/* What stands at an offset, up to end. */
struct piece {
	uint64_t end, physical; /* physical: of the offset asked for */
	uint32_t flags;
	bool hole;
};

static int walk_load(struct walk *walk, uint64_t offset, struct ramet_error *err)
{
	memset(walk->room, 0, sizeof walk->room);
	walk->at = 0;
	walk->map.fm_start = offset;
	walk->map.fm_length = walk->size - offset;
	walk->map.fm_flags = FIEMAP_FLAG_SYNC;
	walk->map.fm_extent_count = EXTENTS_AT_ONCE;
	if (ioctl(walk->fd, FS_IOC_FIEMAP, &walk->map) < 0)
		return error_errno(err, errno == ENOTTY ? EOPNOTSUPP : errno,
			"the file system cannot tell which blocks two files share");
	return 0;
}

static int walk_piece(
	struct walk *walk, uint64_t offset, struct piece *piece, struct ramet_error *err)
{
	if (offset >= walk->size) {
		*piece = (struct piece){.end = UINT64_MAX, .hole = true};
		return 0;
	}
	for (bool loaded = false;;) {
		while (walk->at < walk->map.fm_mapped_extents) {
			const struct fiemap_extent *e = &walk->map.fm_extents[walk->at];
			if (offset < e->fe_logical) {
				*piece = (struct piece){.end = e->fe_logical, .hole = true};
				return 0;
			}
			if (offset - e->fe_logical < e->fe_length) {
				*piece = (struct piece){.end = e->fe_logical + e->fe_length,
					.physical = e->fe_physical + (offset - e->fe_logical),
					.flags = e->fe_flags & ~(uint32_t)NO_MATTER};
				return 0;
			}
			walk->at++;
		}
		if (loaded && walk->map.fm_mapped_extents == 0) {
			*piece = (struct piece){.end = walk->size, .hole = true};
			return 0;
		}
		int r = walk_load(walk, offset, err);
		if (r < 0)
			return r;
		loaded = true;
	}
}

static bool piece_same(const struct piece *a, const struct piece *b)
{
	if (a->hole || b->hole)
		return a->hole && b->hole;
	return a->physical == b->physical && a->flags == b->flags && !(a->flags & UNSURE);
}

int shared_differences(int base, int clone, struct range_list *differences, struct ramet_error *err)
{
	struct stat base_stat, clone_stat;
	if (fstat(base, &base_stat) < 0 || fstat(clone, &clone_stat) < 0)
		return error_errno(err, errno, "cannot look at a clone and its base");
	if (base_stat.st_dev != clone_stat.st_dev)
		return error_set(err, EOPNOTSUPP, "a clone and its base are on two file systems");
	_cleanup_free_ struct walk *walks = calloc(2, sizeof *walks);
	if (!walks)
		return error_memory(err);
	const uint64_t size = (uint64_t)clone_stat.st_size;
	walks[0].fd = base;
	walks[0].size = (uint64_t)base_stat.st_size;
	walks[1].fd = clone;
	walks[1].size = size;
	for (uint64_t offset = 0; offset < size;) {
		struct piece old, new;
		int r = walk_piece(&walks[0], offset, &old, err);
		if (r == 0)
			r = walk_piece(&walks[1], offset, &new, err);
		if (r < 0)
			return r;
		uint64_t end = MIN(size, MIN(old.end, new.end));
		if (!piece_same(&old, &new) && ranges_append(differences, offset, end - offset) < 0)
			return error_memory(err);
		if (differences->count > MOST_DIFFERENCES)
			return error_set(err, E2BIG, "a clone is in too many pieces");
		offset = end;
	}
	return 0;
}
