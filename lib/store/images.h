/* SPDX-License-Identifier: Apache-2.0 */
/* Images in the catalogue. A row is one state of one file: its size, mtime and inode too. */
#ifndef STORE_IMAGES_H
#define STORE_IMAGES_H

#include <sys/stat.h>

#include "store/store.h"

/* One file, and what the catalogue knows of it. */
struct store_image {
	int64_t id; /* 0: not in the catalogue, and the other strings are NULL */
	char *path; /* absolute */
	char *format;
	char *digest;          /* "sha256:HEX" of the file, "" when it was never computed */
	char *process;         /* the default command, JSON; "" for none */
	char *read_only_paths; /* in it, one a line; "" for none */
	int64_t created;       /* when it came into the catalogue; seconds since the epoch */
	bool lazy;             /* the file is a lazy one */
	bool made;             /* as in struct store_image_facts */
	bool owned;            /* it goes with the last fork that stands on it */
	char *plain;           /* as in struct store_layer; NULL also for what has no row */
	struct stat st;        /* of the file now */
};
void store_image_free(struct store_image *image);
#define _cleanup_image_ __attribute__((cleanup(store_image_free)))

/*
 * What the catalogue knows of the file open at fd, called path: id is 0 when it knows nothing. A
 * file that was written anew since, in place or beside, is another one. Errors: of realpath(3), or
 * of the catalogue.
 */
int store_image_find(struct ramet_store *store, int fd, const char *path, struct store_image *image,
	struct ramet_error *err);
/* Give image, found, a row with these facts, as store_image_add does. */
int store_image_insert(struct ramet_store *store, struct store_image *image,
	const struct store_image_facts *facts, struct ramet_error *err);
/* Note the digest of image, found: it was computed of the file that image.st is of. */
int store_image_set_digest(struct ramet_store *store, struct store_image *image, const char *digest,
	struct ramet_error *err);
/* Whether there is this row. */
int store_image_exists(
	struct ramet_store *store, int64_t image, bool *exists, struct ramet_error *err);
/* The lazy image of this row has its bytes in the image of that row, a plain file, too. */
int store_image_set_materialized(
	struct ramet_store *store, int64_t image, int64_t plain, struct ramet_error *err);
/* The images that the image of this row was made to stand on, the bottom one first; none for an
 * image that is whole. The caller frees them. */
int store_image_parents(struct ramet_store *store, int64_t image, struct store_layers *parents,
	struct ramet_error *err);

/* What a fork of these images, the base first, would have for read_only_paths and process (struct
 * store_fork). The caller frees both. */
int store_chain_facts(struct ramet_store *store, const int64_t *images, size_t count,
	char **read_only_paths, char **process, struct ramet_error *err);

/* Forget all that was ever at path, unless a fork, a layer or a lazy image stands on some of it: -EBUSY,
 * and everything stays. *id: the row of what was there last; 0: nothing. */
int store_image_forget(
	struct ramet_store *store, const char *path, int64_t *id, struct ramet_error *err);

/* The names of the forks that stand on it, as base or layer. */
struct store_names {
	char **items;
	size_t count, capacity;
};
int store_image_forks(struct ramet_store *store, int64_t image, struct store_names *names,
	struct ramet_error *err);
void store_names_free(struct store_names *names);
#define _cleanup_names_ __attribute__((cleanup(store_names_free)))

/* Every image in the catalogue. One whose file is gone and that no fork and no layer stands on is
 * forgotten. */
struct store_images {
	struct store_image_row {
		struct ramet_image_info info; /* its strings belong to those below */
		int64_t id;
		char *path, *format, *digest;
	} * items;
	size_t count, capacity;
};
int store_images_list(
	struct ramet_store *store, struct store_images *images, struct ramet_error *err);
void store_images_free(struct store_images *images);
#define _cleanup_images_ __attribute__((cleanup(store_images_free)))

/* "unchanged", "changed" or "missing": the file at path against what a row says of it. */
const char *store_image_state(const char *path, int64_t size, int64_t mtime_ns, int64_t inode);

/* For forks.c: the next image that a statement answers, its columns from first on being LAYER_COLUMNS
 * of an image i. */
#define LAYER_COLUMNS \
	"i.id, i.path, i.format, i.digest, i.size, i.mtime_ns, i.inode, i.lazy, i.made, " \
	"m.path, m.size, m.mtime_ns, m.inode"
enum { LAYER_COLUMN_COUNT = 13 };
/* To be put behind the table i. */
#define LAYER_JOIN " LEFT JOIN image m ON m.id = i.materialized "
struct sqlite3_stmt;
/* Of a row's four columns from first on, the last ones of LAYER_COLUMNS: which file has the bytes of
 * the image at path (struct store_layer's plain). What is there as a plain file is unchanged, whatever
 * happened to the lazy one. -ENOMEM. */
int store_image_plain(struct sqlite3_stmt *row, int first, bool lazy, const char *path,
	const char **state, char **plain);
/* Put what a layer says on what is known of those below it: read_only_paths and process grow. */
int store_layer_facts(char **read_only_paths, char **process, struct sqlite3_stmt *row, int first);
int store_layer_push(
	struct store_layers *layers, struct sqlite3_stmt *row, struct ramet_error *err);

static inline int64_t stat_mtime_ns(const struct stat *st)
{
	return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

#endif
