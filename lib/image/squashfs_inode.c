/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inodes, directories and extended attributes of squashfs. Each kind of inode exists as a basic
 * and an extended one with more fields. Sources: the kernel's fs/squashfs/{inode,dir,xattr}.c and
 * squashfs_fs.h. What is read is turned into host byte order at once.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "image/squashfs_inside.h"

static const uint32_t node_types[] = {
	[SQFS_INODE_DIR] = S_IFDIR,
	[SQFS_INODE_FILE] = S_IFREG,
	[SQFS_INODE_SLINK] = S_IFLNK,
	[SQFS_INODE_BDEV] = S_IFBLK,
	[SQFS_INODE_CDEV] = S_IFCHR,
	[SQFS_INODE_FIFO] = S_IFIFO,
	[SQFS_INODE_SOCKET] = S_IFSOCK,
};
enum { BASIC_TYPES = 7, LISTING_EXTRA = 3 };

static unsigned long long shown(fs_ref ref)
{
	return ref;
}

static int read_dir(struct squashfs *s, bool extended, struct meta_cursor *cursor,
	struct squashfs_node *node, struct ramet_error *err)
{
	sqfs_inode_dir_t basic;
	sqfs_inode_dir_ext_t more;
	int r = extended ? meta_read(s, cursor, &more, sizeof more, err)
			 : meta_read(s, cursor, &basic, sizeof basic, err);
	if (r < 0)
		return r;
	node->size = extended ? le32toh(more.size) : le16toh(basic.size);
	node->start = le32toh(extended ? more.start_block : basic.start_block);
	node->offset = le16toh(extended ? more.offset : basic.offset);
	node->nlink = le32toh(extended ? more.nlink : basic.nlink);
	if (extended)
		node->xattr = le32toh(more.xattr_idx);
	return 0;
}

static int read_file(struct squashfs *s, bool extended, struct meta_cursor *cursor,
	struct squashfs_node *node, struct ramet_error *err)
{
	sqfs_inode_file_t basic;
	sqfs_inode_file_ext_t more;
	int r = extended ? meta_read(s, cursor, &more, sizeof more, err)
			 : meta_read(s, cursor, &basic, sizeof basic, err);
	if (r < 0)
		return r;
	node->size = extended ? le64toh(more.file_size) : le32toh(basic.file_size);
	node->start = extended ? le64toh(more.blocks_start) : le32toh(basic.blocks_start);
	node->fragment = le32toh(extended ? more.fragment_idx : basic.fragment_index);
	node->offset = le32toh(extended ? more.fragment_offset : basic.fragment_offset);
	node->nlink = extended ? le32toh(more.nlink) : 1;
	if (extended)
		node->xattr = le32toh(more.xattr_idx);
	return 0;
}

static int read_symlink(struct squashfs *s, bool extended, struct meta_cursor *cursor,
	struct squashfs_node *node, struct ramet_error *err)
{
	sqfs_inode_slink_t link;
	int r = meta_read(s, cursor, &link, sizeof link, err);
	if (r < 0)
		return r;
	node->size = le32toh(link.target_size);
	node->nlink = le32toh(link.nlink);
	if (node->size == 0 || node->size > FS_TARGET_MAX)
		return squashfs_damage(err, "a symlink has a target of %llu bytes",
			(unsigned long long)node->size);
	node->tail = *cursor;
	if (!extended)
		return 0;
	char target[FS_TARGET_MAX];
	uint32_t xattr;
	r = meta_read(s, cursor, target, node->size, err);
	if (r == 0)
		r = meta_read(s, cursor, &xattr, sizeof xattr, err);
	if (r == 0)
		node->xattr = le32toh(xattr);
	return r;
}

/* Devices, fifos and sockets: link count, device number where there is one, attributes. */
static int read_special(struct squashfs *s, bool extended, struct meta_cursor *cursor,
	struct squashfs_node *node, struct ramet_error *err)
{
	bool device = S_ISBLK(node->mode) || S_ISCHR(node->mode);
	uint32_t words[3];
	size_t count = 1 + device + extended;
	int r = meta_read(s, cursor, words, count * sizeof *words, err);
	if (r < 0)
		return r;
	node->nlink = le32toh(words[0]);
	if (device)
		node->rdev = le32toh(words[1]);
	if (extended)
		node->xattr = le32toh(words[count - 1]);
	return 0;
}

