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
#include "base/text.h"
#include "base/vector.h"
#include "store/catalogue.h"

/* Whether a fork or a layer stands on the image of table `image`. */
#define IN_USE \
	"(EXISTS (SELECT 1 FROM fork WHERE fork.image = image.id) OR " \
	"EXISTS (SELECT 1 FROM fork_layer WHERE fork_layer.image = image.id) OR " \
	"EXISTS (SELECT 1 FROM image_parent WHERE image_parent.parent = image.id) OR " \
	"EXISTS (SELECT 1 FROM image other WHERE other.materialized = image.id))"

void store_image_free(struct store_image *image)
{
	free(image->path);
	free(image->format);
	free(image->digest);
	free(image->process);
	free(image->read_only_paths);
	free(image->plain);
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
		"SELECT i.id, i.format, i.digest, i.process, i.read_only_paths, i.created, "
		"i.owned, i.lazy, i.made, m.path, m.size, m.mtime_ns, m.inode FROM image i " LAYER_JOIN
		"WHERE i.path = ? AND i.size = ? AND i.mtime_ns = ? AND i.inode = ?",
		"siii", image->path, (int64_t)image->st.st_size, stat_mtime_ns(&image->st),
		(int64_t)image->st.st_ino);
	if (r == 0)
		r = catalogue_step(store, query, err);
	if (r > 0) {
		image->id = sqlite3_column_int64(query, 0);
		image->format = catalogue_text(query, 1);
		image->digest = catalogue_text(query, 2);
		image->process = catalogue_text(query, 3);
		image->read_only_paths = catalogue_text(query, 4);
		image->created = sqlite3_column_int64(query, 5);
		image->owned = sqlite3_column_int(query, 6);
		image->lazy = sqlite3_column_int(query, 7);
		image->made = sqlite3_column_int(query, 8);
		const char *state;
		if (!image->format || !image->digest || !image->process ||
			!image->read_only_paths ||
			store_image_plain(
				query, 9, image->lazy, image->path, &state, &image->plain) < 0)
			r = error_memory(err);
	}
	if (r < 0)
		store_image_free(image);
	return MIN(r, 0);
}

static int note_parents(struct ramet_store *store, const struct store_image *image,
	const struct store_image_facts *facts, struct ramet_error *err)
{
	int r = catalogue_run(
		store, err, "DELETE FROM image_parent WHERE image = ?", "i", image->id);
	for (size_t i = 0; r == 0 && i < facts->parent_count; i++)
		r = catalogue_run(store, err, "INSERT INTO image_parent VALUES(?, ?, ?)", "iii",
			image->id, (int64_t)i, facts->parents[i]);
	return r;
}

static int note_facts(struct ramet_store *store, struct store_image *image,
	const struct store_image_facts *facts, struct ramet_error *err)
{
	int64_t size = image->st.st_size, inode = (int64_t)image->st.st_ino;
	/* What stood at this path before and that nothing stands on is nobody's any more. */
	int r = catalogue_run(store, err,
		"DELETE FROM image WHERE path = ?1 AND NOT (size = ?2 AND mtime_ns = ?3 AND inode = ?4) "
		"AND NOT " IN_USE,
		"siii", image->path, size, stat_mtime_ns(&image->st), inode);
	if (r < 0)
		return r;
	r = catalogue_number(store, &image->id, err,
		"INSERT INTO image(path, format, size, mtime_ns, inode, read_only_paths, created, "
		"process, digest, lazy, made, owned) "
		"VALUES(?, ?, ?, ?, ?, ifnull(?, ''), ?, ifnull(?, ''), ifnull(?, ''), ?, ?, ?) "
		"ON CONFLICT(path, size, mtime_ns, inode) "
		"DO UPDATE SET format = excluded.format, read_only_paths = excluded.read_only_paths, "
		"lazy = excluded.lazy, made = max(made, excluded.made), owned = max(owned, excluded.owned), "
		"process = excluded.process, digest = ifnull(nullif(excluded.digest, ''), digest) "
		"RETURNING id",
		"ssiiisissiii", image->path, facts->format, size, stat_mtime_ns(&image->st), inode,
		facts->read_only_paths, (int64_t)time(NULL), facts->process, facts->digest,
		(int64_t)facts->lazy, (int64_t)facts->made, (int64_t)facts->owned);
	return r < 0 ? r : note_parents(store, image, facts, err);
}

