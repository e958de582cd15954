/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes as a layer of an OCI image (image-spec, layer.md, "Representing Changes"): what was added
 * or changed stands in it whole, what was deleted as an empty file ".wh.NAME", and a directory that
 * was emptied has ".wh..wh..opq" in it, written before anything else of it. An entry of
 * another type replaces what was there, so a change of type needs no whiteout; and what was
 * below a deleted directory needs none of its own.
 *
 * Not to be said in a layer, and counted as omitted: sockets, and names that begin with ".wh.",
 * which whoever applies the layer would take for whiteouts.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/vector.h"
#include "changes/forms.h"
#include "changes/inodes.h"
#include "changes/pax.h"
#include "changes/side.h"

#define WHITEOUT ".wh."
#define OPAQUE   ".wh..wh..opq"

enum { BUFFER = 256 * 1024, PIECES_MAX = 4 << 20 };

struct tar {
	struct inodes links; /* files with more than one name, and the first one */
	char *buffer;
};

/* A part of a sparse file that has bytes. */
struct piece {
	uint64_t offset, length;
};
struct pieces {
	VECTOR(struct piece);
	uint64_t data; /* the sum of the lengths */
};

static int tar_begin(struct form_state *state, struct ramet_error *err)
{
	struct tar *tar = calloc(1, sizeof *tar);
	if (!tar)
		return error_memory(err);
	state->own = tar;
	tar->buffer = malloc(BUFFER);
	return tar->buffer ? 0 : error_memory(err);
}

static bool has_whiteout_name(const char *path)
{
	return strstr(path, "/" WHITEOUT) != NULL;
}

/* "/etc/hosts" and prefix: "etc/PREFIXhosts". */
static void whiteout_name(struct text *name, const char *path)
{
	const char *base = strrchr(path, '/') + 1;
	text_append_bytes(name, path + 1, (size_t)(base - path - 1));
	text_append(name, WHITEOUT);
	text_append(name, base);
}

static int put_whiteout(struct form_state *state, const char *name, struct ramet_error *err)
{
	_cleanup_text_ struct text records = {0};
	struct pax_entry entry = {.name = name, .type = PAX_FILE, .mode = 0644};
	return pax_header(&state->sink, &entry, &records, err);
}

static int tar_emptied(
	struct form_state *state, const char *directory, bool left_empty, struct ramet_error *err)
{
	if (has_whiteout_name(directory)) {
		state->result->omitted++;
		return 0;
	}
	_cleanup_text_ struct text name = {0};
	text_append(&name, directory + 1);
	text_append(&name, name.length ? "/" OPAQUE : OPAQUE);
	return name.failed ? error_memory(err) : put_whiteout(state, name.data, err);
}

static int tar_deleted(
	struct form_state *state, const struct change *change, struct ramet_error *err)
{
	if (change->implied)
		return 0;
	if (has_whiteout_name(change->path)) {
		state->result->omitted++;
		return 0;
	}
	_cleanup_text_ struct text name = {0};
	whiteout_name(&name, change->path);
	return name.failed ? error_memory(err) : put_whiteout(state, name.data, err);
}

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

static int put_pieces(struct form_state *state, const struct change_side *file,
	const struct pieces *pieces, struct ramet_error *err)
{
	struct tar *tar = state->own;
	for (size_t i = 0; i < pieces->count; i++) {
		struct piece piece = pieces->items[i];
		while (piece.length) {
			size_t step = (size_t)MIN(piece.length, (uint64_t)BUFFER);
			int r = side_read(file, piece.offset, tar->buffer, step, err);
			if (r < 0)
				return r;
			sink_write(&state->sink, tar->buffer, step);
			r = sink_check(&state->sink, err);
			if (r < 0)
				return r;
			piece.offset += step;
			piece.length -= step;
		}
	}
	return 0;
}

static int put_file(struct form_state *state, const struct change_side *file,
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
		r = pax_header(&state->sink, entry, records, err);
	if (r == 0) {
		sink_write(&state->sink, map.data ? map.data : "", map.length);
		r = put_pieces(state, file, &pieces, err);
	}
	if (r == 0)
		pax_pad(&state->sink, entry->size);
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

/* Whether this is another name of a file that is in the layer already: *first gets that one. */
static int find_link(struct tar *tar, const struct change_side *side, const char **first,
	struct ramet_error *err)
{
	*first = NULL;
	if (S_ISDIR(side->stat.mode) || side->stat.nlink < 2)
		return 0;
	if (inodes_put(&tar->links, side->stat.inode, side->path, first) < 0)
		return error_memory(err);
	return 0;
}

static int put_entry(struct form_state *state, const struct change_side *side,
	struct pax_entry *entry, struct ramet_error *err)
{
	_cleanup_text_ struct text records = {0};
	_cleanup_free_ char *target = NULL;
	const char *first;
	int r = find_link(state->own, side, &first, err);
	if (r < 0)
		return r;
	if (first) {
		entry->type = PAX_HARD_LINK;
		entry->link = first + 1;
		return pax_header(&state->sink, entry, &records, err);
	}
	bool left_out = false;
	r = add_xattrs(side, &records, &left_out, err);
	if (r == 0 && entry->type == PAX_SYMLINK)
		r = side_readlink(side, &target, err);
	if (r < 0)
		return r;
	state->result->omitted += left_out;
	entry->link = target;
	if (entry->type == PAX_FILE)
		return put_file(state, side, entry, &records, err);
	return pax_header(&state->sink, entry, &records, err);
}

static int tar_each(struct form_state *state, const struct change *change, struct ramet_error *err)
{
	if (change->kind == CHANGE_DELETED)
		return tar_deleted(state, change, err);
	const struct change_side *side = change->new;
	const struct fs_stat *stat = &side->stat;
	struct pax_entry entry = {.type = entry_type(stat),
		.mode = stat->mode & 07777,
		.uid = stat->uid,
		.gid = stat->gid,
		.mtime = stat->mtime,
		.mtime_nsec = stat->mtime_nsec};
	if (!entry.type || has_whiteout_name(change->path)) {
		state->result->omitted++;
		return 0;
	}
	if (entry.type == PAX_CHARACTER || entry.type == PAX_BLOCK) {
		entry.major = stat->rdev_major;
		entry.minor = stat->rdev_minor;
	}
	_cleanup_text_ struct text name = {0};
	text_append(&name, change->path[1] ? change->path + 1 : ".");
	if (entry.type == PAX_DIRECTORY)
		text_append(&name, "/");
	if (name.failed)
		return error_memory(err);
	entry.name = name.data;
	return put_entry(state, side, &entry, err);
}

static int tar_end(struct form_state *state, struct ramet_error *err)
{
	pax_end(&state->sink);
	return 0;
}

static void tar_release(struct form_state *state)
{
	struct tar *tar = state->own;
	if (!tar)
		return;
	inodes_free(&tar->links);
	free(tar->buffer);
	free(tar);
}

const struct form form_tar = {
	.name = "tar",
	.begin = tar_begin,
	.each = tar_each,
	.emptied = tar_emptied,
	.end = tar_end,
	.release = tar_release,
};