static int read_id(struct squashfs *s, uint16_t number, uint32_t *id, struct ramet_error *err)
{
	int r = meta_table_read(s, &s->ids, number, id, err);
	*id = le32toh(*id);
	return r;
}

static int read_node(
	struct squashfs *s, fs_ref ref, struct squashfs_node *node, struct ramet_error *err)
{
	struct meta_cursor cursor = meta_seek(
		s->super.inode_table_start, ref, s->super.directory_table_start);
	sqfs_inode_t base;
	int r = meta_read(s, &cursor, &base, sizeof base, err);
	if (r < 0)
		return r;
	unsigned type = le16toh(base.type);
	if (type == 0 || type > 2 * BASIC_TYPES)
		return squashfs_damage(err, "it is of kind %u, which there is not", type);
	bool extended = type > BASIC_TYPES;
	*node = (struct squashfs_node){
		.mode = node_types[extended ? type - BASIC_TYPES : type] |
			(le16toh(base.mode) & 07777u),
		.mtime = le32toh(base.mod_time),
		.xattr = SQUASHFS_NONE32,
		.fragment = SQUASHFS_NONE32,
	};
	r = read_id(s, le16toh(base.uid_idx), &node->uid, err);
	if (r == 0)
		r = read_id(s, le16toh(base.gid_idx), &node->gid, err);
	if (r < 0)
		return r;
	switch (node->mode & S_IFMT) {
	case S_IFDIR:
		return read_dir(s, extended, &cursor, node, err);
	case S_IFREG:
		r = read_file(s, extended, &cursor, node, err);
		node->tail = cursor;
		return r;
	case S_IFLNK:
		return read_symlink(s, extended, &cursor, node, err);
	default:
		return read_special(s, extended, &cursor, node, err);
	}
}

int squashfs_node_read(
	struct squashfs *s, fs_ref ref, struct squashfs_node *node, struct ramet_error *err)
{
	int r = read_node(s, ref, node, err);
	return r < 0 ? error_prefix(err, r, "inode %#llx", shown(ref)) : 0;
}

int squashfs_stat(struct fs *fs, fs_ref ref, struct fs_stat *stat, struct ramet_error *err)
{
	struct squashfs_node node;
	int r = squashfs_node_read((struct squashfs *)fs, ref, &node, err);
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
		.whole_seconds = true,
		.inode = ref,
	};
	fs_set_device(stat, node.rdev);
	return 0;
}

int squashfs_readlink(struct fs *fs, fs_ref ref, char **target, struct ramet_error *err)
{
	struct squashfs *s = (struct squashfs *)fs;
	struct squashfs_node node;
	int r = squashfs_node_read(s, ref, &node, err);
	if (r < 0)
		return r;
	if (!S_ISLNK(node.mode))
		return error_set(err, EINVAL, "inode %#llx is no symlink", shown(ref));
	_cleanup_free_ char *text = malloc(node.size + 1);
	if (!text)
		return error_memory(err);
	r = meta_read(s, &node.tail, text, node.size, err);
	if (r < 0)
		return error_prefix(err, r, "inode %#llx", shown(ref));
	if (memchr(text, '\0', node.size))
		return squashfs_damage(
			err, "the target of symlink %#llx has a zero byte", shown(ref));
	text[node.size] = '\0';
	*target = TAKE_PTR(text);
	return 0;
}