static int replace(char **string, const char *with)
{
	free(*string);
	*string = strdup(with ? with : "");
	return *string ? 0 : -ENOMEM;
}

int store_image_insert(struct ramet_store *store, struct store_image *image,
	const struct store_image_facts *facts, struct ramet_error *err)
{
	_cleanup_transaction_ struct transaction transaction;
	int r = transaction_begin(&transaction, store, false, err);
	if (r == 0)
		r = note_facts(store, image, facts, err);
	if (r < 0)
		return r;
	if (replace(&image->format, facts->format) < 0 ||
		replace(&image->process, facts->process) < 0 ||
		((facts->digest || !image->digest) && replace(&image->digest, facts->digest) < 0))
		return error_memory(err);
	image->lazy = facts->lazy;
	image->owned = facts->owned;
	return transaction_commit(&transaction, err);
}

int store_image_add(struct ramet_store *store, const char *path,
	const struct store_image_facts *facts, struct ramet_error *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_errno(err, errno, "cannot open the image %s", path);
	_cleanup_image_ struct store_image image = {0};
	int r = store_image_find(store, fd, path, &image, err);
	return r < 0 ? r : store_image_insert(store, &image, facts, err);
}

int store_image_set_digest(struct ramet_store *store, struct store_image *image, const char *digest,
	struct ramet_error *err)
{
	_cleanup_transaction_ struct transaction transaction;
	int r = transaction_begin(&transaction, store, false, err);
	if (r == 0)
		r = catalogue_run(store, err, "UPDATE image SET digest = ? WHERE id = ?", "si",
			digest, image->id);
	if (r == 0 && replace(&image->digest, digest) < 0)
		r = error_memory(err);
	return r < 0 ? r : transaction_commit(&transaction, err);
}

int store_image_exists(
	struct ramet_store *store, int64_t image, bool *exists, struct ramet_error *err)
{
	int64_t count = 0;
	int r = catalogue_number(
		store, &count, err, "SELECT count(*) FROM image WHERE id = ?", "i", image);
	*exists = count;
	return r;
}

int store_image_set_materialized(
	struct ramet_store *store, int64_t image, int64_t plain, struct ramet_error *err)
{
	_cleanup_transaction_ struct transaction transaction;
	int r = transaction_begin(&transaction, store, true, err);
	if (r == 0)
		r = catalogue_run(store, err, "UPDATE image SET materialized = ? WHERE id = ?",
			"ii", plain, image);
	return r < 0 ? r : transaction_commit(&transaction, err);
}

int store_image_forget(
	struct ramet_store *store, const char *path, int64_t *id, struct ramet_error *err)
{
	_cleanup_transaction_ struct transaction transaction;
	int64_t used = 0;
	int r = transaction_begin(&transaction, store, false, err);
	if (r == 0)
		r = catalogue_number(store, &used, err,
			"SELECT count(*) FROM image WHERE path = ? AND " IN_USE, "s", path);
	if (r == 0 && used)
		r = error_set(err, EBUSY, "something stands on the image %s", path);
	if (r == 0)
		r = catalogue_number(store, id, err,
			"SELECT coalesce(max(id), 0) FROM image WHERE path = ?", "s", path);
	if (r == 0)
		r = catalogue_run(store, err, "DELETE FROM image WHERE path = ?", "s", path);
	return r < 0 ? r : transaction_commit(&transaction, err);
}

void store_images_free(struct store_images *images)
{
	for (size_t i = 0; i < images->count; i++) {
		free(images->items[i].path);
		free(images->items[i].format);
		free(images->items[i].digest);
	}
	vector_free(images);
}

