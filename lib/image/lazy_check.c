/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is this lazy file whole? First the header and the checksums: they find what went wrong by itself.
 * Then what the tables say, for a file may have been made to hurt: nothing in it may lead out of the
 * file, out of the image, out of a source's folder or round in a circle.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/crc32c.h"
#include "image/lazy_inside.h"

#define NSEC_PER_SEC 1000000000U

static int damaged(const char *path, const char *what, struct ramet_error *err)
{
	return error_set(err, EUCLEAN, "%s is damaged: %s; build it anew", path, what);
}

static const size_t entry_bytes[LAZY_PARTS] = {
	[LAZY_PART_METADATA] = LAYOUT_BLOCK,
	[LAZY_PART_EXTENTS] = sizeof(struct lazy_disk_extent),
	[LAZY_PART_FILES] = sizeof(struct lazy_disk_file),
	[LAZY_PART_FOLDERS] = sizeof(struct lazy_disk_folder),
	[LAZY_PART_ROOTS] = sizeof(struct lazy_disk_root),
	[LAZY_PART_NAMES] = 1,
};

static const char *const part_names[LAZY_PARTS] = {
	[LAZY_PART_METADATA] = "metadata",
	[LAZY_PART_EXTENTS] = "table of extents",
	[LAZY_PART_FILES] = "table of files",
	[LAZY_PART_FOLDERS] = "table of folders",
	[LAZY_PART_ROOTS] = "table of roots",
	[LAZY_PART_NAMES] = "names",
};

static int part_damaged(const char *path, const char *before, enum lazy_part part,
	const char *after, struct ramet_error *err)
{
	char what[96];
	snprintf(what, sizeof what, "%s%s%s", before, part_names[part], after);
	return damaged(path, what, err);
}

static int entry_damaged(
	const char *path, const char *what, uint64_t number, struct ramet_error *err)
{
	char sentence[96];
	snprintf(sentence, sizeof sentence, "its %s %llu makes no sense", what,
		(unsigned long long)number);
	return damaged(path, sentence, err);
}

/* A fuzzer cannot make checksums, so they count as right there, as those of the other formats do. */
static bool matches(uint32_t checksum, const void *bytes, size_t length)
{
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
	return true;
#else
	return crc32c(0, bytes, length) == le32toh(checksum);
#endif
}

static int check_part(const struct lazy *lazy, const struct lazy_disk_header *header,
	enum lazy_part part, const char *path, struct ramet_error *err)
{
	const struct lazy_disk_part *entry = &header->parts[part];
	uint64_t offset = le64toh(entry->offset), length = le64toh(entry->length);
	if (offset % LAYOUT_BLOCK || offset < LAZY_HEADER || length % entry_bytes[part] ||
		entry->zero || !range_within(offset, length, INT64_MAX))
		return part_damaged(
			path, "its header has an impossible place for the ", part, "", err);
	unsigned long long end = offset + length;
	if (!range_within(offset, length, lazy->bytes))
		return error_set(err, EUCLEAN,
			"%s is truncated: it has %llu bytes, and should have %llu; build it anew",
			path, (unsigned long long)lazy->bytes, end);
	if (length / entry_bytes[part] > (part == LAZY_PART_EXTENTS ? UINT64_MAX : LAZY_NONE))
		return part_damaged(path, "there is too much of its ", part, "", err);
	if (!matches(entry->checksum, lazy->map + offset, length))
		return part_damaged(path, "the checksum of its ", part, " is wrong", err);
	return 0;
}

/* The version comes before the checksum: it says what the rest means. */
int lazy_check_start(
	const struct lazy_disk_header *header, const char *path, struct ramet_error *err)
{
	if (memcmp(header->magic, LAZY_MAGIC, sizeof header->magic) != 0)
		return error_set(err, EMEDIUMTYPE, "%s is no lazy image", path);
	uint32_t version = le32toh(header->version);
	if (version > LAZY_VERSION)
		return error_set(err, ENOTSUP,
			"%s is of version %u of the lazy format, and this ramet reads up to %d; use "
			"the ramet that wrote it, or build it anew",
			path, version, LAZY_VERSION);
	uint8_t copy[LAZY_HEADER];
	memcpy(copy, header, sizeof copy);
	memset(copy + offsetof(struct lazy_disk_header, checksum), 0, sizeof header->checksum);
	if (!matches(header->checksum, copy, sizeof copy))
		return damaged(path, "the checksum of its header is wrong", err);
	if (version == 0)
		return damaged(path, "it has no version", err);
	for (size_t i = sizeof *header; i < sizeof copy; i++)
		if (copy[i])
			return damaged(path, "its header goes on where it should end", err);
	return 0;
}