/* One entry of the listing at cursor; *left are the listing's bytes from there on. */
static int list_entry(struct squashfs *s, struct meta_cursor *cursor, uint32_t block,
	uint64_t *left, fs_entry_list *list, struct ramet_error *err)
{
	sqfs_dir_entry_t entry;
	char name[FS_NAME_MAX + 1];
	int r = *left < sizeof entry ? squashfs_damage(err, "its listing ends within an entry")
				     : meta_read(s, cursor, &entry, sizeof entry, err);
	if (r < 0)
		return r;
	size_t length = le16toh(entry.size) + 1u;
	unsigned type = le16toh(entry.type);
	if (length > FS_NAME_MAX || *left - sizeof entry < length)
		return squashfs_damage(err, "it has a name of %zu bytes", length);
	if (type == 0 || type > BASIC_TYPES)
		return squashfs_damage(err, "it has an entry of kind %u", type);
	r = meta_read(s, cursor, name, length, err);
	if (r < 0)
		return r;
	*left -= sizeof entry + length;
	fs_ref ref = (fs_ref)block << 16 | le16toh(entry.offset);
	r = fs_entry_add(list, name, length, ref, node_types[type]);
	if (r == -EUCLEAN)
		return squashfs_damage(err, "it has a name that no file can have");
	if (r == -E2BIG)
		return error_set(err, E2BIG, "it has more than %d entries", FS_ENTRIES_MAX);
	return r < 0 ? error_memory(err) : 0;
}

