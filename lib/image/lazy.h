/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lazy file: a layout on disk. The image's metadata, and a table that says where in which source
 * file each run of content is, with what the walk saw of that file (docs/formats.md has it byte for
 * byte). Everything in it is checked when it is opened; from then on lookups cannot fail. Their indexes
 * must be those of lazy_describe() and of extents.
 *
 * A struct lazy may be read by many threads at once.
 */
#ifndef IMAGE_LAZY_H
#define IMAGE_LAZY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "image/layout.h"

struct lazy_figures {
	uint64_t metadata_bytes; /* of the image */
	uint64_t table_bytes;    /* what else the lazy file has */
	uint64_t content_bytes;  /* that the image points to */
	uint64_t files, extents;
};

/*
 * Write the lazy file into the empty file out: the metadata are what is not zero in the file spool
 * (where the format's writer put them), the runs those of layout, whose tree is finished. Uses the
 * nodes' number. format: "squashfs". figures may be NULL.
 * Errors: EOPNOTSUPP (content that is not in files of the host: an archive's), ESTALE (a source was
 * moved meanwhile), EIO (the spool cannot be that layout's), EFBIG, ENOSPC.
 */
int lazy_write(int out, int spool, const struct layout *layout, struct tree *tree,
	const char *format, struct lazy_figures *figures, struct ramet_error *err);

struct lazy;

/* Whether the file looks like one (its magic). */
bool lazy_probe(int fd);
/* The format of the image that a lazy file describes, from its header alone. Errors as lazy_open. */
#define LAZY_FORMAT_NAME 17
int lazy_format_name(
	int fd, const char *path, char name[static LAZY_FORMAT_NAME], struct ramet_error *err);
/* fd is borrowed and stays open as long as the lazy; path is for messages. The whole file is read
 * once, for its checksums. -EUCLEAN: damaged or truncated; -ENOTSUP: of a newer version. */
int lazy_open(int fd, const char *path, struct lazy **lazy, struct ramet_error *err);
void lazy_close(struct lazy *lazy); /* NULL is fine */
static inline void lazy_closep(struct lazy **lazy)
{
	lazy_close(*lazy);
}
#define _cleanup_lazy_ __attribute__((cleanup(lazy_closep)))

/* Let go of the pages of the tables that were looked at: they stay in the page cache, but are not
 * counted as this process's. At any time, from any thread; worth it when nothing was asked for a
 * while. */
void lazy_trim(const struct lazy *lazy);

struct lazy_facts {
	const char *format;   /* "squashfs": lives as long as the lazy */
	uint64_t image_bytes; /* of the device */
	uint64_t content_bytes, metadata_bytes;
	uint32_t roots, files;
	uint64_t extents;
};
void lazy_describe(const struct lazy *lazy, struct lazy_facts *facts);

#define LAZY_METADATA UINT32_MAX /* the file of an extent that stands in the lazy file itself */
struct lazy_extent {
	uint64_t place, length; /* in the image */
	uint64_t offset;        /* in the file */
	uint32_t file;
};
/* The extents, sorted by place, without overlaps. What lies between them is zeros. */
void lazy_extent(const struct lazy *lazy, uint64_t index, struct lazy_extent *extent);
/* The first extent that ends after place; facts.extents when there is none. */
uint64_t lazy_find(const struct lazy *lazy, uint64_t place);

/* What the walk saw of a source file. */
struct lazy_file {
	uint32_t root; /* which of the roots it is under */
	uint64_t size, inode;
	int64_t mtime; /* as tree_time() has it */
	uint32_t mtime_nsec;
	uint32_t birth; /* as tree_birth() has it */
};
void lazy_file(const struct lazy *lazy, uint32_t index, struct lazy_file *file);
/* Append its path below the root: relative, no ".." in it, and perhaps longer than PATH_MAX. -ENOMEM;
 * -EUCLEAN, -ENAMETOOLONG: only when somebody changed the lazy file since it was opened. */
int lazy_file_path(const struct lazy *lazy, uint32_t index, struct text *path);
/* A root: an absolute path of the host. Lives as long as the lazy. */
const char *lazy_root(const struct lazy *lazy, uint32_t index);

#endif
