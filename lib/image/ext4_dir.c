/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories of ext4, read block by block: the blocks of a hash tree look like empty ones to whom
 * reads them so, and all names are in the others. Source: the kernel's fs/ext4/{dir,namei}.c.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "image/ext4_inside.h"

enum {
	ENTRY_HEAD = 8,   /* inode, rec_len, name_len, file_type */
	ENTRY_LEAST = 12, /* with the shortest name */
	TAIL_TYPE = 0xDE, /* of the entry that is a checksum */
	INLINE_PARENT = 4 /* bytes before the entries of an inline directory */
};

static const uint32_t entry_types[] = {
	0, S_IFREG, S_IFDIR, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK, S_IFLNK};

struct listing {
	struct ext4 *e;
	const struct ext4_node *dir;
	fs_entry_list *list;
	struct ramet_error *err;
};

/* The real length of an entry: in blocks of 64 KiB it needs 17 bits. */
static uint32_t entry_length(uint16_t stored, uint32_t block_size)
{
	uint32_t length = le16toh(stored);
	if (block_size < 65536)
		return length;
	return length == 0 || length == 65535 ? block_size : (length & 65532) | (length & 3) << 16;
}

static bool is_dot(const char *name, size_t length)
{
	return name[0] == '.' && (length == 1 || (length == 2 && name[1] == '.'));
}

static int add_entry(
	struct listing *l, uint32_t inode, unsigned type, const char *name, size_t length)
{
	struct ext4 *e = l->e;
	if (inode > e->super.s_inodes_count ||
		(inode < e->super.s_first_ino && inode != EXT2_ROOT_INO))
		return ext4_damage(l->err, "directory %u has the entry \"%.*s\" of inode %u",
			l->dir->number, (int)length, name, inode);
	uint32_t mode = 0;
	if (ext4_incompat(e, EXT2_FEATURE_INCOMPAT_FILETYPE))
		mode = entry_types[type < ARRAY_SIZE(entry_types) ? type : 0];
	if (mode == 0) {
		/* The tree's shape must be known: see ext4_list. */
		struct ext4_node node;
		int r = ext4_node_read(e, inode, &node, l->err);
		if (r < 0)
			return r;
		mode = node.mode & S_IFMT;
	}
	int r = fs_entry_add(l->list, name, length, inode, mode);
	if (r == -EUCLEAN)
		return ext4_damage(
			l->err, "directory %u has a name that no file can have", l->dir->number);
	if (r == -E2BIG)
		return error_set(l->err, E2BIG, "directory %u has more than %d entries",
			l->dir->number, FS_ENTRIES_MAX);
	return r < 0 ? error_memory(l->err) : 0;
}

/* The entries in length bytes. data is copied to where it stays when inodes are read meanwhile. */
static int add_entries(struct listing *l, const uint8_t *data, size_t length)
{
	for (size_t at = 0; at < length;) {
		uint32_t inode;
		uint16_t stored;
		if (length - at < ENTRY_HEAD)
			return ext4_damage(
				l->err, "directory %u has a broken entry", l->dir->number);
		memcpy(&inode, data + at, sizeof inode);
		memcpy(&stored, data + at + 4, sizeof stored);
		size_t name_length = data[at + 6];
		uint32_t step = entry_length(stored, l->e->block_size);
		if (step < ENTRY_LEAST || step % 4 || step > length - at ||
			name_length + ENTRY_HEAD > step)
			return ext4_damage(l->err,
				"directory %u has an entry of %u bytes with a name of %zu",
				l->dir->number, step, name_length);
		const char *name = (const char *)data + at + ENTRY_HEAD;
		if (inode && !(name_length && is_dot(name, name_length))) {
			int r = add_entry(l, le32toh(inode), data[at + 7], name, name_length);
			if (r < 0)
				return r;
		}
		at += step;
	}
	return 0;
}

/* A block of the hash tree rather than of names: the first is the root, the others start with an
 * unused entry as long as the block. */
static bool is_tree_block(const struct listing *l, uint64_t number, const uint8_t *data)
{
	uint32_t inode;
	uint16_t stored;
	memcpy(&inode, data, sizeof inode);
	memcpy(&stored, data + 4, sizeof stored);
	if (!(l->dir->flags & EXT2_INDEX_FL))
		return false;
	return number == 0 ||
	       (inode == 0 && entry_length(stored, l->e->block_size) == l->e->block_size);
}

