/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a stranger wrote decides how deep this goes, so the directories that are open stand in a
 * vector and not on the stack. A directory that is met a second time is not gone into: two links in
 * each of n directories would make 2^n paths.
 */
#include "look/walk.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "base/vector.h"
#include "changes/inodes.h"

enum { PATH_LIMIT = 64 * 1024 };

/* A directory that is open. */
struct frame {
	struct fs_entries entries;
	size_t next;
	size_t path_length; /* of its own path in walk->path; 0 for "/" */
};

struct walk {
	const struct changes_view *view;
	const struct walk_visitor *visitor;
	void *ctx;
	struct text path; /* "" is "/" */
	VECTOR(struct frame) stack;
	struct inodes seen; /* directories */
};

static const char *path_of(const struct walk *walk)
{
	return walk->path.length ? walk->path.data : "/";
}

/* r and *why are what the view said of the object at the path. */
static int fail(struct walk *walk, int r, struct ramet_error *why, struct ramet_error *err)
{
	if (r == -ENOMEM || !walk->visitor->failed) {
		error_set(err, -r, "%s", why->message);
		return error_prefix(err, r, "%s: %s", walk->view->name, path_of(walk));
	}
	return walk->visitor->failed(walk->ctx, path_of(walk), why, err);
}

static int open_directory(struct walk *walk, const struct change_side *object,
	struct ramet_error *why, struct ramet_error *err)
{
	int r = inodes_put(&walk->seen, object->stat.inode, NULL, NULL);
	if (r < 0)
		return error_memory(err);
	if (r == 0) {
		error_set(why, EUCLEAN, "this directory has a second place in the tree");
		return fail(walk, -EUCLEAN, why, err);
	}
	struct fs_entries entries = {0};
	r = walk->view->fs->ops->list(walk->view->fs, object->ref, &entries, why);
	if (r < 0)
		return fail(walk, r, why, err);
	struct frame *frame = vector_push(&walk->stack);
	if (!frame) {
		fs_entries_free(&entries);
		return error_memory(err);
	}
	*frame = (struct frame){.entries = entries, .path_length = walk->path.length};
	return 0;
}

static bool is_said(uint32_t said, uint32_t mode)
{
	return said == 0 || said == (mode & S_IFMT);
}

/* type: what its directory calls it, 0 when it does not say. */
static int visit(struct walk *walk, fs_ref ref, uint32_t type, struct ramet_error *err)
{
	struct ramet_error why = {0};
	struct change_side object = {.view = walk->view, .path = path_of(walk), .ref = ref};
	int r = walk->view->fs->ops->stat(walk->view->fs, ref, &object.stat, &why);
	if (r == 0 && !is_said(type, object.stat.mode))
		r = error_set(&why, EUCLEAN, "its directory calls it something else (%#o, not %#o)",
			type, object.stat.mode & S_IFMT);
	if (r < 0)
		return fail(walk, r, &why, err);
	r = walk->visitor->each(walk->ctx, &object, (unsigned)walk->stack.count, err);
	if (r < 0 || r == WALK_PASS || !S_ISDIR(object.stat.mode))
		return MIN(r, 0);
	return open_directory(walk, &object, &why, err);
}

static int visit_entry(struct walk *walk, const struct fs_entry *entry, struct ramet_error *err)
{
	text_format(&walk->path, "/%s", entry->name);
	if (walk->path.failed)
		return error_memory(err);
	if (walk->path.length > PATH_LIMIT)
		return error_set(err, EUCLEAN, "%s: %.80s...: the path is longer than %d bytes",
			walk->view->name, walk->path.data, PATH_LIMIT);
	return visit(walk, entry->ref, entry->type, err);
}

static int visit_all(struct walk *walk, fs_ref ref, struct ramet_error *err)
{
	int r = visit(walk, ref, 0, err);
	while (r == 0 && walk->stack.count) {
		struct frame *frame = &walk->stack.items[walk->stack.count - 1];
		text_truncate(&walk->path, frame->path_length);
		if (frame->next < frame->entries.count) {
			r = visit_entry(walk, &frame->entries.items[frame->next++], err);
			continue;
		}
		fs_entries_free(&frame->entries);
		walk->stack.count--;
	}
	return r;
}

int look_walk(const struct changes_view *view, fs_ref ref, const char *path,
	const struct walk_visitor *visitor, void *ctx, struct ramet_error *err)
{
	struct walk walk = {.view = view, .visitor = visitor, .ctx = ctx};
	text_append(&walk.path, strcmp(path, "/") == 0 ? "" : path);
	int r = walk.path.failed ? error_memory(err) : visit_all(&walk, ref, err);
	for (size_t i = 0; i < walk.stack.count; i++)
		fs_entries_free(&walk.stack.items[i].entries);
	vector_free(&walk.stack);
	inodes_free(&walk.seen);
	text_free(&walk.path);
	return r;
}
