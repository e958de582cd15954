/* SPDX-License-Identifier: Apache-2.0 */
/* A view of a tree that stands in memory, for what works on any view. */
#ifndef TESTS_MEMFS_H
#define TESTS_MEMFS_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "image/fs.h"

/* A memfile says only what is not the usual. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

/* One object. Parents come before what is in them; "/" is the first. */
struct memfile {
	const char *path;
	uint32_t mode;       /* 0: a file with 0644 */
	const char *content; /* of a file; the target of a symlink */
	size_t size;         /* 0: strlen(content) */
	uint64_t hole;       /* zeros before the content */
	uint32_t uid, gid, major, minor;
	int64_t mtime;
	uint32_t mtime_nsec;
	uint64_t inode; /* 0: one of its own */
	uint32_t nlink; /* 0: 1 */
	const char *xattr, *value;
	bool same; /* the view says that it is what the other view has */
};

struct memfs {
	struct fs fs;
	const struct memfile *files;
	size_t count;
	unsigned reads; /* calls of read */
};

static inline const struct memfile *memfs_file(struct fs *fs, fs_ref ref)
{
	return &((struct memfs *)fs)->files[ref];
}

static inline uint32_t memfs_mode(const struct memfile *f)
{
	return f->mode ? f->mode : S_IFREG | 0644;
}

static inline uint64_t memfs_size(const struct memfile *f)
{
	return f->hole + (f->size ? f->size : f->content ? strlen(f->content) : 0);
}

static inline int memfs_root(struct fs *fs, fs_ref *root, struct ramet_error *err)
{
	*root = 0;
	return 0;
}

static inline int memfs_stat(struct fs *fs, fs_ref ref, struct fs_stat *st, struct ramet_error *err)
{
	const struct memfile *f = memfs_file(fs, ref);
	*st = (struct fs_stat){.mode = memfs_mode(f),
		.uid = f->uid,
		.gid = f->gid,
		.nlink = f->nlink ? f->nlink : 1,
		.size = memfs_size(f),
		.mtime = f->mtime,
		.mtime_nsec = f->mtime_nsec,
		.rdev_major = f->major,
		.rdev_minor = f->minor,
		.inode = f->inode ? f->inode : 1000000 + ref};
	return 0;
}

static inline int memfs_order(const void *a, const void *b)
{
	return strcmp(((const struct fs_entry *)a)->name, ((const struct fs_entry *)b)->name);
}

static inline int memfs_list(
	struct fs *fs, fs_ref dir, struct fs_entries *entries, struct ramet_error *err)
{
	struct memfs *m = (struct memfs *)fs;
	const char *folder = dir ? m->files[dir].path : "";
	size_t length = strlen(folder);
	*entries = (struct fs_entries){.items = calloc(m->count, sizeof(struct fs_entry))};
	for (size_t i = 1; i < m->count; i++) {
		const char *path = m->files[i].path;
		if (strncmp(path, folder, length) == 0 && path[length] == '/' &&
			!strchr(path + length + 1, '/'))
			entries->items[entries->count++] = (struct fs_entry){
				strdup(path + length + 1), i, memfs_mode(&m->files[i]) & S_IFMT};
	}
	qsort(entries->items, entries->count, sizeof(struct fs_entry), memfs_order);
	return 0;
}

static inline int memfs_read(struct fs *fs, fs_ref ref, uint64_t offset, void *buffer,
	size_t length, size_t *done, struct ramet_error *err)
{
	const struct memfile *f = memfs_file(fs, ref);
	((struct memfs *)fs)->reads++;
	*done = 0;
	for (; *done < length && offset < memfs_size(f); offset++)
		((char *)buffer)[(*done)++] = offset < f->hole ? '\0'
							       : f->content[offset - f->hole];
	return 0;
}

static inline int memfs_readlink(struct fs *fs, fs_ref ref, char **target, struct ramet_error *err)
{
	*target = strdup(memfs_file(fs, ref)->content);
	return 0;
}

static inline int memfs_xattrs(
	struct fs *fs, fs_ref ref, struct fs_xattrs *xattrs, struct ramet_error *err)
{
	const struct memfile *f = memfs_file(fs, ref);
	*xattrs = (struct fs_xattrs){0};
	if (f->xattr) {
		xattrs->items = calloc(1, sizeof *xattrs->items);
		xattrs->items[0] = (struct fs_xattr){
			strdup(f->xattr), strdup(f->value), strlen(f->value)};
		xattrs->count = 1;
	}
	return 0;
}

static inline int memfs_extent(struct fs *fs, fs_ref ref, uint64_t offset, struct fs_extent *extent,
	struct ramet_error *err)
{
	const struct memfile *f = memfs_file(fs, ref);
	if (offset < f->hole)
		*extent = (struct fs_extent){0, f->hole, true, UINT64_MAX};
	else
		*extent = (struct fs_extent){f->hole, memfs_size(f) - f->hole, false, UINT64_MAX};
	return 0;
}

static inline bool memfs_same(struct fs *fs, fs_ref ref, struct fs *other, fs_ref other_ref)
{
	return memfs_file(fs, ref)->same;
}

static inline void memfs_close(struct fs *fs)
{
}

static const struct fs_ops memfs_ops = {"memory", memfs_root, memfs_stat, memfs_list, memfs_read,
	memfs_readlink, memfs_xattrs, memfs_extent, memfs_same, memfs_close};

#define MEMFS(...) \
	((struct memfs){.fs = {&memfs_ops}, \
		.files = (const struct memfile[]){{"/", S_IFDIR | 0755}, __VA_ARGS__}, \
		.count = sizeof((const struct memfile[]){{"/", S_IFDIR | 0755}, __VA_ARGS__}) / \
			 sizeof(struct memfile)})

/* What a form writes of old and new: length bytes at *out, and a NUL. Needs changes/forms.h. */
#ifdef CHANGES_FORMS_H
static inline int memfs_diff(const char *form, struct memfs *old, struct memfs *new,
	const char *const *paths, char **out, size_t *length, struct ramet_diff_result *result,
	struct ramet_error *err)
{
	struct changes_view a = {&old->fs, "the base"}, b = {&new->fs, "the fork"};
	struct changes_limits limits;
	struct changes_options options = {.limits = &limits};
	*result = (struct ramet_diff_result){0};
	*out = NULL;
	int r = changes_limits_parse(paths, &limits, err);
	if (r < 0)
		return r;
	FILE *file = tmpfile();
	r = form_write(form_find(form), fileno(file), "vm-1", &a, &b, &options, result, err);
	if (r == 0) {
		*length = (size_t)lseek(fileno(file), 0, SEEK_END);
		*out = calloc(1, *length + 1);
		if (pread(fileno(file), *out, *length, 0) != (ssize_t)*length)
			r = -EIO;
	}
	fclose(file);
	changes_limits_free(&limits);
	return r;
}
#endif

#endif
