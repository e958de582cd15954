/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pax interchange format, POSIX.1-2017 "pax", sections "pax Header Block" and "ustar
 * Interchange Format"; extended attributes as SCHILY.xattr.NAME (star), sparse files as GNU tar's
 * format 1.0 (GNU tar manual, "Storing Sparse Files").
 *
 * Written here and not by libarchive: that one has its caller hand over the bytes of holes, and a
 * guest can make holes of 2^60 bytes; it converts names by the locale, which a sandbox has not
 * got. A header is 100 lines, and the same tree always gives the same bytes.
 *
 * Names: up to 100 bytes of ASCII stand in the header. Longer ones, and UTF-8 ones, get a record.
 * Bytes that are not UTF-8 stand in the header as they are when they fit, as every tar
 * writes and reads them, or in a record with hdrcharset=BINARY.
 */
#include "changes/pax.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "changes/names.h"

enum { BLOCK = 512 };

struct ustar {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100],
		magic[6], version[2], uname[32], gname[32], major[8], minor[8], prefix[155],
		rest[12];
};
_Static_assert(sizeof(struct ustar) == BLOCK, "a header is one block");

/* "LENGTH KEY=VALUE\n", where LENGTH counts itself. */
void pax_record(struct text *records, const char *key, const void *value, size_t length)
{
	size_t body = strlen(key) + length + 3; /* ' ', '=', '\n' */
	char digits[24];
	size_t total = body, before;
	do {
		before = total;
		total = body + (size_t)snprintf(digits, sizeof digits, "%zu", total);
	} while (total != before);
	text_format(records, "%zu %s=", total, key);
	text_append_bytes(records, value, length);
	text_append(records, "\n");
}

static void record_number(struct text *records, const char *key, uint64_t value)
{
	char digits[24];
	int length = snprintf(digits, sizeof digits, "%" PRIu64, value);
	pax_record(records, key, digits, (size_t)length);
}

/* -1.25 is kept as second -2 and 750,000,000 nanoseconds. */
static void record_time(struct text *records, int64_t seconds, uint32_t nsec)
{
	char digits[48];
	uint64_t whole = seconds < 0 ? -(uint64_t)seconds : (uint64_t)seconds;
	if (seconds < 0 && nsec) {
		whole--;
		nsec = 1000000000 - nsec;
	}
	int length = snprintf(digits, sizeof digits, "%s%" PRIu64 ".%09" PRIu32,
		seconds < 0 ? "-" : "", whole, nsec);
	pax_record(records, "mtime", digits, (size_t)length);
}

static bool is_ascii(const char *name)
{
	for (; *name; name++)
		if ((unsigned char)*name >= 0x80)
			return false;
	return true;
}

static bool is_utf8(const char *name)
{
	for (const unsigned char *p = (const void *)name; *p;) {
		size_t length = utf8_length(p);
		if (length == 0)
			return false;
		p += length;
	}
	return true;
}

static bool fits(const char *name)
{
	return strlen(name) <= sizeof((struct ustar *)0)->name;
}

/* A name that the header's field cannot say, or not so that everyone reads it alike. */
static void record_name(struct text *records, const char *key, const char *name)
{
	if (!fits(name) || (!is_ascii(name) && is_utf8(name)))
		pax_record(records, key, name, strlen(name));
}

static bool needs_binary(const char *name)
{
	return name && !fits(name) && !is_utf8(name);
}

static void entry_records(const struct pax_entry *entry, struct text *records)
{
	if (needs_binary(entry->name) || needs_binary(entry->link))
		pax_record(records, "hdrcharset", "BINARY", 6);
	if (entry->sparse) {
		pax_record(records, "GNU.sparse.major", "1", 1);
		pax_record(records, "GNU.sparse.minor", "0", 1);
		pax_record(records, "GNU.sparse.name", entry->name, strlen(entry->name));
		record_number(records, "GNU.sparse.realsize", entry->real_size);
	} else {
		record_name(records, "path", entry->name);
	}
	if (entry->link)
		record_name(records, "linkpath", entry->link);
	if (entry->uid > 07777777)
		record_number(records, "uid", entry->uid);
	if (entry->gid > 07777777)
		record_number(records, "gid", entry->gid);
	if (entry->size > 077777777777)
		record_number(records, "size", entry->size);
	if (entry->mtime_nsec || entry->mtime < 0 || entry->mtime > 077777777777)
		record_time(records, entry->mtime, entry->mtime_nsec);
}

/* Digits in base 8 that fill the field but for its NUL; 0 for what a record says. */
static void put_octal(char *field, size_t size, uint64_t value)
{
	char digits[32];
	if (value >> ((size - 1) * 3))
		value = 0;
	snprintf(digits, sizeof digits, "%0*" PRIo64, (int)(size - 1), value);
	memcpy(field, digits, size);
}

static void put_name(char *field, size_t size, const char *name)
{
	size_t length = strlen(name);
	memcpy(field, name, length < size ? length : size);
}

static void put_header(struct sink *sink, const struct pax_entry *entry, const char *name)
{
	struct ustar header = {.type = entry->type, .magic = "ustar", .version = {'0', '0'}};
	put_name(header.name, sizeof header.name, name);
	put_octal(header.mode, sizeof header.mode, entry->mode & 07777);
	put_octal(header.uid, sizeof header.uid, entry->uid);
	put_octal(header.gid, sizeof header.gid, entry->gid);
	put_octal(header.size, sizeof header.size, entry->size);
	put_octal(header.mtime, sizeof header.mtime, entry->mtime < 0 ? 0 : (uint64_t)entry->mtime);
	if (entry->link)
		put_name(header.link, sizeof header.link, entry->link);
	put_octal(header.major, sizeof header.major, entry->major);
	put_octal(header.minor, sizeof header.minor, entry->minor);
	memset(header.checksum, ' ', sizeof header.checksum);
	unsigned sum = 0;
	for (size_t i = 0; i < sizeof header; i++)
		sum += ((const unsigned char *)&header)[i];
	put_octal(header.checksum, 7, sum);
	sink_write(sink, &header, sizeof header);
}

/* The name in the header of an entry that has its real one in a record. */
static void pseudo_name(char out[static 100], const char *folder, const char *name)
{
	size_t length = strlen(name);
	while (length && name[length - 1] == '/')
		length--;
	size_t start = length;
	while (start && name[start - 1] != '/')
		start--;
	snprintf(out, 100, "%s/%.*s", folder, (int)(length - start < 80 ? length - start : 80),
		name + start);
}

int pax_header(struct sink *sink, const struct pax_entry *entry, struct text *records,
	struct ramet_error *err)
{
	char name[100];
	entry_records(entry, records);
	if (records->failed)
		return error_memory(err);
	if (records->length) {
		struct pax_entry extended = {.type = 'x', .mode = 0644, .size = records->length};
		pseudo_name(name, "PaxHeaders.0", entry->name);
		put_header(sink, &extended, name);
		sink_write(sink, records->data, records->length);
		pax_pad(sink, records->length);
	}
	if (entry->sparse)
		pseudo_name(name, "GNUSparseFile.0", entry->name);
	put_header(sink, entry, entry->sparse ? name : entry->name);
	return 0;
}

void pax_pad(struct sink *sink, uint64_t size)
{
	static const char zeros[BLOCK];
	sink_write(sink, zeros, (size_t)(-size & (BLOCK - 1)));
}

void pax_end(struct sink *sink)
{
	static const char zeros[2 * BLOCK];
	sink_write(sink, zeros, sizeof zeros);
}
