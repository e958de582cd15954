/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inodes of EROFS. The compact and the extended one become the same struct here, and what they say
 * is checked once. Sources: the kernel's fs/erofs/{inode.c,erofs_fs.h}. Bit 4 of the format and the
 * fields that it gives a meaning to came with Linux 6.15; older writers left them zero.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "image/erofs_inside.h"

/* What both sizes have, and what is worked out of it in a second step. */
struct raw_inode {
	unsigned format, xattr_count, block_high;
	uint32_t u;
	size_t size;
	bool extended;
};

bool erofs_nid_exists(const struct erofs *e, uint64_t nid)
{
	return nid < (e->size - e->metadata) / EROFS_SLOT_SIZE;
}

static int take_compact(const struct erofs *e, const struct erofs_inode_compact *inode,
	struct raw_inode *raw, struct erofs_node *node)
{
	node->mode = le16toh(inode->mode);
	node->size = le32toh(inode->size);
	node->uid = le16toh(inode->uid);
	node->gid = le16toh(inode->gid);
	node->mtime_nsec = e->super.build_time_nsec;
	raw->u = le32toh(inode->u);
	if (!S_ISDIR(node->mode) && (raw->format & EROFS_FORMAT_BIT_4)) {
		node->nlink = 1;
		raw->block_high = le16toh(inode->nlink);
	} else {
		node->nlink = le16toh(inode->nlink);
	}
	if (!checked_add((int64_t)e->super.build_time, le32toh(inode->reserved), &node->mtime))
		return -EOVERFLOW;
	return 0;
}

static void take_extended(
	const struct erofs_inode_extended *inode, struct raw_inode *raw, struct erofs_node *node)
{
	node->mode = le16toh(inode->mode);
	node->size = le64toh(inode->size);
	node->uid = le32toh(inode->uid);
	node->gid = le32toh(inode->gid);
	node->nlink = le32toh(inode->nlink);
	node->mtime = (int64_t)le64toh(inode->mtime);
	node->mtime_nsec = le32toh(inode->mtime_nsec);
	raw->u = le32toh(inode->u);
	raw->block_high = le16toh(inode->reserved);
}

static int read_raw(struct erofs *e, uint64_t place, struct raw_inode *raw, struct erofs_node *node,
	struct ramet_error *err)
{
	union {
		struct erofs_inode_compact compact;
		struct erofs_inode_extended extended;
	} inode;
	int r = erofs_meta_read(e, &inode, sizeof inode.compact, place, err);
	if (r < 0)
		return r;
	raw->format = le16toh(inode.compact.format);
	raw->xattr_count = le16toh(inode.compact.xattr_count);
	raw->extended = raw->format & EROFS_FORMAT_EXTENDED;
	raw->size = raw->extended ? sizeof inode.extended : sizeof inode.compact;
	if (raw->format & ~(EROFS_FORMAT_ALL | EROFS_FORMAT_BIT_4))
		return error_set(err, EOPNOTSUPP, "its format %#x is not known here", raw->format);
	if (raw->extended) {
		r = erofs_meta_read(e, &inode, sizeof inode.extended, place, err);
		if (r == 0)
			take_extended(&inode.extended, raw, node);
		return r;
	}
	if (take_compact(e, &inode.compact, raw, node) < 0)
		return erofs_damage(err, "its time is beyond what there is");
	return 0;
}

static int check_node(const struct erofs_node *node, struct ramet_error *err)
{
	if (!fs_kind_is_known(node->mode))
		return erofs_damage(
			err, "it is of a kind that there is not (mode %#o)", node->mode);
	if (node->size > INT64_MAX)
		return erofs_damage(err, "it claims %llu bytes", erofs_shown(node->size));
	if (node->mtime_nsec > 999999999)
		return erofs_damage(err, "it has a time of %u nanoseconds", node->mtime_nsec);
	return 0;
}

/* What the field for all kinds says, for one whose content is in chunks. */
static int take_chunks(const struct erofs *e, const struct raw_inode *raw, struct erofs_node *node,
	struct ramet_error *err)
{
	unsigned format = raw->u & 0xffff;
	if (format & ~(EROFS_CHUNK_ALL | EROFS_CHUNK_48BIT))
		return error_set(err, EOPNOTSUPP,
			"its content is in chunks of the form %#x, which is not known here",
			format);
	node->chunk_bits = e->super.block_bits + (format & EROFS_CHUNK_BITS_MASK);
	node->indexes = format & EROFS_CHUNK_INDEXES;
	node->wide = format & EROFS_CHUNK_48BIT;
	return 0;
}

