/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two trees side by side, in the order of the bytes of the full paths.
 *
 * "/a-b" comes between "/a" and "/a/x", so a directory is two pieces of work in its parent: saying
 * what happened to it, sorted as "a", and going into it, sorted as "a/". Each directory's work
 * is listed when it is entered; whatever the views can prove to be the same (fs_ops.same) never
 * gets on that list, and so whole subtrees are left out without being read.
 *
 * What a guest wrote decides how deep this goes, so the directories that are open stand in a
 * vector and not on the stack. A directory that is met a second time ends the walk: a tree has no
 * such thing, and two links in each of n directories would make 2^n paths.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "base/vector.h"
#include "changes/inodes.h"
#include "changes/side.h"

enum { PATH_LIMIT = 64 * 1024 };

struct item {
	const struct fs_entry *old, *new; /* NULL where there is none */
	bool descend;
};

/* A directory that is open. Items point into the entries. */
struct frame {
	struct fs_entries old_entries, new_entries;
	VECTOR(struct item) items;
	size_t next;
	size_t path_length; /* of the directory's own path in walk->path; 0 for "/" */
	bool inside;        /* within the limits */
	bool covered;       /* what is deleted here was said before */
};

struct walk {
	const struct changes_view *old, *new;
	const struct changes_options *options;
	const struct changes_visitor *visitor;
	void *ctx;
	struct text path;
	VECTOR(struct frame) stack;
	struct inodes old_seen, new_seen;
};

static const char *item_name(const struct item *item)
{
	return item->new ? item->new->name : item->old->name;
}

static int item_order(const void *left, const void *right)
{
	const struct item *a = left, *b = right;
	const unsigned char *x = (const void *)item_name(a), *y = (const void *)item_name(b);
	while (*x && *x == *y) {
		x++;
		y++;
	}
	int last_x = *x ? *x : a->descend ? '/' : 0;
	int last_y = *y ? *y : b->descend ? '/' : 0;
	return last_x - last_y;
}

static const char *walk_path(const struct walk *walk)
{
	return walk->path.length ? walk->path.data : "/";
}