static int list_all(struct squashfs *s, const struct squashfs_node *node, fs_entry_list *list,
	struct ramet_error *err)
{
	uint64_t left = node->size > LISTING_EXTRA ? node->size - LISTING_EXTRA : 0;
	struct meta_cursor cursor = meta_seek(s->super.directory_table_start,
		node->start << 16 | node->offset, s->super.id_table_start);
	while (left > 0) {
		struct {
			uint32_t count, start_block, inode_number;
		} header;
		if (left < sizeof header)
			return squashfs_damage(err, "its listing ends within a header");
		int r = meta_read(s, &cursor, &header, sizeof header, err);
		if (r < 0)
			return r;
		left -= sizeof header;
		if (le32toh(header.count) >= SQFS_MAX_DIR_ENT)
			return squashfs_damage(
				err, "its listing has a run of %u entries", le32toh(header.count));
		for (uint32_t i = 0; i <= le32toh(header.count) && r == 0; i++)
			r = list_entry(s, &cursor, le32toh(header.start_block), &left, list, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* References start at 0, places know no child 0. */
static int claim_places(
	struct squashfs *s, fs_ref dir, const struct fs_entries *entries, struct ramet_error *err)
{
	for (size_t i = 0; i < entries->count; i++) {
		const struct fs_entry *entry = &entries->items[i];
		if (entry->type != S_IFDIR)
			continue;
		int r = entry->ref == s->super.root_inode_ref
				? -EUCLEAN
				: fs_place_claim(&s->places, entry->ref + 1, dir + 1, i);
		if (r == -EUCLEAN)
			return squashfs_damage(err,
				"directory %#llx (\"%s\") has a second place in the tree",
				shown(entry->ref), entry->name);
		if (r < 0)
			return error_memory(err);
	}
	return 0;
}

int squashfs_list(struct fs *fs, fs_ref dir, struct fs_entries *entries, struct ramet_error *err)
{
	struct squashfs *s = (struct squashfs *)fs;
	struct squashfs_node node;
	int r = squashfs_node_read(s, dir, &node, err);
	if (r < 0)
		return r;
	if (!S_ISDIR(node.mode))
		return error_set(err, ENOTDIR, "inode %#llx is no directory", shown(dir));
	if (dir != s->super.root_inode_ref && !fs_place_find(&s->places, dir + 1))
		return squashfs_damage(err,
			"directory %#llx is called something else by the directory it is in",
			shown(dir));
	_cleanup_entry_list_ fs_entry_list list = {0};
	r = list_all(s, &node, &list, err);
	if (r < 0)
		return error_prefix(err, r, "directory %#llx", shown(dir));
	_cleanup_entries_ struct fs_entries all = {0};
	const char *twice;
	if (fs_entries_take(&list, &all, &twice) < 0)
		return squashfs_damage(
			err, "directory %#llx has two entries \"%s\"", shown(dir), twice);
	r = claim_places(s, dir, &all, err);
	if (r < 0)
		return r;
	*entries = all;
	all = (struct fs_entries){0};
	return 0;
}

/* The value at cursor: its length and its bytes. */
static int xattr_value(struct squashfs *s, struct meta_cursor *cursor, uint8_t *value,
	uint32_t *size, struct ramet_error *err)
{
	int r = meta_read(s, cursor, size, sizeof *size, err);
	if (r < 0)
		return r;
	*size = le32toh(*size);
	if (*size > FS_XATTR_SIZE_MAX)
		return squashfs_damage(err, "an attribute has a value of %u bytes", *size);
	return meta_read(s, cursor, value, *size, err);
}

/* The next attribute at cursor. value is room for FS_XATTR_SIZE_MAX bytes. */
static int xattr_next(struct squashfs *s, struct meta_cursor *cursor, uint8_t *value,
	fs_xattr_list *list, struct ramet_error *err)
{
	static const char *const prefixes[] = {"user.", "trusted.", "security."};
	uint16_t head[2];
	char name[FS_NAME_MAX];
	int r = meta_read(s, cursor, head, sizeof head, err);
	if (r < 0)
		return r;
	unsigned type = le16toh(head[0]), length = le16toh(head[1]);
	if ((type & SQFS_XATTR_PREFIX_MASK) >= ARRAY_SIZE(prefixes) || length > sizeof name)
		return squashfs_damage(
			err, "an attribute has kind %u and a name of %u bytes", type, length);
	uint32_t size;
	r = meta_read(s, cursor, name, length, err);
	if (r == 0)
		r = xattr_value(s, cursor, value, &size, err);
	if (r < 0)
		return r;
	if (type & SQFS_XATTR_FLAG_OOL) {
		uint64_t reference;
		if (size != sizeof reference)
			return squashfs_damage(
				err, "the place of an attribute's value has %u bytes", size);
		memcpy(&reference, value, sizeof reference);
		struct meta_cursor away = meta_seek(
			s->xattr_start, le64toh(reference), s->xattrs.index);
		r = xattr_value(s, &away, value, &size, err);
		if (r < 0)
			return r;
	}
	r = fs_xattr_add(list, prefixes[type & SQFS_XATTR_PREFIX_MASK], name, length, value, size);
	if (r == -ENOMEM)
		return error_memory(err);
	return r < 0 ? squashfs_damage(err, "an attribute has a name that there cannot be") : 0;
}

int squashfs_xattrs(struct fs *fs, fs_ref ref, struct fs_xattrs *xattrs, struct ramet_error *err)
{
	struct squashfs *s = (struct squashfs *)fs;
	struct squashfs_node node;
	*xattrs = (struct fs_xattrs){0};
	int r = squashfs_node_read(s, ref, &node, err);
	if (r < 0 || node.xattr == SQUASHFS_NONE32 || s->xattrs.count == 0)
		return r;
	struct {
		uint64_t reference;
		uint32_t count, size;
	} id;
	r = meta_table_read(s, &s->xattrs, node.xattr, &id, err);
	if (r < 0)
		return error_prefix(err, r, "inode %#llx", shown(ref));
	if (le32toh(id.count) > FS_XATTRS_MAX)
		return squashfs_damage(
			err, "inode %#llx has %u attributes", shown(ref), le32toh(id.count));
	_cleanup_free_ uint8_t *value = malloc(FS_XATTR_SIZE_MAX);
	if (!value)
		return error_memory(err);
	_cleanup_xattr_list_ fs_xattr_list list = {0};
	struct meta_cursor cursor = meta_seek(
		s->xattr_start, le64toh(id.reference), s->xattrs.index);
	for (uint32_t i = 0; i < le32toh(id.count) && r == 0; i++)
		r = xattr_next(s, &cursor, value, &list, err);
	if (r < 0)
		return error_prefix(err, r, "inode %#llx", shown(ref));
	const char *twice;
	if (fs_xattrs_take(&list, xattrs, &twice) < 0)
		return squashfs_damage(err, "inode %#llx has two attributes %s", shown(ref), twice);
	return 0;
}
