/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalogue is one SQLite database in WAL mode. Its tables are in schema.c.
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

#include "base/cleanup.h"
#include "base/text.h"
#include "store/schema.h"

enum { BUSY_MS = 10000, WAL_PAGES = 200 };

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

int catalogue_execute(struct ramet_store *store, const char *sql, struct ramet_error *err)
{
	int r = sqlite3_exec(store->db, sql, NULL, NULL, NULL);
	return r == SQLITE_OK ? 0 : catalogue_error(store, r, err);
}

int transaction_begin(struct transaction *transaction, struct ramet_store *store, bool durable,
	struct ramet_error *err)
{
	transaction->store = NULL;
	int r = catalogue_execute(store,
		durable ? "PRAGMA synchronous = FULL; BEGIN IMMEDIATE"
			: "PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE",
		err);
	if (r == 0)
		transaction->store = store;
	return r;
}

int transaction_commit(struct transaction *transaction, struct ramet_error *err)
{
	int r = catalogue_execute(transaction->store, "COMMIT", err);
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
	r = catalogue_execute(store, "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF", err);
	return r < 0 ? r : schema_prepare(store, err);
}

void catalogue_close(struct ramet_store *store)
{
	sqlite3_close(store->db);
	store->db = NULL;
}
