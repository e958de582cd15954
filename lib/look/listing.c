/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listings: names, lines like those of ls -ln, and JSON. Owners are numbers: the names that the
 * host has for them are not the image's. Times are the host's local ones; its time zone was read
 * before the sandbox was entered, and localtime_r() asks for no more.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "changes/names.h"
#include "changes/object.h"
#include "changes/side.h"
#include "look/look.h"
#include "look/walk.h"

static int put_name(struct text *line, const struct change_side *object, const char *name,
	bool first, struct ramet_error *err)
{
	text_append(line, name);
	text_append(line, "\n");
	return 0;
}

static void put_mode(struct text *line, uint32_t mode)
{
	static const char types[16] = "?pc?d?b?-?l?s???";
	char text[] = "?rwxrwxrwx";
	text[0] = types[(mode & S_IFMT) >> 12];
	for (int bit = 0; bit < 9; bit++)
		if (!(mode & (0400u >> bit)))
			text[1 + bit] = '-';
	if (mode & S_ISUID)
		text[3] = mode & S_IXUSR ? 's' : 'S';
	if (mode & S_ISGID)
		text[6] = mode & S_IXGRP ? 's' : 'S';
	if (mode & S_ISVTX)
		text[9] = mode & S_IXOTH ? 't' : 'T';
	text_append(line, text);
}

static void put_time(struct text *line, int64_t seconds)
{
	time_t when = (time_t)seconds;
	struct tm local;
	char text[64];
	if (localtime_r(&when, &local) && strftime(text, sizeof text, "%Y-%m-%d %H:%M", &local))
		text_append(line, text);
	else
		text_format(line, "%" PRId64, seconds);
}

static int put_long(struct text *line, const struct change_side *object, const char *name,
	bool first, struct ramet_error *err)
{
	const struct fs_stat *stat = &object->stat;
	char device[32];
	put_mode(line, stat->mode);
	text_format(
		line, " %3" PRIu32 " %5" PRIu32 " %5" PRIu32, stat->nlink, stat->uid, stat->gid);
	snprintf(
		device, sizeof device, "%" PRIu32 ", %" PRIu32, stat->rdev_major, stat->rdev_minor);
	if (S_ISCHR(stat->mode) || S_ISBLK(stat->mode))
		text_format(line, " %10s ", device);
	else
		text_format(line, " %10" PRIu64 " ", stat->size);
	put_time(line, stat->mtime);
	text_format(line, " %s", name);
	if (S_ISLNK(stat->mode)) {
		_cleanup_free_ char *target = NULL;
		int r = side_readlink(object, &target, err);
		if (r < 0)
			return r;
		text_format(line, " -> %s", target);
	}
	text_append(line, "\n");
	return 0;
}

static int put_xattr_names(
	struct text *line, const struct change_side *object, struct ramet_error *err)
{
	_cleanup_xattrs_ struct fs_xattrs xattrs = {0};
	bool lossy = false;
	int r = side_xattrs(object, &xattrs, err);
	if (r < 0 || !xattrs.count)
		return r;
	text_append(line, ", \"xattrs\": [");
	for (size_t i = 0; i < xattrs.count; i++) {
		text_append(line, i ? ", " : "");
		name_json(line, xattrs.items[i].name, &lossy);
	}
	text_append(line, "]");
	return 0;
}

static int put_json(struct text *line, const struct change_side *object, const char *name,
	bool first, struct ramet_error *err)
{
	const struct fs_stat *stat = &object->stat;
	text_append(line, first ? "\n  {" : ",\n  {");
	object_json_bytes(line, "path", object->path);
	text_append(line, ", ");
	object_json_stat(line, stat);
	text_format(
		line, ", \"links\": %" PRIu32 ", \"inode\": %" PRIu64, stat->nlink, stat->inode);
	if (S_ISLNK(stat->mode)) {
		_cleanup_free_ char *target = NULL;
		int r = side_readlink(object, &target, err);
		if (r < 0)
			return r;
		text_append(line, ", ");
		object_json_bytes(line, "target", target);
	}
	int r = put_xattr_names(line, object, err);
	text_append(line, "}");
	return r;
}

static const struct listing_form forms[] = {
	{"names", "", "", put_name},
	{"long", "", "", put_long},
	{"json", "[", "\n]\n", put_json},
};

const struct listing_form *listing_form_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++)
		if (strcmp(forms[i].name, name ? name : "names") == 0)
			return &forms[i];
	return NULL;
}

struct lister {
	struct listing *listing;
	struct sink *sink;
	bool directory; /* the start is one: what is in it is listed, not itself */
};

/* All but the line's own end. */
static void disarm(struct text *line)
{
	if (!line->length)
		return;
	line->data[line->length - 1] = '\0';
	text_disarm(line->data);
	line->data[line->length - 1] = '\n';
}

static int list_one(
	void *ctx, const struct change_side *object, unsigned depth, struct ramet_error *err)
{
	struct lister *lister = ctx;
	struct listing *listing = lister->listing;
	if (lister->directory && depth == 0)
		return 0;
	bool whole = listing->recursive || !lister->directory;
	const char *name = whole ? object->path : strrchr(object->path, '/') + 1;
	_cleanup_text_ struct text line = {0};
	int r = listing->form->each(&line, object, name, listing->entries == 0, err);
	if (r < 0)
		return r;
	if (line.failed)
		return error_memory(err);
	if (listing->disarm)
		disarm(&line);
	sink_write(lister->sink, line.data, line.length);
	listing->entries++;
	r = sink_check(lister->sink, err);
	return r == 0 && !listing->recursive ? WALK_PASS : r;
}

int look_list(const struct changes_view *view, fs_ref ref, const char *real,
	struct listing *listing, struct sink *sink, struct ramet_error *err)
{
	static const struct walk_visitor visitor = {.each = list_one};
	struct change_side start = {.view = view, .path = real, .ref = ref};
	int r = side_stat(&start, err);
	if (r < 0)
		return r;
	struct lister lister = {
		.listing = listing, .sink = sink, .directory = S_ISDIR(start.stat.mode)};
	sink_string(sink, listing->form->begin);
	r = look_walk(view, ref, real, &visitor, &lister, err);
	if (r < 0)
		return r;
	sink_string(sink, listing->form->end);
	return sink_flush(sink, err);
}