static int check_sum(const struct listing *l, uint64_t number, const uint8_t *data)
{
	size_t at = l->e->block_size - ENTRY_LEAST;
	static const uint8_t head[ENTRY_HEAD] = {0, 0, 0, 0, ENTRY_LEAST, 0, 0, TAIL_TYPE};
	if (!l->e->checksums || is_tree_block(l, number, data))
		return 0;
	uint32_t stored;
	memcpy(&stored, data + at + ENTRY_HEAD, sizeof stored);
	if (memcmp(data + at, head, sizeof head) != 0 ||
		!ext4_sum_right(ext4_crc32c(l->dir->seed, data, at), le32toh(stored)))
		return ext4_damage(l->err, "directory %u has the wrong checksum in its block %llu",
			l->dir->number, (unsigned long long)number);
	return 0;
}

static int list_blocks(struct listing *l, struct ext4_node *dir)
{
	struct ext4 *e = l->e;
	uint64_t count = dir->size >> e->block_log;
	if (dir->size & (e->block_size - 1) || count == 0 || count > e->blocks)
		return ext4_damage(l->err, "directory %u claims %llu bytes", dir->number,
			(unsigned long long)dir->size);
	_cleanup_free_ uint8_t *copy = malloc(e->block_size);
	if (!copy)
		return error_memory(l->err);
	for (uint64_t number = 0; number < count; number++) {
		const uint8_t *data = NULL;
		int r = ext4_map(e, dir, number, l->err);
		if (r == 0 && dir->run.hole)
			r = ext4_damage(l->err, "directory %u has a hole", dir->number);
		if (r == 0)
			r = ext4_block(
				e, dir->run.block + (number - dir->run.first), &data, l->err);
		if (r == 0)
			r = check_sum(l, number, data);
		if (r < 0)
			return r;
		memcpy(copy, data, e->block_size);
		r = add_entries(l, copy, e->block_size);
		if (r < 0)
			return r;
	}
	return 0;
}

/* A small directory within its inode: the parent's number and entries, then more entries. */
static int list_inline(struct listing *l, const struct ext4_node *dir)
{
	const uint8_t *rest;
	size_t length;
	int r = add_entries(l, (const uint8_t *)dir->inode.i_block + INLINE_PARENT,
		sizeof dir->inode.i_block - INLINE_PARENT);
	if (r == 0)
		r = ext4_inline_rest(l->e, dir, &rest, &length, l->err);
	return r < 0 ? r : add_entries(l, rest, length);
}

static int claim_places(
	struct ext4 *e, fs_ref dir, const struct fs_entries *entries, struct ramet_error *err)
{
	for (size_t i = 0; i < entries->count; i++) {
		const struct fs_entry *entry = &entries->items[i];
		if (entry->type != S_IFDIR)
			continue;
		int r = entry->ref == EXT2_ROOT_INO
				? -EUCLEAN
				: fs_place_claim(&e->places, entry->ref, dir, i);
		if (r == -EUCLEAN)
			return ext4_damage(err,
				"directory %llu (\"%s\" in directory %llu) has a second place in "
				"the tree",
				(unsigned long long)entry->ref, entry->name,
				(unsigned long long)dir);
		if (r < 0)
			return error_memory(err);
	}
	return 0;
}

int ext4_list(struct fs *fs, fs_ref ref, struct fs_entries *entries, struct ramet_error *err)
{
	struct ext4 *e = (struct ext4 *)fs;
	struct ext4_node dir;
	int r = ref > UINT32_MAX ? ext4_damage(err, "inode %llu is used", (unsigned long long)ref)
				 : ext4_node_read(e, (uint32_t)ref, &dir, err);
	if (r < 0)
		return r;
	if (!S_ISDIR(dir.mode))
		return error_set(err, ENOTDIR, "inode %u is no directory", dir.number);
	if (ref != EXT2_ROOT_INO && !fs_place_find(&e->places, ref))
		return ext4_damage(err,
			"directory %u is called something else by the directory it is in",
			dir.number);
	_cleanup_entry_list_ fs_entry_list list = {0};
	struct listing l = {.e = e, .dir = &dir, .list = &list, .err = err};
	r = dir.flags & EXT4_INLINE_DATA_FL ? list_inline(&l, &dir) : list_blocks(&l, &dir);
	if (r < 0)
		return r;
	_cleanup_entries_ struct fs_entries all = {0};
	const char *twice;
	if (fs_entries_take(&list, &all, &twice) < 0)
		return ext4_damage(err, "directory %u has two entries \"%s\"", dir.number, twice);
	r = claim_places(e, ref, &all, err);
	if (r < 0)
		return r;
	*entries = all;
	all = (struct fs_entries){0};
	return 0;
}
