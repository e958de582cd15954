/* SPDX-License-Identifier: Apache-2.0 */
/*
 * user_version is the schema's version, application_id says that the database is ramet's.
 *
 * A version is a step from the one before, and a new catalogue takes all steps: so there is one
 * way to the tables of today, and a catalogue that was brought up to date is the same as a new one.
 * A step is never changed once a ramet that has it was used; what comes later is one more step.
 *
 * Each step is good for a ramet of the version before that has the catalogue open meanwhile, and
 * goes on with statements that name its own columns: what it inserts gets the defaults.
 *
 * Every table is STRICT where SQLite knows it (3.37). AUTOINCREMENT: an id is never used again, so a
 * process that looked a fork up cannot take a newer one of the same name for it.
 */
#include "store/schema.h"

#include <errno.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "store/catalogue.h"

enum { APPLICATION_ID = 0x72616d74 /* "ramt" */ };

/* The step to version N is steps[N - 1]. A '%' stands for STRICT. */
static const char *const steps[] = {
	"CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) %;"
	"CREATE TABLE batch(last INTEGER NOT NULL) %;"
	"INSERT INTO batch VALUES(0);"
	"CREATE TABLE image(id INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT NOT NULL,"
	" format TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,"
	" inode INTEGER NOT NULL, read_only_paths TEXT NOT NULL, created INTEGER NOT NULL,"
	" UNIQUE(path, size, mtime_ns, inode)) %;"
	"CREATE TABLE fork(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,"
	" image INTEGER NOT NULL REFERENCES image(id), mode TEXT NOT NULL, provider TEXT NOT NULL,"
	" size INTEGER NOT NULL, created INTEGER NOT NULL,"
	" state TEXT NOT NULL CHECK(state IN ('making', 'ready', 'removing')),"
	" batch INTEGER NOT NULL) %;"
	"CREATE TABLE removed(name TEXT PRIMARY KEY) %;"
	"CREATE INDEX fork_image ON fork(image);"
	"CREATE INDEX fork_unfinished ON fork(batch) WHERE state != 'ready';",

	/* digest: "sha256:HEX" of the file. process: the default command, JSON. image_parent: the
	 * images that a layer was made to stand on, from position 0, the bottom one. fork_layer:
	 * the images above fork.image, from position 1. */
	"ALTER TABLE image ADD COLUMN digest TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE image ADD COLUMN process TEXT NOT NULL DEFAULT '';"
	"CREATE TABLE image_parent(image INTEGER NOT NULL REFERENCES image(id) ON DELETE CASCADE,"
	" position INTEGER NOT NULL, parent INTEGER NOT NULL REFERENCES image(id),"
	" PRIMARY KEY(image, position)) %;"
	"CREATE INDEX image_parent_parent ON image_parent(parent);"
	"CREATE TABLE fork_layer(fork INTEGER NOT NULL REFERENCES fork(id) ON DELETE CASCADE,"
	" position INTEGER NOT NULL, image INTEGER NOT NULL REFERENCES image(id),"
	" PRIMARY KEY(fork, position)) %;"
	"CREATE INDEX fork_layer_image ON fork_layer(image);",

	/* lazy: the file is a lazy file, of an image of this format. materialized: the image with
	 * the same bytes, as a plain file. made: the file was written by this store's ramet, so what
	 * it says of the host's folders is true. owned: it was made for the forks that stand on it,
	 * and goes with the last of them. */
	"ALTER TABLE image ADD COLUMN lazy INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE image ADD COLUMN materialized INTEGER REFERENCES image(id);"
	"ALTER TABLE image ADD COLUMN made INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE image ADD COLUMN owned INTEGER NOT NULL DEFAULT 0;",

	/* image_root: where the folder is now that a lazy file has under this number, from 0, if it is
	 * not where the file says. */
	"CREATE TABLE image_root(image INTEGER NOT NULL REFERENCES image(id) ON DELETE CASCADE,"
	" number INTEGER NOT NULL, path TEXT NOT NULL, PRIMARY KEY(image, number)) %;",
};
enum { SCHEMA_VERSION = ARRAY_SIZE(steps) };

