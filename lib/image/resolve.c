/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A path in a view, symlinks followed, as path_resolution(7) has it for a process in a chroot: what
 * an image's link points to is looked for in the image, and there is no way out of its root.
 *
 * What is left to walk is one string; a symlink's target is put before it. The directories that
 * were gone through stand in a vector, so that ".." needs no look at the disk.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "base/vector.h"
#include "image/fs.h"

enum { LINKS_MAX = 40, REST_MAX = 64 * 1024 };

/* One directory, or at the end anything, that was gone through; the first is the root. */
struct step {
	fs_ref ref;
	uint32_t mode;
	size_t length; /* of the real path up to here */
};

struct resolution {
	struct fs *fs;
	const char *path; /* as the user wrote it */
	VECTOR(struct step) steps;
	struct text real; /* "" is the root */
	char *rest;       /* what is left, and where in it we are */
	size_t at;
	unsigned links;
};

static int push(struct resolution *r, fs_ref ref, struct ramet_error *err)
{
	struct fs_stat stat;
	int result = r->fs->ops->stat(r->fs, ref, &stat, err);
	if (result < 0)
		return error_prefix(err, result, "%s", r->path);
	struct step *step = vector_push(&r->steps);
	if (!step || r->real.failed)
		return error_memory(err);
	*step = (struct step){.ref = ref, .mode = stat.mode, .length = r->real.length};
	return 0;
}

static struct step *last(struct resolution *r)
{
	return &r->steps.items[r->steps.count - 1];
}

static void up(struct resolution *r)
{
	if (r->steps.count == 1)
		return;
	r->steps.count--;
	text_truncate(&r->real, last(r)->length);
}

static int enter(struct resolution *r, const char *name, struct ramet_error *err)
{
	_cleanup_entries_ struct fs_entries entries = {0};
	int result = r->fs->ops->list(r->fs, last(r)->ref, &entries, err);
	if (result < 0)
		return error_prefix(err, result, "%s", r->path);
	const struct fs_entry *entry = fs_entries_find(&entries, name);
	if (!entry)
		return error_set(err, ENOENT, "%s: there is no \"%s\" in %s", r->path, name,
			r->real.length ? r->real.data : "/");
	text_format(&r->real, "/%s", name);
	return push(r, entry->ref, err);
}

/* Go on with the target of the symlink that was entered last. */
static int follow_link(struct resolution *r, struct ramet_error *err)
{
	if (++r->links > LINKS_MAX)
		return error_set(
			err, ELOOP, "%s: more than %d symlinks lead there", r->path, LINKS_MAX);
	_cleanup_free_ char *target = NULL;
	int result = r->fs->ops->readlink(r->fs, last(r)->ref, &target, err);
	if (result < 0)
		return error_prefix(err, result, "%s", r->path);
	_cleanup_text_ struct text rest = {0};
	text_append(&rest, target);
	text_append(&rest, r->rest + r->at);
	if (rest.failed)
		return error_memory(err);
	if (rest.length > REST_MAX)
		return error_set(err, ENAMETOOLONG, "%s: the way there is too long", r->path);
	free(r->rest);
	r->rest = TAKE_PTR(rest.data);
	r->at = 0;
	up(r);
	if (target[0] == '/') {
		r->steps.count = 1;
		text_truncate(&r->real, 0);
	}
	return 0;
}

/* One component; name is a copy of it, and r->at stands behind it. */
static int take(struct resolution *r, const char *name, bool follow, struct ramet_error *err)
{
	if (!S_ISDIR(last(r)->mode))
		return error_set(err, ENOTDIR, "%s: %s is no directory", r->path,
			r->real.length ? r->real.data : "/");
	if (strcmp(name, ".") == 0)
		return 0;
	if (strcmp(name, "..") == 0) {
		up(r);
		return 0;
	}
	int result = enter(r, name, err);
	if (result < 0 || !S_ISLNK(last(r)->mode))
		return result;
	/* "link/" is what the link points to. */
	return follow || r->rest[r->at] == '/' ? follow_link(r, err) : 0;
}

static int walk(struct resolution *r, bool follow, struct ramet_error *err)
{
	fs_ref root;
	int result = r->fs->ops->root(r->fs, &root, err);
	if (result == 0)
		result = push(r, root, err);
	while (result == 0 && (r->at += strspn(r->rest + r->at, "/"), r->rest[r->at])) {
		size_t length = strcspn(r->rest + r->at, "/");
		_cleanup_free_ char *name = strndup(r->rest + r->at, length);
		if (!name)
			return error_memory(err);
		r->at += length;
		result = take(r, name, follow, err);
	}
	if (result == 0 && r->at && r->rest[r->at - 1] == '/' && !S_ISDIR(last(r)->mode))
		return error_set(err, ENOTDIR, "%s: %s is no directory", r->path, r->real.data);
	return result;
}

int fs_resolve(struct fs *fs, const char *path, bool follow, fs_ref *ref, char **real,
	struct ramet_error *err)
{
	struct resolution r = {.fs = fs, .path = path, .rest = strdup(path)};
	int result = r.rest ? walk(&r, follow, err) : error_memory(err);
	if (result == 0) {
		*ref = last(&r)->ref;
		if (!r.real.length)
			text_append(&r.real, "/");
		*real = r.real.failed ? NULL : TAKE_PTR(r.real.data);
		if (!*real)
			result = error_memory(err);
	}
	vector_free(&r.steps);
	text_free(&r.real);
	free(r.rest);
	return result;
}
