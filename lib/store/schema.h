/* SPDX-License-Identifier: Apache-2.0 */
/* The catalogue's tables: making them, and bringing those of an older ramet up to date. */
#ifndef STORE_SCHEMA_H
#define STORE_SCHEMA_H

#include "store/store.h"

/*
 * Make the tables of a new catalogue, or take an older one to the version of today, each in one
 * durable transaction. -EUCLEAN when the database is not ramet's, -ENOTSUP when its version is
 * newer than this ramet.
 */
int schema_prepare(struct ramet_store *store, struct ramet_error *err);

#endif