static int read_row(sqlite3_stmt *row, struct store_image_row *image, struct ramet_error *err)
{
	*image = (struct store_image_row){
		.id = sqlite3_column_int64(row, 0),
		.path = catalogue_text(row, 1),
		.format = catalogue_text(row, 2),
		.digest = catalogue_text(row, 8),
	};
	if (!image->path || !image->format || !image->digest)
		return error_memory(err);
	image->info = (struct ramet_image_info){
		.path = image->path,
		.format = image->format,
		.size = (uint64_t)sqlite3_column_int64(row, 3),
		.state = store_image_state(image->path, sqlite3_column_int64(row, 3),
			sqlite3_column_int64(row, 4), sqlite3_column_int64(row, 5)),
		.created = sqlite3_column_int64(row, 6),
		.forks = (uint64_t)sqlite3_column_int64(row, 7),
		.digest = image->digest,
	};
	return 0;
}

/* If nothing stands on it, by the catalogue's word at the moment of the removal. */
static int forget(struct ramet_store *store, int64_t id, bool *gone, struct ramet_error *err)
{
	int r = catalogue_run(
		store, err, "DELETE FROM image WHERE id = ? AND NOT " IN_USE, "i", id);
	*gone = r == 0 && sqlite3_changes(store->db) > 0;
	return r;
}

