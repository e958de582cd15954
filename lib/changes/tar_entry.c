/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One object of a view as an entry of a pax archive: its attributes, its holes (GNU sparse format
 * 1.0), its target, or that it is another name of what the archive has already. Both the layer of a
 * diff (tar.c) and the archive of a directory (look/archive.c) are made of these.
 */
#include "changes/tar_entry.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/vector.h"
#include "changes/pax.h"
#include "changes/side.h"

enum { BUFFER = 256 * 1024, PIECES_MAX = 4 << 20 };

/* A part of a sparse file that has bytes. */
struct piece {
	uint64_t offset, length;
};
struct pieces {
	VECTOR(struct piece);
	uint64_t data; /* the sum of the lengths */
};

static int add_xattrs(const struct change_side *side, struct text *records, bool *left_out,
	struct ramet_error *err)
{
	_cleanup_xattrs_ struct fs_xattrs xattrs = {0};
	int r = side_xattrs(side, &xattrs, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < xattrs.count; i++) {
		_cleanup_text_ struct text key = {0};
		text_format(&key, "SCHILY.xattr.%s", xattrs.items[i].name);
		if (key.failed)
			return error_memory(err);
		/* A record's key ends at the first '='. */
		if (strchr(key.data, '='))
			*left_out = true;
		else
			pax_record(records, key.data, xattrs.items[i].value, xattrs.items[i].size);
	}
	return 0;
}

static int find_pieces(
	const struct change_side *file, struct pieces *pieces, struct ramet_error *err)
{
	struct fs_extent extent;
	for (uint64_t offset = 0; offset < file->stat.size; offset += extent.length) {
		int r = side_extent(file, offset, &extent, err);
		if (r < 0)
			return r;
		if (extent.hole)
			continue;
		pieces->data += extent.length;
		struct piece *last = pieces->count ? &pieces->items[pieces->count - 1] : NULL;
		if (last && last->offset + last->length == offset) {
			last->length += extent.length;
			continue;
		}
		if (pieces->count == PIECES_MAX)
			return error_set(err, EFBIG,
				"%s: %s is in more than %d pieces, too many for a tar",
				file->view->name, file->path, PIECES_MAX);
		struct piece *piece = vector_push(pieces);
		if (!piece)
			return error_memory(err);
		*piece = (struct piece){.offset = offset, .length = extent.length};
	}
	return 0;
}

/* GNU sparse format 1.0: how many pieces, then offset and length of each, a line each, padded to
 * a block. A last empty piece says where a file ends that ends in a hole. */
static int make_map(const struct pieces *pieces, uint64_t size, struct text *map)
{
	const struct piece *last = pieces->count ? &pieces->items[pieces->count - 1] : NULL;
	bool open_end = !last || last->offset + last->length < size;
	text_format(map, "%zu\n", pieces->count + open_end);
	for (const struct piece *p = pieces->items; last && p <= last; p++)
		text_format(map, "%llu\n%llu\n", (unsigned long long)p->offset,
			(unsigned long long)p->length);
	if (open_end)
		text_format(map, "%llu\n0\n", (unsigned long long)size);
	while (map->length % 512 && !map->failed)
		text_append_bytes(map, "", 1);
	return map->failed ? -ENOMEM : 0;
}

static int put_pieces(struct tar_writer *writer, const struct change_side *file,
	const struct pieces *pieces, struct ramet_error *err)
{
	for (size_t i = 0; i < pieces->count; i++) {
		struct piece piece = pieces->items[i];
		while (piece.length) {
			size_t step = (size_t)MIN(piece.length, (uint64_t)BUFFER);
			int r = side_read(file, piece.offset, writer->buffer, step, err);
			if (r < 0)
				return r;
			sink_write(writer->sink, writer->buffer, step);
			r = sink_check(writer->sink, err);
			if (r < 0)
				return r;
			piece.offset += step;
			piece.length -= step;
		}
	}
	return 0;
}

