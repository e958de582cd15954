/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalogue is one SQLite database in WAL mode. user_version is the schema's version and
 * application_id says that the database is ramet's.
 *
 * What is synced when: in WAL mode with synchronous=NORMAL a commit is not synced (a loss of power
 * may undo the newest ones, never tear one), with FULL it costs one fsync of the WAL
 * (https://www.sqlite.org/pragma.html#pragma_synchronous). A transaction says which it needs.
 * Closing the last connection would checkpoint the WAL and delete it, some three fsyncs: the
 * commands are processes of a few milliseconds, so the WAL is left in place and is checkpointed
 * only when it has grown. It is kept short, as the first process to open it must read all of it.
 */
#include "store/catalogue.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/file.h>

#include "base/cleanup.h"
#include "base/text.h"

enum {
	SCHEMA_VERSION = 1,
	APPLICATION_ID = 0x72616d74 /* "ramt" */,
	BUSY_MS = 10000,
	WAL_PAGES = 200
};

/* %s: STRICT where SQLite knows it (3.37). AUTOINCREMENT: an id is never used again, so a process
 * that looked a fork up cannot take a newer one of the same name for it. */
static const char schema[] =
	"CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) %1$s;"
	"CREATE TABLE batch(last INTEGER NOT NULL) %1$s;"
	"INSERT INTO batch VALUES(0);"
	"CREATE TABLE image(id INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT NOT NULL,"
	" format TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,"
	" inode INTEGER NOT NULL, read_only_paths TEXT NOT NULL, created INTEGER NOT NULL,"
	" UNIQUE(path, size, mtime_ns, inode)) %1$s;"
	"CREATE TABLE fork(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,"
	" image INTEGER NOT NULL REFERENCES image(id), mode TEXT NOT NULL, provider TEXT NOT NULL,"
	" size INTEGER NOT NULL, created INTEGER NOT NULL,"
	" state TEXT NOT NULL CHECK(state IN ('making', 'ready', 'removing')),"
	" batch INTEGER NOT NULL) %1$s;"
	"CREATE TABLE removed(name TEXT PRIMARY KEY) %1$s;"
	"CREATE INDEX fork_image ON fork(image);"
	"CREATE INDEX fork_unfinished ON fork(batch) WHERE state != 'ready';"
	"PRAGMA application_id = %2$d; PRAGMA user_version = %3$d;";

static int errno_of(sqlite3 *db, int code)
{
	int system = sqlite3_system_errno(db);
	switch (code & 0xff) {
	case SQLITE_FULL:
		return ENOSPC;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return EUCLEAN;
	case SQLITE_READONLY:
		return EROFS;
	case SQLITE_PERM:
	case SQLITE_AUTH:
		return EACCES;
	case SQLITE_NOMEM:
		return ENOMEM;
	case SQLITE_CONSTRAINT:
		return ESTALE;
	case SQLITE_BUSY:
		return EBUSY;
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN:
		return system ? system : EIO;
	default:
		return EUCLEAN; /* a table or a column that is not as we made it */
	}
}

static int catalogue_error(struct ramet_store *store, int code, struct ramet_error *err)
{
	int number = errno_of(store->db, code);
	const char *why = sqlite3_errmsg(store->db);
	switch (number) {
	case EUCLEAN:
		return error_set(err, number,
			"the catalogue %s/catalogue.db is damaged (%s); put a copy of it back, or "
			"name another store with --root",
			store->root, why);
	case EROFS:
		return error_set(err, number,
			"the catalogue %s/catalogue.db cannot be written: it, or the file system "
			"that it is on, is read-only",
			store->root);
	case EBUSY:
		return error_set(err, number,
			"another process has kept the catalogue %s/catalogue.db locked for %d "
			"seconds; try again when it is done",
			store->root, BUSY_MS / 1000);
	case ESTALE:
		return error_set(err, number,
			"another process changed the same rows of the catalogue %s/catalogue.db at "
			"the same moment (%s); try again",
			store->root, why);
	default:
		return error_errno(err, number, "cannot use the catalogue %s/catalogue.db (%s)",
			store->root, why);
	}
}

static int bind_values(sqlite3_stmt *statement, const char *types, va_list values)
{
	int r = SQLITE_OK;
	for (int i = 0; types[i] && r == SQLITE_OK; i++) {
		if (types[i] == 's')
			r = sqlite3_bind_text(
				statement, i + 1, va_arg(values, const char *), -1, SQLITE_STATIC);
		else
			r = sqlite3_bind_int64(statement, i + 1, va_arg(values, int64_t));
	}
	return r;
}

static int prepare(struct ramet_store *store, sqlite3_stmt **statement, struct ramet_error *err,
	const char *sql, const char *types, va_list values)
{
	int r = sqlite3_prepare_v2(store->db, sql, -1, statement, NULL);
	if (r == SQLITE_OK)
		r = bind_values(*statement, types, values);
	return r == SQLITE_OK ? 0 : catalogue_error(store, r, err);
}

int catalogue_prepare(struct ramet_store *store, sqlite3_stmt **statement, struct ramet_error *err,
	const char *sql, const char *types, ...)
{
	va_list values;
	va_start(values, types);
	int r = prepare(store, statement, err, sql, types, values);
	va_end(values);
	return r;
}

int catalogue_step(struct ramet_store *store, sqlite3_stmt *statement, struct ramet_error *err)
{
	int r = sqlite3_step(statement);
	if (r == SQLITE_ROW)
		return 1;
	return r == SQLITE_DONE ? 0 : catalogue_error(store, r, err);
}

int catalogue_run(
	struct ramet_store *store, struct ramet_error *err, const char *sql, const char *types, ...)
{
	_cleanup_statement_ sqlite3_stmt *statement = NULL;
	va_list values;
	va_start(values, types);
	int r = prepare(store, &statement, err, sql, types, values);
	va_end(values);
	return r < 0 ? r : catalogue_step(store, statement, err);
}

int catalogue_number(struct ramet_store *store, int64_t *number, struct ramet_error *err,
	const char *sql, const char *types, ...)
{
	_cleanup_statement_ sqlite3_stmt *statement = NULL;
	va_list values;
	va_start(values, types);
	int r = prepare(store, &statement, err, sql, types, values);
	va_end(values);
	if (r == 0)
		r = catalogue_step(store, statement, err);
	if (r < 0)
		return r;
	*number = r > 0 ? sqlite3_column_int64(statement, 0) : 0;
	/* To the end: a statement that returns what it changed does nothing before. */
	return r > 0 ? MIN(catalogue_step(store, statement, err), 0) : 0;
}

char *catalogue_text(sqlite3_stmt *statement, int column)
{
	const unsigned char *text = sqlite3_column_text(statement, column);
	return strdup(text ? (const char *)text : "");
}

static int execute(struct ramet_store *store, const char *sql, struct ramet_error *err)
{
	int r = sqlite3_exec(store->db, sql, NULL, NULL, NULL);
	return r == SQLITE_OK ? 0 : catalogue_error(store, r, err);
}

int transaction_begin(struct transaction *transaction, struct ramet_store *store, bool durable,
	struct ramet_error *err)
{
	transaction->store = NULL;
	int r = execute(store,
		durable ? "PRAGMA synchronous = FULL; BEGIN IMMEDIATE"
			: "PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE",
		err);
	if (r == 0)
		transaction->store = store;
	return r;
}

int transaction_commit(struct transaction *transaction, struct ramet_error *err)
{
	int r = execute(transaction->store, "COMMIT", err);
	if (r == 0)
		transaction->store = NULL;
	return r;
}

void transaction_undo(struct transaction *transaction)
{
	if (transaction->store)
		sqlite3_exec(transaction->store->db, "ROLLBACK", NULL, NULL, NULL);
	transaction->store = NULL;
}

/* Two processes that open a new store at once: the lock on its folder lets one make the tables. */
static int create_tables(struct ramet_store *store, struct ramet_error *err)
{
	int r = execute(store, "PRAGMA journal_mode = WAL", err);
	if (r < 0)
		return r;
	_cleanup_transaction_ struct transaction transaction;
	r = transaction_begin(&transaction, store, true, err);
	if (r < 0)
		return r;
	_cleanup_text_ struct text sql = {0};
	text_format(&sql, schema, sqlite3_libversion_number() >= 3037000 ? "STRICT" : "",
		APPLICATION_ID, SCHEMA_VERSION);
	if (sql.failed)
		return error_memory(err);
	r = execute(store, sql.data, err);
	if (r == 0)
		r = transaction_commit(&transaction, err);
	/* From here on the catalogue must not vanish with the power: forks will stand on it. */
	if (r == 0 && fsync(store->dirfd) < 0)
		r = error_errno(err, errno, "cannot write the folder %s to its disk", store->root);
	return r;
}

static int create_once(struct ramet_store *store, struct ramet_error *err)
{
	if (flock(store->dirfd, LOCK_EX) < 0)
		return error_errno(err, errno, "cannot lock the folder %s", store->root);
	int64_t version = 0;
	int r = catalogue_number(store, &version, err, "PRAGMA user_version", "");
	if (r == 0 && version == 0)
		r = create_tables(store, err);
	flock(store->dirfd, LOCK_UN);
	return r;
}

static int check_version(struct ramet_store *store, struct ramet_error *err)
{
	int64_t version = 0, application = 0;
	int r = catalogue_number(store, &version, err, "PRAGMA user_version", "");
	if (r == 0 && version == 0) {
		r = create_once(store, err);
		if (r == 0)
			r = catalogue_number(store, &version, err, "PRAGMA user_version", "");
	}
	if (r == 0)
		r = catalogue_number(store, &application, err, "PRAGMA application_id", "");
	if (r < 0)
		return r;
	if (application != APPLICATION_ID || version < 1)
		return error_set(err, EUCLEAN,
			"%s/catalogue.db is not a catalogue of ramet; name another store with "
			"--root",
			store->root);
	if (version > SCHEMA_VERSION)
		return error_set(err, ENOTSUP,
			"the store %s was made by a newer ramet (format %lld, this one knows %d); "
			"use that one",
			store->root, (long long)version, SCHEMA_VERSION);
	return 0;
}

int catalogue_open(struct ramet_store *store, struct ramet_error *err)
{
	_cleanup_text_ struct text path = {0};
	text_format(&path, "%s/catalogue.db", store->root);
	if (path.failed)
		return error_memory(err);
	int r = sqlite3_open_v2(path.data, &store->db,
		SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
			SQLITE_OPEN_EXRESCODE,
		NULL);
	if (r != SQLITE_OK)
		return store->db ? catalogue_error(store, r, err) : error_memory(err);
	sqlite3_busy_timeout(store->db, BUSY_MS);
	sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	sqlite3_wal_autocheckpoint(store->db, WAL_PAGES);
	r = execute(store, "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF", err);
	return r < 0 ? r : check_version(store, err);
}

void catalogue_close(struct ramet_store *store)
{
	sqlite3_close(store->db);
	store->db = NULL;
}