/* One pass; *some: images were forgotten, and what they stood on may be free now. */
static int forget_gone(
	struct ramet_store *store, struct store_images *images, bool *some, struct ramet_error *err)
{
	size_t kept = 0;
	int r = 0;
	*some = false;
	for (size_t i = 0; i < images->count; i++) {
		struct store_image_row image = images->items[i];
		bool gone = false;
		if (r == 0 && image.info.forks == 0 && strcmp(image.info.state, "missing") == 0)
			r = forget(store, image.id, &gone, err);
		if (gone) {
			free(image.path);
			free(image.format);
			free(image.digest);
			*some = true;
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
		"(SELECT count(*) FROM fork f WHERE f.image = image.id AND f.state = 'ready') + "
		"(SELECT count(*) FROM fork_layer l JOIN fork f ON f.id = l.fork "
		"WHERE l.image = image.id AND f.state = 'ready'), digest "
		"FROM image ORDER BY path, created, id",
		"");
	while (r == 0 && (r = catalogue_step(store, query, err)) > 0) {
		struct store_image_row *image = vector_push(images);
		r = image ? read_row(query, image, err) : error_memory(err);
	}
	sqlite3_reset(query);
	for (bool some = true; r == 0 && some;)
		r = forget_gone(store, images, &some, err);
	if (r < 0)
		store_images_free(images);
	return r;
}

/* A layer's maker knew all that is below it, so its list of read-only paths is the whole one; one
 * of which nobody knows what it was made for only adds to it. */
int store_layer_facts(char **read_only_paths, char **process, sqlite3_stmt *row, int first)
{
	const char *paths = (const char *)sqlite3_column_text(row, first);
	const char *command = (const char *)sqlite3_column_text(row, first + 1);
	bool has_parents = sqlite3_column_int(row, first + 2);
	if (!paths || !command)
		return -ENOMEM;
	_cleanup_text_ struct text all = {0};
	text_append(&all, has_parents ? "" : *read_only_paths);
	text_append(&all, paths);
	if (all.failed || (*command && replace(process, command) < 0))
		return -ENOMEM;
	free(*read_only_paths);
	*read_only_paths = TAKE_PTR(all.data);
	return 0;
}

int store_chain_facts(struct ramet_store *store, const int64_t *images, size_t count,
	char **read_only_paths, char **process, struct ramet_error *err)
{
	_cleanup_free_ char *paths = strdup("");
	_cleanup_free_ char *command = strdup("");
	_cleanup_statement_ sqlite3_stmt *query = NULL;
	if (!paths || !command)
		return error_memory(err);
	int r = catalogue_prepare(store, &query, err,
		"SELECT read_only_paths, process, EXISTS (SELECT 1 FROM image_parent WHERE image = id)"
		" FROM image WHERE id = ?",
		"");
	for (size_t i = 0; i < count && r == 0; i++) {
		sqlite3_reset(query);
		sqlite3_bind_int64(query, 1, images[i]);
		r = catalogue_step(store, query, err);
		if (r > 0)
			r = store_layer_facts(&paths, &command, query, 0) < 0 ? error_memory(err)
									      : 0;
	}
	if (r < 0)
		return r;
	*read_only_paths = TAKE_PTR(paths);
	*process = TAKE_PTR(command);
	return 0;
}

void store_layers_free(struct store_layers *layers)
{
	for (size_t i = 0; i < layers->count; i++) {
		free(layers->items[i].path);
		free(layers->items[i].format);
		free(layers->items[i].digest);
		free(layers->items[i].plain);
	}
	vector_free(layers);
}

int store_layer_push(struct store_layers *layers, sqlite3_stmt *row, struct ramet_error *err)
{
	struct store_layer *layer = vector_push(layers);
	if (!layer)
		return error_memory(err);
	*layer = (struct store_layer){
		.image = sqlite3_column_int64(row, 0),
		.path = catalogue_text(row, 1),
		.format = catalogue_text(row, 2),
		.digest = catalogue_text(row, 3),
	};
	if (!layer->path || !layer->format || !layer->digest)
		return error_memory(err);
	layer->state = store_image_state(layer->path, sqlite3_column_int64(row, 4),
		sqlite3_column_int64(row, 5), sqlite3_column_int64(row, 6));
	layer->lazy = sqlite3_column_int(row, 7);
	layer->made = sqlite3_column_int(row, 8);
	return store_image_plain(row, 9, layer->lazy, layer->path, &layer->state, &layer->plain) < 0
		       ? error_memory(err)
		       : 0;
}

int store_image_plain(
	sqlite3_stmt *row, int first, bool lazy, const char *path, const char **state, char **plain)
{
	if (!lazy) {
		*plain = strdup(path);
		return *plain ? 0 : -ENOMEM;
	}
	const char *file = (const char *)sqlite3_column_text(row, first);
	*plain = NULL;
	if (!file || strcmp(store_image_state(file, sqlite3_column_int64(row, first + 1),
				    sqlite3_column_int64(row, first + 2),
				    sqlite3_column_int64(row, first + 3)),
			     "unchanged") != 0)
		return 0;
	*state = "unchanged";
	*plain = strdup(file);
	return *plain ? 0 : -ENOMEM;
}

int store_image_parents(struct ramet_store *store, int64_t image, struct store_layers *parents,
	struct ramet_error *err)
{
	*parents = (struct store_layers){0};
	_cleanup_statement_ sqlite3_stmt *query = NULL;
	int r = catalogue_prepare(store, &query, err,
		"SELECT " LAYER_COLUMNS
		" FROM image_parent p JOIN image i ON i.id = p.parent " LAYER_JOIN
		"WHERE p.image = ? ORDER BY p.position",
		"i", image);
	while (r == 0 && (r = catalogue_step(store, query, err)) > 0)
		r = store_layer_push(parents, query, err);
	if (r < 0)
		store_layers_free(parents);
	return r;
}

void store_names_free(struct store_names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->items[i]);
	vector_free(names);
}

int store_image_forks(struct ramet_store *store, int64_t image, struct store_names *names,
	struct ramet_error *err)
{
	*names = (struct store_names){0};
	_cleanup_statement_ sqlite3_stmt *query = NULL;
	int r = catalogue_prepare(store, &query, err,
		"SELECT name FROM fork WHERE state = 'ready' AND (image = ?1 OR "
		"id IN (SELECT fork FROM fork_layer WHERE image = ?1)) ORDER BY name",
		"i", image);
	while (r == 0 && (r = catalogue_step(store, query, err)) > 0) {
		char **name = vector_push(names);
		if (name)
			*name = catalogue_text(query, 0);
		r = name && *name ? 0 : error_memory(err);
	}
	if (r < 0)
		store_names_free(names);
	return r;
}
