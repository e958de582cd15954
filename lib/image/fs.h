/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A read-only view of a file tree inside an image, whatever its format. The readers (squashfs,
 * EROFS, ext4) and the merged view of an overlay (overlay.h) all answer this one interface, so that
 * what compares or prints trees never knows what they are made of.
 *
 * Everything behind a view is hostile: each call answers -EUCLEAN and a sentence that names the
 * damaged object rather than trust a number, and takes bounded time and memory. A view belongs to
 * one thread.
 */
#ifndef IMAGE_FS_H
#define IMAGE_FS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/* Names an inode within its view. The top ten bits are 0 in views of an image (the merged views
 * use them). squashfs: the inode reference (block start << 16 | offset). ext4: the inode
 * number. EROFS: the nid. */
typedef uint64_t fs_ref;

struct fs_stat {
	uint32_t mode; /* type and permissions, as in stat(2) */
	uint32_t uid, gid;
	uint32_t nlink;
	uint64_t size; /* bytes; for a symlink the length of its target */
	int64_t mtime; /* seconds since the epoch, may be negative */
	uint32_t mtime_nsec;
	bool whole_seconds; /* the format keeps no fraction of mtime */
	uint32_t rdev_major, rdev_minor;
	uint64_t inode; /* the same number = the same file (hard links) within one view */
};

/* One extended attribute by its full name ("user.x", "security.capability", "system.posix_acl_access"
 * in the kernel's getxattr form). */
struct fs_xattr {
	char *name;
	void *value;
	size_t size;
};
struct fs_xattrs {
	struct fs_xattr *items; /* sorted by name */
	size_t count;
};

struct fs_entry {
	char *name; /* NUL-terminated, never ".", "..", empty or with a '/' */
	fs_ref ref;
	uint32_t type; /* S_IFMT bits; 0 when the directory does not say */
};
struct fs_entries {
	struct fs_entry *items; /* sorted by name (strcmp); no two alike */
	size_t count;
};

/* One piece of a file: length bytes from offset; a hole reads as zeros. device_offset: where the
 * bytes are in the image, when they stand there plainly as one piece, UINT64_MAX otherwise. */
struct fs_extent {
	uint64_t offset, length;
	bool hole;
	uint64_t device_offset;
};

struct fs;

struct fs_ops {
	const char *format; /* "squashfs", "erofs", "ext4", "overlay", "merged" */
	int (*root)(struct fs *fs, fs_ref *root, struct ramet_error *err);
	int (*stat)(struct fs *fs, fs_ref ref, struct fs_stat *stat, struct ramet_error *err);
	/* All entries of a directory. A whole directory is held in memory, bounded by the reader's
	 * limit on entries. */
	int (*list)(struct fs *fs, fs_ref dir, struct fs_entries *entries, struct ramet_error *err);
	/* Up to length bytes at offset; *done less than length only at the end of the file. */
	int (*read)(struct fs *fs, fs_ref ref, uint64_t offset, void *buffer, size_t length,
		size_t *done, struct ramet_error *err);
	/* The target, NUL-terminated; the caller frees it. Never longer than 4096 bytes. */
	int (*readlink)(struct fs *fs, fs_ref ref, char **target, struct ramet_error *err);
	int (*xattrs)(struct fs *fs, fs_ref ref, struct fs_xattrs *xattrs, struct ramet_error *err);
	/* The extent that holds offset (offset < size), clipped to the file's size. */
	int (*extent)(struct fs *fs, fs_ref ref, uint64_t offset, struct fs_extent *extent,
		struct ramet_error *err);
	/*
	 * A cheap proof that ref holds what other_ref of view other holds, when there is one: the
	 * very same inode of the same view (overlay: not touched by the upper layer), or inodes of
	 * two clones of one image with the same attributes and block map, whose blocks the host
	 * knows to be shared (ext4_set_differences()). false means only "not known". For a
	 * directory: its whole subtree. May be NULL.
	 */
	bool (*same)(struct fs *fs, fs_ref ref, struct fs *other, fs_ref other_ref);
	void (*close)(struct fs *fs);
	/* A merged view: the attributes that overlayfs keeps its notes in are not shown. */
	bool hides_overlay;
	/*
	 * Where in the image the bytes of a file from offset on (offset < size) are stored, for
	 * whoever reads many files and can choose the order: *length bytes, not 0, have their place
	 * at or after *position, one after the other. May be NULL: then extent says it.
	 */
	int (*locate)(struct fs *fs, fs_ref ref, uint64_t offset, uint64_t *position,
		uint64_t *length, struct ramet_error *err);
};

/* Every view starts with this. */
struct fs {
	const struct fs_ops *ops;
};

void fs_entries_free(struct fs_entries *entries);
void fs_xattrs_free(struct fs_xattrs *xattrs);
/* The entry called name, or NULL (binary search). */
const struct fs_entry *fs_entries_find(const struct fs_entries *entries, const char *name);
/* The attribute called name, or NULL. */
const struct fs_xattr *fs_xattrs_find(const struct fs_xattrs *xattrs, const char *name);
/* Walk an absolute path without following symlinks; -ENOENT, -ENOTDIR. */
int fs_lookup(struct fs *fs, const char *path, fs_ref *ref, struct ramet_error *err);
/*
 * Walk a path as a process would whose root is the view's: symlinks are followed within the view
 * (at most 40: -ELOOP), ".." ends at the root. The last one is followed when follow says so, or
 * when a '/' comes after it. *real: where that is, without symlinks, absolute; the caller frees it.
 */
int fs_resolve(struct fs *fs, const char *path, bool follow, fs_ref *ref, char **real,
	struct ramet_error *err);
void fs_close(struct fs *fs); /* NULL is fine */
static inline void fs_closep(struct fs **fs)
{
	fs_close(*fs);
}
#define _cleanup_fs_      __attribute__((cleanup(fs_closep)))
#define _cleanup_entries_ __attribute__((cleanup(fs_entries_free)))
#define _cleanup_xattrs_  __attribute__((cleanup(fs_xattrs_free)))

#endif
