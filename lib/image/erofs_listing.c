/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories of EROFS: blocks that each start with dirents and end with the names. Sources: the
 * kernel's fs/erofs/{dir,namei}.c.
 *
 * The kernel finds a name by halving, so in a directory that is out of order it lists names that it
 * then does not find. Such a directory is taken for damaged here, rather than shown in one of its
 * two ways.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "image/erofs_inside.h"

static const uint32_t entry_types[] = {
	[EROFS_TYPE_REGULAR] = S_IFREG,
	[EROFS_TYPE_DIRECTORY] = S_IFDIR,
	[EROFS_TYPE_CHARACTER] = S_IFCHR,
	[EROFS_TYPE_BLOCK] = S_IFBLK,
	[EROFS_TYPE_FIFO] = S_IFIFO,
	[EROFS_TYPE_SOCKET] = S_IFSOCK,
	[EROFS_TYPE_SYMLINK] = S_IFLNK,
};

struct listing {
	struct erofs *e;
	fs_entry_list list;
	struct ramet_error *err;
	size_t last_length;            /* of the name before, 0: none */
	char last[EROFS_NAME_MAX + 1]; /* with a NUL */
};

static bool is_dot(const char *name, size_t length)
{
	return name[0] == '.' && (length == 1 || (length == 2 && name[1] == '.'));
}

/* The names come in their order over all blocks, "." and ".." among them. */
static int check_order(struct listing *l, const char *name, size_t length)
{
	int order = memcmp(l->last, name, MIN(l->last_length, length));
	if (l->last_length && order == 0 && l->last_length == length)
		return erofs_damage(l->err, "it has two entries \"%s\"", l->last);
	if (l->last_length && (order > 0 || (order == 0 && l->last_length > length)))
		return erofs_damage(l->err, "its entries are out of order after \"%s\"", l->last);
	memcpy(l->last, name, length);
	l->last[length] = '\0';
	l->last_length = length;
	return 0;
}

static int add_entry(
	struct listing *l, const struct erofs_dirent *dirent, const char *name, size_t length)
{
	uint64_t nid = le64toh(dirent->nid);
	uint32_t type = dirent->type < ARRAY_SIZE(entry_types) ? entry_types[dirent->type] : 0;
	int r = check_order(l, name, length);
	if (r < 0 || is_dot(name, length))
		return r;
	if (!erofs_nid_exists(l->e, nid))
		return erofs_damage(
			l->err, "it has an entry of inode %llu, beyond the end", erofs_shown(nid));
	if (type == 0) {
		/* The tree's shape must be known: see erofs_list. */
		struct erofs_node node;
		r = erofs_node_read(l->e, nid, &node, l->err);
		if (r < 0)
			return r;
		type = node.mode & S_IFMT;
	}
	r = fs_entry_add(&l->list, name, length, nid, type);
	if (r == -EUCLEAN)
		return erofs_damage(l->err, "it has a name that no file can have");
	if (r == -E2BIG)
		return error_set(l->err, E2BIG, "it has more than %d entries", FS_ENTRIES_MAX);
	return r < 0 ? error_memory(l->err) : 0;
}

static size_t name_start(const uint8_t *block, size_t i)
{
	struct erofs_dirent dirent;
	memcpy(&dirent, block + i * sizeof dirent, sizeof dirent);
	return le16toh(dirent.name_offset);
}

/* The entries in the length bytes of one block. */
static int add_entries(struct listing *l, const uint8_t *block, size_t length)
{
	struct erofs_dirent dirent;
	size_t names = length < sizeof dirent ? 0 : name_start(block, 0);
	size_t count = names / sizeof dirent;
	if (count == 0 || names % sizeof dirent || names >= length)
		return erofs_damage(
			l->err, "a block of it has its names at %zu of %zu bytes", names, length);
	for (size_t i = 0; i < count; i++) {
		memcpy(&dirent, block + i * sizeof dirent, sizeof dirent);
		size_t start = le16toh(dirent.name_offset), end = length;
		if (i + 1 < count)
			end = name_start(block, i + 1);
		else if (start < length)
			end = start + strnlen((const char *)block + start, length - start);
		if (start < names || start >= end || end > length || end - start > EROFS_NAME_MAX)
			return erofs_damage(l->err, "it has a name from %zu to %zu of %zu bytes",
				start, end, length);
		int r = add_entry(l, &dirent, (const char *)block + start, end - start);
		if (r < 0)
			return r;
	}
	return 0;
}

static int list_all(struct listing *l, const struct erofs_node *dir)
{
	size_t block_size = l->e->block_size;
	_cleanup_free_ uint8_t *block = malloc(block_size);
	if (!block)
		return error_memory(l->err);
	for (uint64_t at = 0; at < dir->size; at += block_size) {
		size_t length = (size_t)MIN((uint64_t)block_size, dir->size - at);
		int r = erofs_content(l->e, dir, at, block, length, l->err);
		if (r == 0)
			r = add_entries(l, block, length);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Numbers of inodes start at 0, places know no child 0. */
static int claim_places(
	struct erofs *e, fs_ref dir, const struct fs_entries *entries, struct ramet_error *err)
{
	for (size_t i = 0; i < entries->count; i++) {
		const struct fs_entry *entry = &entries->items[i];
		if (entry->type != S_IFDIR)
			continue;
		int r = entry->ref == e->root
				? -EUCLEAN
				: fs_place_claim(&e->places, entry->ref + 1, dir + 1, i);
		if (r == -EUCLEAN)
			return erofs_damage(err,
				"directory %llu (\"%s\") has a second place in the tree",
				erofs_shown(entry->ref), entry->name);
		if (r < 0)
			return error_memory(err);
	}
	return 0;
}

int erofs_list(struct fs *fs, fs_ref dir, struct fs_entries *entries, struct ramet_error *err)
{
	struct erofs *e = (struct erofs *)fs;
	struct erofs_node node;
	int r = erofs_node_read(e, dir, &node, err);
	if (r < 0)
		return r;
	if (!S_ISDIR(node.mode))
		return error_set(err, ENOTDIR, "inode %llu is no directory", erofs_shown(dir));
	if (dir != e->root && !fs_place_find(&e->places, dir + 1))
		return erofs_damage(err,
			"directory %llu is called something else by the directory it is in",
			erofs_shown(dir));
	struct listing l = {.e = e, .err = err};
	_cleanup_entries_ struct fs_entries all = {0};
	const char *twice;
	r = list_all(&l, &node);
	if (r < 0)
		error_prefix(err, r, "directory %llu", erofs_shown(dir));
	else if (fs_entries_take(&l.list, &all, &twice) < 0)
		r = erofs_damage(
			err, "directory %llu has two entries \"%s\"", erofs_shown(dir), twice);
	fs_entry_list_free(&l.list);
	if (r == 0)
		r = claim_places(e, dir, &all, err);
	if (r < 0)
		return r;
	*entries = all;
	all = (struct fs_entries){0};
	return 0;
}
