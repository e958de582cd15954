/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lookups in a lazy file. The tables are not read into memory but mapped, so that all servers of one
 * file share them, and what is not asked for takes none: after the checks the pages are let go.
 *
 * Everything was checked when it was opened. Somebody may write to the file afterwards all the same,
 * so each number is held against its bound again where it is used. (Whoever cuts the file short ends
 * the process by SIGBUS: one server, of one VM.)
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "image/lazy_inside.h"

#define LONGEST_PATH ((size_t)1 << 20) /* bytes; only a file made to hurt has such a one */

bool lazy_probe(int fd)
{
	char magic[sizeof LAZY_MAGIC - 1];
	return pread_full(fd, magic, sizeof magic, 0) == (ssize_t)sizeof magic &&
	       memcmp(magic, LAZY_MAGIC, sizeof magic) == 0;
}

static int truncated(const char *path, struct ramet_error *err)
{
	return error_set(
		err, EUCLEAN, "%s is truncated: it ends within its header; build it anew", path);
}

int lazy_format_name(
	int fd, const char *path, char name[static LAZY_FORMAT_NAME], struct ramet_error *err)
{
	_Alignas(struct lazy_disk_header) char block[LAZY_HEADER];
	const struct lazy_disk_header *header = (const void *)block;
	ssize_t n = pread_full(fd, block, sizeof block, 0);
	if (n < 0)
		return error_errno(err, (int)-n, "cannot read %s", path);
	if ((size_t)n < sizeof block)
		return truncated(path, err);
	int r = lazy_check_start(header, path, err);
	memcpy(name, header->format, sizeof header->format);
	name[sizeof header->format] = '\0';
	return r;
}

static int map_file(struct lazy *lazy, const char *path, struct ramet_error *err)
{
	struct stat st;
	if (fstat(lazy->fd, &st) < 0)
		return error_errno(err, errno, "cannot look at %s", path);
	if (!S_ISREG(st.st_mode) || !lazy_probe(lazy->fd))
		return error_set(err, EMEDIUMTYPE, "%s is no lazy image", path);
	if (st.st_size < LAZY_HEADER)
		return truncated(path, err);
	lazy->bytes = (uint64_t)st.st_size;
	void *map = mmap(NULL, lazy->bytes, PROT_READ, MAP_SHARED, lazy->fd, 0);
	if (map == MAP_FAILED)
		return error_errno(err, errno, "cannot map %s", path);
	lazy->map = map;
	return 0;
}

static int copy_roots(struct lazy *lazy, struct ramet_error *err)
{
	lazy->root_paths = calloc((size_t)lazy->root_count + 1, sizeof *lazy->root_paths);
	for (uint32_t i = 0; lazy->root_paths && i < lazy->root_count; i++) {
		lazy->root_paths[i] = strdup(lazy->names + le32toh(lazy->roots[i].path));
		if (!lazy->root_paths[i])
			return error_memory(err);
	}
	return lazy->root_paths ? 0 : error_memory(err);
}

int lazy_open(int fd, const char *path, struct lazy **out, struct ramet_error *err)
{
	_cleanup_lazy_ struct lazy *lazy = calloc(1, sizeof *lazy);
	if (!lazy)
		return error_memory(err);
	lazy->fd = fd;
	int r = map_file(lazy, path, err);
	if (r == 0)
		r = lazy_check_header(lazy, path, err);
	if (r == 0)
		r = lazy_check_tables(lazy, path, err);
	if (r == 0)
		r = copy_roots(lazy, err);
	if (r < 0)
		return r;
	lazy_trim(lazy);
	*out = TAKE_PTR(lazy);
	return 0;
}

void lazy_close(struct lazy *lazy)
{
	if (!lazy)
		return;
	for (uint32_t i = 0; lazy->root_paths && i < lazy->root_count; i++)
		free(lazy->root_paths[i]);
	free(lazy->root_paths);
	if (lazy->map)
		munmap((void *)(uintptr_t)lazy->map, lazy->bytes);
	free(lazy);
}

/* The pages stay in the page cache, and come back when they are asked for. */
void lazy_trim(const struct lazy *lazy)
{
	madvise((void *)(uintptr_t)lazy->map, lazy->bytes, MADV_DONTNEED);
}