static int put_file(struct tar_writer *writer, const struct change_side *file,
	struct pax_entry *entry, struct text *records, struct ramet_error *err)
{
	struct pieces pieces = {0};
	_cleanup_text_ struct text map = {0};
	int r = find_pieces(file, &pieces, err);
	entry->size = file->stat.size;
	if (r == 0 && pieces.data < file->stat.size) {
		entry->sparse = true;
		entry->real_size = file->stat.size;
		if (make_map(&pieces, file->stat.size, &map) < 0)
			r = error_memory(err);
		entry->size = map.length + pieces.data;
	}
	if (r == 0)
		r = pax_header(writer->sink, entry, records, err);
	if (r == 0) {
		sink_write(writer->sink, map.data ? map.data : "", map.length);
		r = put_pieces(writer, file, &pieces, err);
	}
	if (r == 0)
		pax_pad(writer->sink, entry->size);
	vector_free(&pieces);
	return r;
}

/* PAX_*, or 0 for what a tar cannot hold. */
static char entry_type(const struct fs_stat *stat)
{
	bool numbers_fit = stat->rdev_major <= PAX_DEVICE_MAX && stat->rdev_minor <= PAX_DEVICE_MAX;
	switch (stat->mode & S_IFMT) {
	case S_IFREG:
		return PAX_FILE;
	case S_IFDIR:
		return PAX_DIRECTORY;
	case S_IFLNK:
		return PAX_SYMLINK;
	case S_IFIFO:
		return PAX_FIFO;
	case S_IFCHR:
		return numbers_fit ? PAX_CHARACTER : 0;
	case S_IFBLK:
		return numbers_fit ? PAX_BLOCK : 0;
	default:
		return 0;
	}
}

/* Whether this is another name of a file that is in the tar already: *first gets that one. */
static int find_link(struct tar_writer *writer, const struct change_side *side, const char *name,
	const char **first, struct ramet_error *err)
{
	*first = NULL;
	if (S_ISDIR(side->stat.mode) || side->stat.nlink < 2)
		return 0;
	if (inodes_put(&writer->links, side->stat.inode, name, first) < 0)
		return error_memory(err);
	return 0;
}

static int put_entry(struct tar_writer *writer, const struct change_side *side,
	struct pax_entry *entry, struct ramet_error *err)
{
	_cleanup_text_ struct text records = {0};
	_cleanup_free_ char *target = NULL;
	const char *first;
	int r = find_link(writer, side, entry->name, &first, err);
	if (r < 0)
		return r;
	if (first) {
		entry->type = PAX_HARD_LINK;
		entry->link = first;
		return pax_header(writer->sink, entry, &records, err);
	}
	bool left_out = false;
	r = add_xattrs(side, &records, &left_out, err);
	if (r == 0 && entry->type == PAX_SYMLINK)
		r = side_readlink(side, &target, err);
	if (r < 0)
		return r;
	writer->omitted += left_out;
	entry->link = target;
	if (entry->type == PAX_FILE)
		return put_file(writer, side, entry, &records, err);
	return pax_header(writer->sink, entry, &records, err);
}

int tar_writer_put(struct tar_writer *writer, const struct change_side *object, const char *name,
	struct ramet_error *err)
{
	const struct fs_stat *stat = &object->stat;
	struct pax_entry entry = {.name = name,
		.type = entry_type(stat),
		.mode = stat->mode & 07777,
		.uid = stat->uid,
		.gid = stat->gid,
		.mtime = stat->mtime,
		.mtime_nsec = stat->mtime_nsec};
	if (!entry.type) {
		writer->omitted++;
		return 0;
	}
	if (entry.type == PAX_CHARACTER || entry.type == PAX_BLOCK) {
		entry.major = stat->rdev_major;
		entry.minor = stat->rdev_minor;
	}
	_cleanup_text_ struct text with_slash = {0};
	if (entry.type == PAX_DIRECTORY) {
		text_format(&with_slash, "%s/", name);
		if (with_slash.failed)
			return error_memory(err);
		entry.name = with_slash.data;
	}
	return put_entry(writer, object, &entry, err);
}

int tar_writer_open(struct tar_writer *writer, struct sink *sink, struct ramet_error *err)
{
	writer->sink = sink;
	writer->buffer = malloc(BUFFER);
	return writer->buffer ? 0 : error_memory(err);
}

void tar_writer_free(struct tar_writer *writer)
{
	inodes_free(&writer->links);
	free(TAKE_PTR(writer->buffer));
}
