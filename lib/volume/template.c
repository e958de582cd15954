/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A template is kept in ROOT/templates/ext4-1-SIZE: a header, the extents, their bytes. The number
 * in the name is the version of both this form and what blank.c computes: whoever changes either
 * counts it up. The file is only a cache. It takes its name when it is whole (outfile), and one that
 * is not what it should be, by its CRC, is computed anew.
 *
 *   0   8  "ramet-t1"
 *   8   4  CRC-32C of everything after it
 *  12   4  number of extents
 *  16   8  size of the volume
 *  24   8  offset of the journal's superblock in the volume
 *  32  16  for each extent: offset and length in the volume
 *          the extents' bytes
 *
 * Numbers are in the host's order; a template from another machine fails its checks.
 */
#include "volume/template.h"

#include <errno.h>
#include <ext2fs/ext2fs.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/vector.h"

struct header {
	char magic[8];
	uint32_t crc, count;
	uint64_t size, journal_offset;
};
struct range {
	uint64_t offset, length;
};
enum {
	CRC_START = offsetof(struct header, count),
	FILE_MAX = 64 << 20,        /* the largest is some 20 MiB */
	JOURNAL_UUID_OFFSET = 0x30, /* Documentation/filesystems/ext4/journal.rst, s_uuid */
};
static const char magic[8] = {'r', 'a', 'm', 'e', 't', '-', 't', '1'};

static uint32_t checksum(const char *file, size_t length)
{
	return ext2fs_crc32c_le(~0U, (const unsigned char *)file + CRC_START, length - CRC_START);
}

/* Where length bytes at offset of the volume are in memory; NULL when no extent has them all. */
static uint8_t *locate(const struct template *template, uint64_t offset, uint64_t length)
{
	for (size_t i = 0; i < template->count; i++) {
		const struct template_extent *e = &template->extents[i];
		if (offset >= e->offset && range_within(offset - e->offset, length, e->length))
			return e->data + (offset - e->offset);
	}
	return NULL;
}

/* Point template into its file; false when the file is not a template of that size. */
static bool parse(struct template *template, uint64_t size)
{
	struct header header;
	if (template->file_length < sizeof header)
		return false;
	memcpy(&header, template->file, sizeof header);
	if (memcmp(header.magic, magic, sizeof magic) != 0 || header.size != size ||
		header.crc != checksum(template->file, template->file_length))
		return false;
	uint64_t used = sizeof header + (uint64_t)header.count * sizeof(struct range);
	if (used > template->file_length)
		return false;
	template->extents = calloc(header.count + 1, sizeof *template->extents);
	if (!template->extents)
		return false;
	for (; template->count < header.count; template->count++) {
		struct range range;
		memcpy(&range, template->file + sizeof header + template->count * sizeof range,
			sizeof range);
		if (!range_within(range.offset, range.length, size) ||
			!range_within(used, range.length, template->file_length))
			return false;
		template->extents[template->count] = (struct template_extent){
			range.offset, range.length, (uint8_t *)template->file + used};
		used += range.length;
	}
	template->size = size;
	template->superblock = locate(template, EXT4_SUPER_OFFSET, EXT4_SUPER_SIZE);
	template->journal_uuid = locate(template, header.journal_offset, 1024);
	if (template->journal_uuid)
		template->journal_uuid += JOURNAL_UUID_OFFSET;
	return template->superblock && template->journal_uuid;
}

/* The parts of a sparse file that have data. A hole within some data is kept as zeros. */
static int find_data(int fd, uint64_t size, struct range **ranges, uint32_t *count, uint64_t *total)
{
	struct {
		struct range *items;
		size_t count, capacity;
	} found = {0};
	*total = 0;
	for (off_t at = 0; (uint64_t)at < size;) {
		off_t start = lseek(fd, at, SEEK_DATA);
		if (start < 0 && errno == ENXIO)
			break;
		off_t end = start < 0 ? -1 : lseek(fd, start, SEEK_HOLE);
		struct range *range = end < 0 ? NULL : vector_push(&found);
		if (!range) {
			int code = end < 0 ? errno : ENOMEM;
			vector_free(&found);
			return -code;
		}
		*range = (struct range){(uint64_t)start, (uint64_t)(end - start)};
		*total += range->length;
		at = end;
	}
	*ranges = found.items;
	*count = (uint32_t)found.count;
	return 0;
}

