/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the EROFS reader share. */
#ifndef IMAGE_EROFS_INSIDE_H
#define IMAGE_EROFS_INSIDE_H

#include "image/erofs_format.h"
#include "image/fs_inside.h"

enum {
	EROFS_PIECE = 16384, /* what one metadata read takes from the image */
	EROFS_PIECES = 256,  /* kept: 4 MiB */
	EROFS_BLOCK_BITS_MIN = 9,
	EROFS_BLOCK_BITS_MAX = 16,
};

/* A piece of the image with metadata in it. */
struct erofs_piece {
	uint64_t number; /* of the piece in the image */
	size_t length;   /* less than EROFS_PIECE at the end of the image */
	uint8_t data[EROFS_PIECE];
};

/* What an inode says, the same for both its sizes. */
struct erofs_node {
	uint64_t nid, size;
	uint32_t mode, uid, gid, nlink, rdev, mtime_nsec;
	int64_t mtime;
	enum erofs_layout layout;
	bool hole;       /* FLAT_PLAIN: nothing of it is stored */
	uint64_t block;  /* FLAT_*: the first one */
	uint64_t xattrs; /* place in the image */
	uint32_t xattrs_size;
	uint64_t tail; /* the place behind the attributes: the end of the content, or addresses */
	/* CHUNK_BASED: */
	unsigned chunk_bits;
	bool indexes, wide; /* addresses of 8 bytes; of 48 bits in them */
};

/* length bytes of a file from where the search was: they stand at place, or are a hole. */
struct erofs_run {
	uint64_t length, place;
	bool hole;
	bool inside; /* behind the inode: among the metadata */
};

struct erofs_prefix;

struct erofs {
	struct fs fs;
	int fd;
	uint64_t size;            /* bytes that are the image */
	struct erofs_super super; /* in host byte order */
	uint32_t block_size;
	uint64_t root, metadata; /* metadata: where nid 0 is, bytes */
	struct erofs_piece *pieces[EROFS_PIECES];
	struct erofs_prefix *prefixes; /* xattr_prefix_count; NULL: not read yet */
	bool file_valid;
	struct erofs_node file; /* the one read last */
	struct fs_places places;
};

/* -EUCLEAN and "the EROFS image is damaged: ...". */
int erofs_damage(struct ramet_error *err, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* For messages. */
static inline unsigned long long erofs_shown(uint64_t number)
{
	return number;
}

static inline bool erofs_has(const struct erofs *e, uint32_t feature)
{
	return e->super.feature_incompat & feature;
}

/* erofs_super.c */
/* Read and check the superblock; fills super and what is derived from it. device: bytes there are. */
int erofs_super_read(struct erofs *e, uint64_t device, struct ramet_error *err);

/* erofs_meta.c */
/* Bytes of the image, past the cache: for content. */
int erofs_pread(
	struct erofs *e, void *buffer, size_t length, uint64_t place, struct ramet_error *err);
/* The same through the cache: for metadata. */
int erofs_meta_read(
	struct erofs *e, void *buffer, size_t length, uint64_t place, struct ramet_error *err);
void erofs_meta_forget(struct erofs *e);

/* erofs_node.c */
/* Whether there is room in the image for an inode of this number. */
bool erofs_nid_exists(const struct erofs *e, uint64_t nid);
int erofs_node_read(
	struct erofs *e, uint64_t nid, struct erofs_node *node, struct ramet_error *err);
int erofs_stat(struct fs *fs, fs_ref ref, struct fs_stat *stat, struct ramet_error *err);
int erofs_readlink(struct fs *fs, fs_ref ref, char **target, struct ramet_error *err);

/* erofs_map.c */
/* Read content of any inode that has some; [offset, offset + length) lies within its size. The
 * sentence of a failure does not name the inode. */
int erofs_content(struct erofs *e, const struct erofs_node *node, uint64_t offset, void *buffer,
	size_t length, struct ramet_error *err);
int erofs_read(struct fs *fs, fs_ref ref, uint64_t offset, void *buffer, size_t length,
	size_t *done, struct ramet_error *err);
int erofs_extent(struct fs *fs, fs_ref ref, uint64_t offset, struct fs_extent *extent,
	struct ramet_error *err);

/* erofs_listing.c */
int erofs_list(struct fs *fs, fs_ref dir, struct fs_entries *entries, struct ramet_error *err);

/* erofs_attributes.c */
int erofs_xattrs(struct fs *fs, fs_ref ref, struct fs_xattrs *xattrs, struct ramet_error *err);

#endif