static int version_read(struct ramet_store *store, int64_t *version, struct ramet_error *err)
{
	return catalogue_number(store, version, err, "PRAGMA user_version", "");
}

static void append_step(struct text *sql, const char *step)
{
	const char *strict = sqlite3_libversion_number() >= 3037000 ? "STRICT" : "";
	for (const char *mark; (mark = strchr(step, '%')); step = mark + 1) {
		text_append_bytes(sql, step, (size_t)(mark - step));
		text_append(sql, strict);
	}
	text_append(sql, step);
}

static int take_steps(struct ramet_store *store, int64_t version, struct ramet_error *err)
{
	_cleanup_text_ struct text sql = {0};
	for (int64_t step = version; step < SCHEMA_VERSION; step++)
		append_step(&sql, steps[step]);
	text_format(&sql, "PRAGMA application_id = %d; PRAGMA user_version = %d;", APPLICATION_ID,
		SCHEMA_VERSION);
	return sql.failed ? error_memory(err) : catalogue_execute(store, sql.data, err);
}

/* Looked at again inside of the transaction: another process may have been quicker. */
static int upgrade(struct ramet_store *store, struct ramet_error *err)
{
	_cleanup_transaction_ struct transaction transaction;
	int64_t version = 0;
	int r = transaction_begin(&transaction, store, true, err);
	if (r == 0)
		r = version_read(store, &version, err);
	if (r == 0 && version < SCHEMA_VERSION)
		r = take_steps(store, version, err);
	return r < 0 ? r : transaction_commit(&transaction, err);
}

static int create_tables(struct ramet_store *store, struct ramet_error *err)
{
	int r = catalogue_execute(store, "PRAGMA journal_mode = WAL", err);
	if (r == 0)
		r = upgrade(store, err);
	/* From here on the catalogue must not vanish with the power: forks will stand on it. */
	if (r == 0 && fsync(store->dirfd) < 0)
		r = error_errno(err, errno, "cannot write the folder %s to its disk", store->root);
	return r;
}

/* Two processes that open a new store at once: the lock on its folder lets one make the tables. */
static int create_once(struct ramet_store *store, struct ramet_error *err)
{
	if (flock(store->dirfd, LOCK_EX) < 0)
		return error_errno(err, errno, "cannot lock the folder %s", store->root);
	int64_t version = 0;
	int r = version_read(store, &version, err);
	if (r == 0 && version == 0)
		r = create_tables(store, err);
	flock(store->dirfd, LOCK_UN);
	return r;
}

static int check_version(struct ramet_store *store, int64_t *version, struct ramet_error *err)
{
	int64_t application = 0;
	int r = version_read(store, version, err);
	if (r == 0)
		r = catalogue_number(store, &application, err, "PRAGMA application_id", "");
	if (r < 0)
		return r;
	if (*version < 0 || (*version > 0 && application != APPLICATION_ID))
		return error_set(err, EUCLEAN,
			"%s/catalogue.db is not a catalogue of ramet; name another store with "
			"--root",
			store->root);
	if (*version > SCHEMA_VERSION)
		return error_set(err, ENOTSUP,
			"the store %s was made by a newer ramet (format %lld, this one knows %d); "
			"use that one",
			store->root, (long long)*version, SCHEMA_VERSION);
	return 0;
}

int schema_prepare(struct ramet_store *store, struct ramet_error *err)
{
	int64_t version = 0;
	int r = check_version(store, &version, err);
	if (r < 0 || version == SCHEMA_VERSION)
		return r;
	r = version ? upgrade(store, err) : create_once(store, err);
	/* A fork must be removable on a full disk, by a newer ramet too. */
	if (version && r == -ENOSPC && store_reserve_use(store))
		r = upgrade(store, err);
	return r < 0 ? r : check_version(store, &version, err);
}