/* Where its content is. The kernel, too, takes a first block of all ones for none at all. */
static int take_layout(const struct erofs *e, const struct raw_inode *raw, struct erofs_node *node,
	struct ramet_error *err)
{
	if (!S_ISREG(node->mode) && !S_ISDIR(node->mode) && !S_ISLNK(node->mode)) {
		node->rdev = S_ISCHR(node->mode) || S_ISBLK(node->mode) ? raw->u : 0;
		return 0;
	}
	bool wide = raw->extended || (raw->format & EROFS_FORMAT_BIT_4 && !S_ISDIR(node->mode));
	uint64_t none = wide ? 0xFFFFFFFFFFFF : EROFS_NO_BLOCK;
	node->block = raw->u | (uint64_t)raw->block_high << 32;
	switch (raw->format >> EROFS_FORMAT_LAYOUT_SHIFT & EROFS_FORMAT_LAYOUT_MASK) {
	case EROFS_FLAT_PLAIN:
		node->layout = EROFS_FLAT_PLAIN;
		node->hole = node->block == none;
		return 0;
	case EROFS_FLAT_INLINE:
		node->layout = EROFS_FLAT_INLINE;
		return 0;
	case EROFS_CHUNK_BASED:
		node->layout = EROFS_CHUNK_BASED;
		return take_chunks(e, raw, node, err);
	case EROFS_COMPRESSED_FULL:
	case EROFS_COMPRESSED_COMPACT:
		node->layout = EROFS_COMPRESSED_FULL;
		return 0;
	default:
		return error_set(err, EOPNOTSUPP,
			"its content is laid out in a way that is not known here (format %#x)",
			raw->format);
	}
}

static int read_node(
	struct erofs *e, uint64_t nid, struct erofs_node *node, struct ramet_error *err)
{
	if (!erofs_nid_exists(e, nid))
		return erofs_damage(err, "it is beyond the end of the image");
	uint64_t place = e->metadata + nid * EROFS_SLOT_SIZE;
	struct raw_inode raw = {0};
	*node = (struct erofs_node){.nid = nid};
	int r = read_raw(e, place, &raw, node, err);
	if (r == 0)
		r = check_node(node, err);
	if (r == 0)
		r = take_layout(e, &raw, node, err);
	node->xattrs = place + raw.size;
	node->xattrs_size = EROFS_XATTR_COUNT_SIZE(raw.xattr_count);
	node->tail = node->xattrs + node->xattrs_size;
	return r;
}

int erofs_node_read(struct erofs *e, uint64_t nid, struct erofs_node *node, struct ramet_error *err)
{
	int r = read_node(e, nid, node, err);
	return r < 0 ? error_prefix(err, r, "inode %llu", erofs_shown(nid)) : 0;
}

int erofs_stat(struct fs *fs, fs_ref ref, struct fs_stat *stat, struct ramet_error *err)
{
	struct erofs_node node;
	int r = erofs_node_read((struct erofs *)fs, ref, &node, err);
	if (r < 0)
		return r;
	bool sized = S_ISREG(node.mode) || S_ISLNK(node.mode) || S_ISDIR(node.mode);
	*stat = (struct fs_stat){
		.mode = node.mode,
		.uid = node.uid,
		.gid = node.gid,
		.nlink = node.nlink,
		.size = sized ? node.size : 0,
		.mtime = node.mtime,
		.mtime_nsec = node.mtime_nsec,
		.inode = ref,
	};
	fs_set_device(stat, node.rdev);
	return 0;
}

int erofs_readlink(struct fs *fs, fs_ref ref, char **target, struct ramet_error *err)
{
	struct erofs *e = (struct erofs *)fs;
	struct erofs_node node;
	int r = erofs_node_read(e, ref, &node, err);
	if (r < 0)
		return r;
	if (!S_ISLNK(node.mode))
		return error_set(err, EINVAL, "inode %llu is no symlink", erofs_shown(ref));
	if (node.size == 0 || node.size > FS_TARGET_MAX)
		return erofs_damage(err, "symlink %llu has a target of %llu bytes",
			erofs_shown(ref), erofs_shown(node.size));
	_cleanup_free_ char *text = malloc(node.size + 1);
	if (!text)
		return error_memory(err);
	r = erofs_content(e, &node, 0, text, node.size, err);
	if (r < 0)
		return error_prefix(err, r, "symlink %llu", erofs_shown(ref));
	if (memchr(text, '\0', node.size))
		return erofs_damage(
			err, "the target of symlink %llu has a zero byte", erofs_shown(ref));
	text[node.size] = '\0';
	*target = TAKE_PTR(text);
	return 0;
}