void lazy_describe(const struct lazy *lazy, struct lazy_facts *facts)
{
	*facts = (struct lazy_facts){
		.format = lazy->format,
		.image_bytes = lazy->image_bytes,
		.content_bytes = lazy->content_bytes,
		.metadata_bytes = lazy->metadata_bytes,
		.roots = lazy->root_count,
		.files = lazy->file_count,
		.extents = lazy->extent_count,
	};
}

void lazy_extent(const struct lazy *lazy, uint64_t index, struct lazy_extent *extent)
{
	const struct lazy_disk_extent *disk = &lazy->extents[index];
	*extent = (struct lazy_extent){
		.place = le64toh(disk->place),
		.length = le64toh(disk->length),
		.offset = le64toh(disk->offset),
		.file = le32toh(disk->file),
	};
	if (extent->file != LAZY_METADATA && extent->file >= lazy->file_count)
		extent->file = LAZY_METADATA;
}

uint64_t lazy_find(const struct lazy *lazy, uint64_t place)
{
	uint64_t low = 0, high = lazy->extent_count;
	while (low < high) {
		uint64_t middle = low + (high - low) / 2;
		const struct lazy_disk_extent *extent = &lazy->extents[middle];
		if (le64toh(extent->place) + le64toh(extent->length) > place)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

/* The folder above, or LAZY_NONE: index is the folder of a root. */
static uint32_t parent_of(const struct lazy *lazy, uint32_t index)
{
	uint32_t parent = le32toh(lazy->folders[index].parent);
	return parent < index ? parent : LAZY_NONE;
}

static uint32_t folder_of(const struct lazy *lazy, const struct lazy_disk_file *file)
{
	uint32_t folder = le32toh(file->folder);
	return MIN(folder, lazy->folder_count - 1);
}

void lazy_file(const struct lazy *lazy, uint32_t index, struct lazy_file *file)
{
	const struct lazy_disk_file *disk = &lazy->files[index];
	uint32_t folder = folder_of(lazy, disk), above;
	while ((above = parent_of(lazy, folder)) != LAZY_NONE)
		folder = above;
	uint32_t root = le32toh(lazy->folders[folder].name);
	*file = (struct lazy_file){
		.root = MIN(root, lazy->root_count - 1),
		.size = le64toh(disk->size),
		.inode = le64toh(disk->inode),
		.mtime = (int64_t)le64toh((uint64_t)disk->mtime),
		.mtime_nsec = le32toh(disk->mtime_nsec),
		.birth = le32toh(disk->birth),
	};
}

/* The name is copied before it is looked at: it does not change any more then. */
static int append_name(const struct lazy *lazy, uint32_t offset, struct text *path)
{
	size_t start = path->length, room = lazy->name_bytes - MIN(offset, lazy->name_bytes);
	text_append_bytes(path, lazy->names + lazy->name_bytes - room,
		strnlen(lazy->names + lazy->name_bytes - room, room));
	if (path->failed)
		return -ENOMEM;
	if (path->length > LONGEST_PATH)
		return -ENAMETOOLONG;
	return lazy_name_is_good(path->data + start) ? 0 : -EUCLEAN;
}

int lazy_file_path(const struct lazy *lazy, uint32_t index, struct text *path)
{
	const struct lazy_disk_file *file = &lazy->files[index];
	VECTOR(uint32_t) above = {0};
	uint32_t folder = folder_of(lazy, file), parent;
	int r = 0;
	for (; r == 0 && (parent = parent_of(lazy, folder)) != LAZY_NONE; folder = parent) {
		uint32_t *name = vector_push(&above);
		if (name)
			*name = le32toh(lazy->folders[folder].name);
		else
			r = -ENOMEM;
	}
	for (size_t i = above.count; i-- > 0 && r == 0;) {
		r = append_name(lazy, above.items[i], path);
		text_append(path, "/");
	}
	vector_free(&above);
	return r == 0 ? append_name(lazy, le32toh(file->name), path) : r;
}

const char *lazy_root(const struct lazy *lazy, uint32_t index)
{
	return lazy->root_paths[index];
}
