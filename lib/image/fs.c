/* SPDX-License-Identifier: Apache-2.0 */
#include "image/fs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"

void fs_entries_free(struct fs_entries *entries)
{
	for (size_t i = 0; i < entries->count; i++)
		free(entries->items[i].name);
	free(entries->items);
	*entries = (struct fs_entries){0};
}

void fs_xattrs_free(struct fs_xattrs *xattrs)
{
	for (size_t i = 0; i < xattrs->count; i++) {
		free(xattrs->items[i].name);
		free(xattrs->items[i].value);
	}
	free(xattrs->items);
	*xattrs = (struct fs_xattrs){0};
}

static int compare_with_entry(const void *name, const void *entry)
{
	return strcmp(name, ((const struct fs_entry *)entry)->name);
}

const struct fs_entry *fs_entries_find(const struct fs_entries *entries, const char *name)
{
	if (!entries->count)
		return NULL;
	return bsearch(
		name, entries->items, entries->count, sizeof *entries->items, compare_with_entry);
}

static int compare_with_xattr(const void *name, const void *xattr)
{
	return strcmp(name, ((const struct fs_xattr *)xattr)->name);
}

const struct fs_xattr *fs_xattrs_find(const struct fs_xattrs *xattrs, const char *name)
{
	if (!xattrs->count)
		return NULL;
	return bsearch(
		name, xattrs->items, xattrs->count, sizeof *xattrs->items, compare_with_xattr);
}

/* One step: the entry of dir that is called name. */
static int lookup_step(struct fs *fs, fs_ref dir, const char *name, const char *path, fs_ref *ref,
	struct ramet_error *err)
{
	struct fs_stat stat;
	int r = fs->ops->stat(fs, dir, &stat, err);
	if (r < 0)
		return r;
	if (!S_ISDIR(stat.mode))
		return error_set(
			err, ENOTDIR, "%s: what stands before \"%s\" is no directory", path, name);
	_cleanup_entries_ struct fs_entries entries = {0};
	r = fs->ops->list(fs, dir, &entries, err);
	if (r < 0)
		return r;
	const struct fs_entry *entry = fs_entries_find(&entries, name);
	if (!entry)
		return error_set(err, ENOENT, "%s: there is no \"%s\"", path, name);
	*ref = entry->ref;
	return 0;
}

int fs_lookup(struct fs *fs, const char *path, fs_ref *ref, struct ramet_error *err)
{
	fs_ref here;
	int r = fs->ops->root(fs, &here, err);
	if (r < 0)
		return r;
	const char *rest = path;
	while (*(rest += strspn(rest, "/"))) {
		size_t length = strcspn(rest, "/");
		_cleanup_free_ char *name = strndup(rest, length);
		if (!name)
			return error_memory(err);
		r = lookup_step(fs, here, name, path, &here, err);
		if (r < 0)
			return r;
		rest += length;
	}
	*ref = here;
	return 0;
}

void fs_close(struct fs *fs)
{
	if (fs)
		fs->ops->close(fs);
}