/* Turn the sparse file into the form that is kept. */
static int collect(int fd, uint64_t size, uint64_t journal_offset, char **file, size_t *length)
{
	_cleanup_free_ struct range *ranges = NULL;
	struct header header = {.size = size, .journal_offset = journal_offset};
	uint64_t total;
	memcpy(header.magic, magic, sizeof magic);
	int r = find_data(fd, size, &ranges, &header.count, &total);
	if (r < 0)
		return r;
	size_t used = sizeof header + header.count * sizeof *ranges;
	*length = used + total;
	_cleanup_free_ char *buffer = malloc(*length);
	if (!buffer)
		return -ENOMEM;
	memcpy(buffer, &header, sizeof header);
	if (header.count)
		memcpy(buffer + sizeof header, ranges, header.count * sizeof *ranges);
	for (uint32_t i = 0; i < header.count; i++) {
		ssize_t n = pread_full(fd, buffer + used, ranges[i].length, ranges[i].offset);
		if (n < 0)
			return (int)n;
		used += ranges[i].length;
	}
	uint32_t crc = checksum(buffer, *length);
	memcpy(buffer + offsetof(struct header, crc), &crc, sizeof crc);
	*file = TAKE_PTR(buffer);
	return 0;
}

static int compute(uint64_t size, struct template *template, struct ramet_error *err)
{
	_cleanup_close_ int fd = memfd_create("ramet-blank", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		return error_errno(err, errno, "cannot compute a blank volume");
	uint64_t journal_offset = 0;
	int r = blank_write(fd, size, &journal_offset, err);
	if (r < 0)
		return r;
	r = collect(fd, size, journal_offset, &template->file, &template->file_length);
	if (r < 0)
		return error_errno(err, -r, "cannot compute a blank volume");
	if (!parse(template, size))
		return error_set(err, ENOMEM, "cannot compute a blank volume");
	return 0;
}

/* A template that cannot be kept costs time at the next fork, nothing else. */
static void keep(
	const struct volume_place *place, const char *path, const struct template *template)
{
	if (mkdirat(place->dirfd, "templates", 0755) < 0 && errno != EEXIST)
		return;
	_cleanup_outfile_ struct outfile out;
	if (outfile_open(&out, path, NULL) == 0 &&
		write_full(out.fd, template->file, template->file_length) == 0)
		outfile_publish(&out, NULL);
}

int template_open(const struct volume_place *place, uint64_t size, struct template *template,
	struct ramet_error *err)
{
	*template = (struct template){0};
	_cleanup_free_ char *path = NULL;
	if (asprintf(&path, "%s/templates/ext4-1-%" PRIu64, place->root, size) < 0) {
		path = NULL;
		return error_memory(err);
	}
	if (read_file(AT_FDCWD, path, FILE_MAX, &template->file, &template->file_length) == 0 &&
		parse(template, size))
		return 0;
	template_free(template);
	int r = compute(size, template, err);
	if (r < 0)
		template_free(template);
	else
		keep(place, path, template);
	return r;
}

void template_free(struct template *template)
{
	free(template->file);
	free(template->extents);
	*template = (struct template){0};
}

int template_write(struct template *template, int fd, const struct identity *identity)
{
	superblock_rename(template->superblock, identity, true);
	memcpy(template->journal_uuid, identity->uuid, sizeof identity->uuid);
	int r = 0;
	for (size_t i = 0; r == 0 && i < template->count; i++) {
		const struct template_extent *e = &template->extents[i];
		r = pwrite_full(fd, e->data, e->length, e->offset);
	}
	return r;
}