/* The path of name in the directory whose path is length bytes. */
static int walk_set_path(
	struct walk *walk, size_t length, const char *name, struct ramet_error *err)
{
	text_truncate(&walk->path, length);
	text_append(&walk->path, "/");
	text_append(&walk->path, name);
	if (walk->path.failed)
		return error_memory(err);
	if (walk->path.length > PATH_LIMIT)
		return error_set(err, EUCLEAN,
			"%s: its folders are nested too deep (a path of more than %d bytes: %.100s...)",
			walk->new->name, PATH_LIMIT, walk->path.data);
	if (!*name || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return error_set(err, EUCLEAN, "%s: %.*s has an entry that is no name",
			walk->new->name, (int)length, length ? walk->path.data : "/");
	return 0;
}

static int entry_is_directory(struct walk *walk, const struct changes_view *view,
	const struct fs_entry *entry, bool *is, struct ramet_error *err)
{
	*is = entry && entry->type == S_IFDIR;
	if (!entry || entry->type)
		return 0;
	struct change_side side = {.view = view, .path = walk_path(walk), .ref = entry->ref};
	int r = side_stat(&side, err);
	*is = r == 0 && S_ISDIR(side.stat.mode);
	return r;
}

static bool entries_same(
	const struct walk *walk, const struct fs_entry *old, const struct fs_entry *new)
{
	struct fs *fs = walk->new->fs;
	return old && new && fs->ops->same && fs->ops->same(fs, new->ref, walk->old->fs, old->ref);
}

/* Put on the list what is to be done about one name. */
static int frame_add(struct walk *walk, struct frame *frame, const char *name,
	const struct fs_entry *old, const struct fs_entry *new, struct ramet_error *err)
{
	enum changes_place place = CHANGES_INSIDE;
	if (!frame->inside) {
		int r = walk_set_path(walk, frame->path_length, name, err);
		if (r < 0)
			return r;
		place = changes_limits_place(walk->options->limits, walk->path.data);
	}
	if (place == CHANGES_OUTSIDE || entries_same(walk, old, new))
		return 0;
	bool old_is = false, new_is = false;
	int r = entry_is_directory(walk, walk->old, old, &old_is, err);
	if (r == 0)
		r = entry_is_directory(walk, walk->new, new, &new_is, err);
	if (r < 0)
		return r;
	for (int descend = 0; descend < (old_is || new_is ? 2 : 1); descend++) {
		if (!descend && place != CHANGES_INSIDE)
			continue;
		struct item *item = vector_push(&frame->items);
		if (!item)
			return error_memory(err);
		*item = (struct item){.old = old, .new = new, .descend = descend};
	}
	return 0;
}

/* Both lists are sorted by name. *kept: how many of the old names are there still. */
static int frame_merge(
	struct walk *walk, struct frame *frame, size_t *kept, struct ramet_error *err)
{
	const struct fs_entries *a = &frame->old_entries, *b = &frame->new_entries;
	for (size_t i = 0, j = 0; i < a->count || j < b->count;) {
		int order = i == a->count   ? 1
			    : j == b->count ? -1
					    : strcmp(a->items[i].name, b->items[j].name);
		const char *name = order <= 0 ? a->items[i].name : b->items[j].name;
		const struct fs_entry *old = order <= 0 ? &a->items[i++] : NULL;
		const struct fs_entry *new = order >= 0 ? &b->items[j++] : NULL;
		*kept += old && new;
		int r = frame_add(walk, frame, name, old, new, err);
		if (r < 0)
			return r;
	}
	if (frame->items.count > 1)
		qsort(frame->items.items, frame->items.count, sizeof(struct item), item_order);
	return 0;
}

static int directory_list(struct change_side *side, struct inodes *seen, struct fs_entries *entries,
	struct ramet_error *err)
{
	int r = inodes_put(seen, side->stat.inode, NULL, NULL);
	if (r < 0)
		return error_memory(err);
	if (r == 0)
		return side_damaged(
			side, "is a directory that stands in another place too (a loop)", err);
	return side_list(side, entries, err);
}

static void frame_free(struct frame *frame)
{
	fs_entries_free(&frame->old_entries);
	fs_entries_free(&frame->new_entries);
	vector_free(&frame->items);
}

/* Enter the directory at walk->path: old and new are its sides, NULL where it is none. */
static int walk_enter(struct walk *walk, struct change_side *old, struct change_side *new,
	bool covered, struct ramet_error *err)
{
	struct frame *frame = vector_push(&walk->stack);
	if (!frame)
		return error_memory(err);
	*frame = (struct frame){.path_length = walk->path.length, .covered = covered};
	frame->inside = changes_limits_place(walk->options->limits, walk_path(walk)) ==
			CHANGES_INSIDE;
	int r = walk->visitor->entered ? walk->visitor->entered(walk->ctx, old, new, err) : 0;
	if (r == 0 && old)
		r = directory_list(old, &walk->old_seen, &frame->old_entries, err);
	if (r == 0 && new)
		r = directory_list(new, &walk->new_seen, &frame->new_entries, err);
	if (r < 0)
		return r;
	bool emptied = old && new && frame->inside && frame->old_entries.count;
	size_t kept = 0;
	r = frame_merge(walk, frame, &kept, err);
	if (r < 0)
		return r;
	if (old && !new)
		frame->covered = covered || frame->inside;
	if (!emptied || kept)
		return 0;
	frame->covered = true;
	text_truncate(&walk->path, frame->path_length);
	if (!walk->visitor->emptied)
		return 0;
	return walk->visitor->emptied(
		walk->ctx, walk_path(walk), frame->new_entries.count == 0, err);
}

/* A directory entry and its inode must agree on what is a directory: the list of work was made
 * by what the entry said. */
static int side_open(struct walk *walk, const struct changes_view *view,
	const struct fs_entry *entry, struct change_side *side, struct change_side **out,
	struct ramet_error *err)
{
	*out = NULL;
	if (!entry)
		return 0;
	*side = (struct change_side){.view = view, .path = walk_path(walk), .ref = entry->ref};
	int r = side_stat(side, err);
	if (r < 0)
		return r;
	if (entry->type && (S_ISDIR(side->stat.mode) != (entry->type == S_IFDIR)))
		return side_damaged(side, "is one thing in its folder and another in itself", err);
	*out = side;
	return 0;
}

static int walk_compare(struct walk *walk, struct change_side *old, struct change_side *new,
	unsigned *what, struct ramet_error *err)
{
	enum changes_verdict verdict = CHANGES_COMPARE;
	int r = 0;
	if (walk->visitor->judge && S_ISREG(new->stat.mode) && new->stat.size &&
		old->stat.size == new->stat.size)
		r = walk->visitor->judge(walk->ctx, old, new, &verdict, err);
	return r < 0 ? r : changes_compare(old, new, verdict, what, err);
}

static int walk_say(struct walk *walk, struct change_side *old, struct change_side *new,
	bool covered, struct ramet_error *err)
{
	struct change change = {.path = walk_path(walk), .old = old, .new = new};
	if (!old) {
		change.kind = CHANGE_ADDED;
	} else if (!new) {
		change.kind = CHANGE_DELETED;
		change.implied = covered;
	} else if ((old->stat.mode & S_IFMT) != (new->stat.mode &S_IFMT)) {
		change.kind = CHANGE_RETYPED;
		change.what = CHANGE_CONTENT;
	} else {
		change.kind = CHANGE_MODIFIED;
		int r = walk_compare(walk, old, new, &change.what, err);
		if (r < 0)
			return r;
		if (!change.what)
			return walk->visitor->kept ? walk->visitor->kept(walk->ctx, old, new, err)
						   : 0;
	}
	return walk->visitor->each(walk->ctx, &change, err);
}

static int walk_item(struct walk *walk, struct ramet_error *err)
{
	struct frame *frame = &walk->stack.items[walk->stack.count - 1];
	struct item item = frame->items.items[frame->next++];
	bool covered = frame->covered;
	struct change_side old_side, new_side, *old = NULL, *new = NULL;
	int r = walk_set_path(walk, frame->path_length, item_name(&item), err);
	if (r == 0)
		r = side_open(walk, walk->old, item.old, &old_side, &old, err);
	if (r == 0)
		r = side_open(walk, walk->new, item.new, &new_side, &new, err);
	if (r < 0)
		return r;
	if (!item.descend)
		return walk_say(walk, old, new, covered, err);
	return walk_enter(walk, old && S_ISDIR(old->stat.mode) ? old : NULL,
		new &&S_ISDIR(new->stat.mode) ? new : NULL, covered, err);
}

static int walk_root(struct walk *walk, struct ramet_error *err)
{
	struct change_side old = {.view = walk->old, .path = "/"};
	struct change_side new = {.view = walk->new, .path = "/"};
	int r = old.view->fs->ops->root(old.view->fs, &old.ref, err);
	if (r < 0)
		return error_prefix(err, r, "%s", old.view->name);
	r = new.view->fs->ops->root(new.view->fs, &new.ref, err);
	if (r < 0)
		return error_prefix(err, r, "%s", new.view->name);
	r = side_stat(&old, err);
	if (r == 0)
		r = side_stat(&new, err);
	bool plain = false;
	if (r == 0 && walk->options->plain_root)
		r = changes_is_plain(&new, &plain, err);
	if (r < 0)
		return r;
	if (!S_ISDIR(old.stat.mode))
		return side_damaged(&old, "is not a directory", err);
	if (!S_ISDIR(new.stat.mode))
		return side_damaged(&new, "is not a directory", err);
	if (!plain && changes_limits_place(walk->options->limits, "/") == CHANGES_INSIDE)
		r = walk_say(walk, &old, &new, false, err);
	return r < 0 ? r : walk_enter(walk, &old, &new, false, err);
}

int changes_walk(const struct changes_view *old, const struct changes_view *new,
	const struct changes_options *options, const struct changes_visitor *visitor, void *ctx,
	struct ramet_error *err)
{
	struct walk walk = {
		.old = old, .new = new, .options = options, .visitor = visitor, .ctx = ctx};
	int r = walk_root(&walk, err);
	while (r == 0 && walk.stack.count) {
		struct frame *frame = &walk.stack.items[walk.stack.count - 1];
		if (frame->next < frame->items.count) {
			r = walk_item(&walk, err);
		} else {
			frame_free(frame);
			walk.stack.count--;
		}
	}
	for (size_t i = 0; i < walk.stack.count; i++)
		frame_free(&walk.stack.items[i]);
	vector_free(&walk.stack);
	inodes_free(&walk.old_seen);
	inodes_free(&walk.new_seen);
	text_free(&walk.path);
	return r;
}
