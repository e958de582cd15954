/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Image formats: one file each for the writer and the reader, one line in the table of image.c.
 */
#ifndef IMAGE_IMAGE_H
#define IMAGE_IMAGE_H

#include "base/error.h"
#include "image/fs.h"

struct tree;
struct layout;

struct image_options {
	const char *compression; /* NULL: the format's default */
	uint64_t size;           /* bytes of the device, 0: as small as the content allows */
	bool plain_directory;    /* the tree is what one folder of the host holds, as it is */
	bool dedupe;             /* erofs: equal chunks of files once */
	/* Content as it is, each file in blocks of its own (layout.h): what can be served lazily. */
	bool plain;
	/* With plain: read no content, but tell where it would stand. NULL: write it. */
	struct layout *layout;
	ramet_progress_fn progress; /* may be NULL */
	void *progress_ctx;
};

struct image_figures {
	uint64_t bytes_read;     /* content really read; holes are not */
	uint64_t image_bytes;    /* the file's length */
	uint64_t omitted_xattrs; /* attributes that the format cannot hold */
	char written_by[64];     /* another program that wrote it: "mkfs.erofs 1.5"; or "" */
};

/*
 * What an image says of itself, without a look at its tree. Strings are "" and numbers 0 where the
 * format has no such thing or the image does not say; bytes of a string are as they stand there.
 */
struct image_facts {
	char version[32];
	char compression[64]; /* "zstd"; "none" for an image that has none */
	uint32_t level;       /* of the compression */
	uint32_t block_size;  /* bytes */
	uint64_t used;        /* bytes that the image takes of the file */
	uint64_t inodes;      /* in use */
	uint64_t fragments;   /* blocks that hold the ends of many files */
	bool has_time, exportable;
	int64_t time; /* when it was made, seconds since the epoch */
	char label[65], uuid[37];
	char features[768];     /* names, a blank between them */
	char journal[32];       /* "clean", "needs recovery", "none" */
	uint64_t journal_bytes; /* its size */
	char state[32];         /* "clean", "not clean", "with errors" */
};

struct image_format {
	const char *name;    /* "squashfs" */
	const char *summary; /* for help: one line */
	/* Write tree into the empty file fd. Reads each source file once, and fails with -ESTALE and
	 * its name when it is not what the walk saw. */
	int (*write)(struct tree *tree, int fd, const struct image_options *options,
		struct image_figures *figures, struct ramet_error *err);
	/* Whether the file looks like this format (its magic). */
	bool (*probe)(int fd);
	/* *bytes: how long an image of this format says it is; a shorter file is truncated. */
	int (*length)(int fd, uint64_t *bytes, struct ramet_error *err);
	/* Open a view. fd is borrowed and must stay open as long as the view. Uses pread() on it and
	 * nothing else that a sandbox would refuse. */
	int (*open)(int fd, struct fs **fs, struct ramet_error *err);
	/* Fill facts, zeroed, from the superblock and what stands next to it. As open(), for fds and
	 * for what is hostile. May be NULL. */
	int (*describe)(int fd, struct image_facts *facts, struct ramet_error *err);
};

/* The table, ended by NULL. */
extern const struct image_format *const image_formats[];

/* By name, or NULL. */
const struct image_format *image_format_find(const char *name);

/*
 * What format is this file? -EMEDIUMTYPE and a sentence for path when it is none, or is shorter
 * than it says.
 */
int image_identify(
	int fd, const char *path, const struct image_format **format, struct ramet_error *err);

/* The formats. */
extern const struct image_format image_squashfs, image_erofs, image_ext4;

#endif
