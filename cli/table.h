/* SPDX-License-Identifier: Apache-2.0 */
/* Aligned columns on standard output. */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include <stdbool.h>
#include <stddef.h>

enum { TABLE_COLUMNS_MAX = 8 };

struct table {
	const char *const *titles; /* ended by NULL; one that starts with '>' is set flush right */
	size_t columns;
	char **cells;
	size_t count, capacity;
	bool failed; /* there was no memory for a cell */
};

void table_start(struct table *table, const char *const *titles);
/* The next cell, left to right, row by row. */
void table_add(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Print all of it (or nothing, without show), release it, and answer an exit status. */
int table_finish(struct table *table, bool show);

#endif