static void take_parts(struct lazy *lazy, const struct lazy_disk_header *header)
{
	const struct lazy_disk_part *parts = header->parts;
#define TABLE(part) ((const void *)(lazy->map + le64toh(parts[part].offset)))
#define COUNT(part) (le64toh(parts[part].length) / entry_bytes[part])
	memcpy(lazy->format, header->format, sizeof header->format);
	lazy->image_bytes = le64toh(header->image_bytes);
	lazy->content_bytes = le64toh(header->content_bytes);
	lazy->metadata_offset = le64toh(parts[LAZY_PART_METADATA].offset);
	lazy->metadata_bytes = le64toh(parts[LAZY_PART_METADATA].length);
	lazy->extents = TABLE(LAZY_PART_EXTENTS);
	lazy->extent_count = COUNT(LAZY_PART_EXTENTS);
	lazy->files = TABLE(LAZY_PART_FILES);
	lazy->file_count = (uint32_t)COUNT(LAZY_PART_FILES);
	lazy->folders = TABLE(LAZY_PART_FOLDERS);
	lazy->folder_count = (uint32_t)COUNT(LAZY_PART_FOLDERS);
	lazy->roots = TABLE(LAZY_PART_ROOTS);
	lazy->root_count = (uint32_t)COUNT(LAZY_PART_ROOTS);
	lazy->names = TABLE(LAZY_PART_NAMES);
	lazy->name_bytes = COUNT(LAZY_PART_NAMES);
#undef TABLE
#undef COUNT
}

int lazy_check_header(struct lazy *lazy, const char *path, struct ramet_error *err)
{
	const struct lazy_disk_header *header = (const void *)lazy->map;
	int r = lazy_check_start(header, path, err);
	for (enum lazy_part part = 0; part < LAZY_PARTS && r == 0; part++)
		r = check_part(lazy, header, part, path, err);
	if (r == 0)
		take_parts(lazy, header);
	return r;
}

/* NULL: there is no name. The names end with a NUL, which is checked first. */
static const char *name_at(const struct lazy *lazy, uint32_t offset)
{
	return offset < lazy->name_bytes ? lazy->names + offset : NULL;
}

static bool is_name(const struct lazy *lazy, uint32_t offset)
{
	const char *name = name_at(lazy, le32toh(offset));
	return name && lazy_name_is_good(name);
}

static bool check_extent(const struct lazy *lazy, const struct lazy_disk_extent *extent,
	uint64_t *end, uint64_t *content, uint64_t *metadata)
{
	uint64_t place = le64toh(extent->place), length = le64toh(extent->length);
	uint64_t offset = le64toh(extent->offset);
	uint32_t file = le32toh(extent->file);
	if (place % LAYOUT_BLOCK || offset % LAYOUT_BLOCK || length == 0 || extent->zero ||
		place < *end || !range_within(place, length, lazy->image_bytes))
		return false;
	/* The image ends on a block, so this stays within it. */
	*end = (place + length + LAYOUT_BLOCK - 1) / LAYOUT_BLOCK * LAYOUT_BLOCK;
	if (file != LAZY_NONE) {
		*content += length;
		return file < lazy->file_count &&
		       range_within(offset, length, le64toh(lazy->files[file].size));
	}
	*metadata += length;
	return length % LAYOUT_BLOCK == 0 && offset >= lazy->metadata_offset &&
	       range_within(offset - lazy->metadata_offset, length, lazy->metadata_bytes);
}

static int check_extents(const struct lazy *lazy, const char *path, struct ramet_error *err)
{
	uint64_t end = 0, content = 0, metadata = 0;
	for (uint64_t i = 0; i < lazy->extent_count; i++)
		if (!check_extent(lazy, &lazy->extents[i], &end, &content, &metadata))
			return entry_damaged(path, "extent", i, err);
	if (content != lazy->content_bytes || metadata != lazy->metadata_bytes)
		return damaged(path, "its extents are not as long as it says", err);
	return 0;
}

static bool check_file(const struct lazy *lazy, const struct lazy_disk_file *file)
{
	return le64toh(file->size) <= INT64_MAX && le32toh(file->mtime_nsec) < NSEC_PER_SEC &&
	       le32toh(file->folder) < lazy->folder_count && is_name(lazy, file->name);
}

/* A folder comes after the one that it is in, so no way up can go in a circle. */
static bool check_folder(const struct lazy *lazy, uint32_t index)
{
	const struct lazy_disk_folder *folder = &lazy->folders[index];
	if (le32toh(folder->parent) == LAZY_NONE)
		return le32toh(folder->name) < lazy->root_count;
	return le32toh(folder->parent) < index && is_name(lazy, folder->name);
}

int lazy_check_tables(const struct lazy *lazy, const char *path, struct ramet_error *err)
{
	if (lazy->image_bytes % LAYOUT_BLOCK || lazy->image_bytes > INT64_MAX)
		return damaged(path, "its image is no whole number of blocks", err);
	if (lazy->name_bytes && lazy->names[lazy->name_bytes - 1])
		return damaged(path, "its last name has no end", err);
	for (uint32_t i = 0; i < lazy->root_count; i++) {
		const char *root = name_at(lazy, le32toh(lazy->roots[i].path));
		if (!root || root[0] != '/' || lazy->roots[i].zero)
			return entry_damaged(path, "root", i, err);
	}
	for (uint32_t i = 0; i < lazy->folder_count; i++)
		if (!check_folder(lazy, i))
			return entry_damaged(path, "folder", i, err);
	for (uint32_t i = 0; i < lazy->file_count; i++)
		if (!check_file(lazy, &lazy->files[i]))
			return entry_damaged(path, "file", i, err);
	return check_extents(lazy, path, err);
}
