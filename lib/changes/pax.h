/* SPDX-License-Identifier: Apache-2.0 */
/* Entries of a pax archive: headers, extended records, padding. */
#ifndef CHANGES_PAX_H
#define CHANGES_PAX_H

#include <stdint.h>

#include "base/text.h"
#include "changes/sink.h"

struct pax_entry {
	const char *name; /* no '/' in front; a directory's ends in one */
	const char *link; /* where a link points to, or NULL */
	char type;        /* PAX_* */
	uint32_t mode;    /* permissions */
	uint32_t uid, gid;
	uint64_t size; /* of the data that follow */
	int64_t mtime;
	uint32_t mtime_nsec;
	uint32_t major, minor;
	bool sparse; /* the data begin with a map (format 1.0); real_size is the file's */
	uint64_t real_size;
};
enum {
	PAX_FILE = '0',
	PAX_HARD_LINK = '1',
	PAX_SYMLINK = '2',
	PAX_CHARACTER = '3',
	PAX_BLOCK = '4',
	PAX_DIRECTORY = '5',
	PAX_FIFO = '6',
};
/* What the header's fields for device numbers hold. */
#define PAX_DEVICE_MAX 07777777

/* Add one record to those that an entry is going to have. */
void pax_record(struct text *records, const char *key, const void *value, size_t length);
/* Write the headers: records (it may be empty) and those that the entry itself needs. */
int pax_header(struct sink *sink, const struct pax_entry *entry, struct text *records,
	struct ramet_error *err);
/* Zeros up to the next block, after size bytes of data. */
void pax_pad(struct sink *sink, uint64_t size);
/* The end of the archive. */
void pax_end(struct sink *sink);

#endif
