/* SPDX-License-Identifier: Apache-2.0 */
/* The catalogue's database: opening it, statements, transactions, its errors as sentences. */
#ifndef STORE_CATALOGUE_H
#define STORE_CATALOGUE_H

#include <sqlite3.h>
#include <stdbool.h>

#include "store/store.h"

int catalogue_open(struct ramet_store *store, struct ramet_error *err);
void catalogue_close(struct ramet_store *store);

/* A statement with its values: types has a letter for each, 's' a string (or NULL), 'i' an int64_t.
 * Strings are borrowed until the statement is finalized. */
int catalogue_prepare(struct ramet_store *store, sqlite3_stmt **statement, struct ramet_error *err,
	const char *sql, const char *types, ...);
/* 1: there is a row, 0: the end, or a negative errno. */
int catalogue_step(struct ramet_store *store, sqlite3_stmt *statement, struct ramet_error *err);
/* A statement that answers no rows. */
int catalogue_run(struct ramet_store *store, struct ramet_error *err, const char *sql,
	const char *types, ...);
/* The one number that the statement answers; 0 when it answers no row. */
int catalogue_number(struct ramet_store *store, int64_t *number, struct ramet_error *err,
	const char *sql, const char *types, ...);
/* One or more statements without values or answers. */
int catalogue_execute(struct ramet_store *store, const char *sql, struct ramet_error *err);
/* A copy of a text column, "" for NULL; NULL without memory. */
char *catalogue_text(sqlite3_stmt *statement, int column);

static inline void cleanup_statement(sqlite3_stmt **statement)
{
	sqlite3_finalize(*statement);
}
#define _cleanup_statement_ __attribute__((cleanup(cleanup_statement)))

/*
 * A write transaction. durable: the commit survives a loss of power (one fsync); otherwise it
 * survives the death of the process only. What is not committed at the end of the scope is undone.
 */
struct transaction {
	struct ramet_store *store;
};
int transaction_begin(struct transaction *transaction, struct ramet_store *store, bool durable,
	struct ramet_error *err);
int transaction_commit(struct transaction *transaction, struct ramet_error *err);
void transaction_undo(struct transaction *transaction);
#define _cleanup_transaction_ __attribute__((cleanup(transaction_undo)))

#endif
