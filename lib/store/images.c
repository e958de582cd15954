/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image is a file of the user's, which anything may happen to. A row says which file it was:
 * path, size, time of change in nanoseconds, inode number. A file that was written anew has another
 * row; the forks of the old one stay with the old row, whose state is "changed". The device number
 * is not compared: it may differ after each boot.
 */
#include "store/images.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/vector.h"
#include "store/catalogue.h"

void store_image_free(struct store_image *image)
{
	free(image->path);
	free(image->format);
	*image = (struct store_image){0};
}

const char *store_image_state(const char *path, int64_t size, int64_t mtime_ns, int64_t inode)
{
	struct stat st;
	if (stat(path, &st) < 0)
		return "missing";
	return st.st_size == size && stat_mtime_ns(&st) == mtime_ns && (int64_t)st.st_ino == inode
		       ? "unchanged"
		       : "changed";
}

int store_image_find(struct ramet_store *store, int fd, const char *path, struct store_image *image,
	struct ramet_error *err)
{
	*image = (struct store_image){.path = realpath(path, NULL)};
	if (!image->path || fstat(fd, &image->st) < 0) {
		store_image_free(image);
		return error_errno(err, errno, "cannot open the image %s", path);
	}
	_cleanup_statement_ sqlite3_stmt *query = NULL;
	int r = catalogue_prepare(store, &query, err,
		"SELECT id, format FROM image WHERE path = ? AND size = ? AND mtime_ns = ? AND "
		"inode = ?",
		"siii", image->path, (int64_t)image->st.st_size, stat_mtime_ns(&image->st),
		(int64_t)image->st.st_ino);
	if (r == 0)
		r = catalogue_step(store, query, err);
	if (r > 0) {
		image->id = sqlite3_column_int64(query, 0);
		image->format = catalogue_text(query, 1);
		if (!image->format)
			r = error_memory(err);
	}
	if (r < 0)
		store_image_free(image);
	return MIN(r, 0);
}

int store_image_insert(struct ramet_store *store, struct store_image *image, const char *format,
	const char *read_only_paths, struct ramet_error *err)
{
	_cleanup_transaction_ struct transaction transaction;
	int r = transaction_begin(&transaction, store, false, err);
	if (r < 0)
		return r;
	/* What stood at this path before and has no forks is nobody's any more. */
	r = catalogue_run(store, err,
		"DELETE FROM image WHERE path = ?1 AND NOT (size = ?2 AND mtime_ns = ?3 AND inode = ?4) "
		"AND id NOT IN (SELECT image FROM fork)",
		"siii", image->path, (int64_t)image->st.st_size, stat_mtime_ns(&image->st),
		(int64_t)image->st.st_ino);
	if (r < 0)
		return r;
	r = catalogue_number(store, &image->id, err,
		"INSERT INTO image(path, format, size, mtime_ns, inode, read_only_paths, created) "
		"VALUES(?, ?, ?, ?, ?, ifnull(?, ''), ?) ON CONFLICT(path, size, mtime_ns, inode) "
		"DO UPDATE SET format = excluded.format, read_only_paths = excluded.read_only_paths "
		"RETURNING id",
		"ssiiisi", image->path, format, (int64_t)image->st.st_size,
		stat_mtime_ns(&image->st), (int64_t)image->st.st_ino, read_only_paths,
		(int64_t)time(NULL));
	if (r < 0)
		return r;
	free(image->format);
	image->format = strdup(format);
	if (!image->format)
		return error_memory(err);
	return transaction_commit(&transaction, err);
}

int store_image_add(struct ramet_store *store, const char *path, const char *format,
	const char *read_only_paths, struct ramet_error *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_errno(err, errno, "cannot open the image %s", path);
	_cleanup_image_ struct store_image image = {0};
	int r = store_image_find(store, fd, path, &image, err);
	return r < 0 ? r : store_image_insert(store, &image, format, read_only_paths, err);
}

void store_images_free(struct store_images *images)
{
	for (size_t i = 0; i < images->count; i++) {
		free(images->items[i].path);
		free(images->items[i].format);
	}
	vector_free(images);
}

static int read_row(sqlite3_stmt *row, struct store_image_row *image, struct ramet_error *err)
{
	*image = (struct store_image_row){
		.id = sqlite3_column_int64(row, 0),
		.path = catalogue_text(row, 1),
		.format = catalogue_text(row, 2),
	};
	if (!image->path || !image->format)
		return error_memory(err);
	image->info = (struct ramet_image_info){
		.path = image->path,
		.format = image->format,
		.size = (uint64_t)sqlite3_column_int64(row, 3),
		.state = store_image_state(image->path, sqlite3_column_int64(row, 3),
			sqlite3_column_int64(row, 4), sqlite3_column_int64(row, 5)),
		.created = sqlite3_column_int64(row, 6),
		.forks = (uint64_t)sqlite3_column_int64(row, 7),
	};
	return 0;
}

/* Without a fork, by the catalogue's word at the moment of the removal. */
static int forget(struct ramet_store *store, int64_t id, struct ramet_error *err)
{
	return catalogue_run(store, err,
		"DELETE FROM image WHERE id = ?1 AND NOT EXISTS "
		"(SELECT 1 FROM fork WHERE image = ?1)",
		"i", id);
}

static int forget_gone(
	struct ramet_store *store, struct store_images *images, struct ramet_error *err)
{
	size_t kept = 0;
	int r = 0;
	for (size_t i = 0; i < images->count; i++) {
		struct store_image_row image = images->items[i];
		if (r == 0 && image.info.forks == 0 && strcmp(image.info.state, "missing") == 0) {
			r = forget(store, image.id, err);
			free(image.path);
			free(image.format);
		} else {
			images->items[kept++] = image;
		}
	}
	images->count = kept;
	return r;
}

int store_images_list(
	struct ramet_store *store, struct store_images *images, struct ramet_error *err)
{
	*images = (struct store_images){0};
	_cleanup_statement_ sqlite3_stmt *query = NULL;
	int r = catalogue_prepare(store, &query, err,
		"SELECT id, path, format, size, mtime_ns, inode, created, "
		"(SELECT count(*) FROM fork WHERE image = image.id AND state = 'ready') "
		"FROM image ORDER BY path, created, id",
		"");
	while (r == 0 && (r = catalogue_step(store, query, err)) > 0) {
		struct store_image_row *image = vector_push(images);
		r = image ? read_row(query, image, err) : error_memory(err);
	}
	sqlite3_reset(query);
	if (r == 0)
		r = forget_gone(store, images, err);
	if (r < 0)
		store_images_free(images);
	return r;
}
