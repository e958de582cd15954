/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/vector.h"
#include "cli/cli.h"

void table_start(struct table *table, const char *const *titles)
{
	*table = (struct table){.titles = titles};
	while (titles[table->columns])
		table->columns++;
}

static bool push(struct table *table, char *text)
{
	struct {
		char **items;
		size_t count, capacity;
	} cells = {table->cells, table->count, table->capacity};
	char **cell = text ? vector_push(&cells) : NULL;
	if (!cell)
		return false;
	*cell = text;
	table->cells = cells.items;
	table->count = cells.count;
	table->capacity = cells.capacity;
	return true;
}

void table_add(struct table *table, const char *format, ...)
{
	char *text;
	va_list args;
	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		text = NULL;
	va_end(args);
	if (!push(table, text)) {
		free(text);
		table->failed = true;
	}
}

static void print_row(const struct table *table, const int *widths, const char *const *row)
{
	for (size_t i = 0; i < table->columns; i++) {
		bool right = table->titles[i][0] == '>';
		bool last = i + 1 == table->columns;
		const char *text = row[i] + (row == table->titles && right);
		if (last && !right)
			printf("%s", text);
		else
			printf("%*s", right ? widths[i] : -widths[i], text);
		printf("%s", last ? "\n" : "  ");
	}
}

static void print_all(const struct table *table)
{
	int widths[TABLE_COLUMNS_MAX] = {0};
	for (size_t i = 0; i < table->columns; i++)
		widths[i] = (int)strlen(table->titles[i]) - (table->titles[i][0] == '>');
	for (size_t i = 0; i < table->count; i++)
		if ((int)strlen(table->cells[i]) > widths[i % table->columns])
			widths[i % table->columns] = (int)strlen(table->cells[i]);
	print_row(table, widths, table->titles);
	for (size_t i = 0; i + table->columns <= table->count; i += table->columns)
		print_row(table, widths, (const char *const *)table->cells + i);
}

int table_finish(struct table *table, bool show)
{
	if (show && !table->failed)
		print_all(table);
	else if (show)
		fprintf(stderr, "ramet: there is not enough memory.\n");
	for (size_t i = 0; i < table->count; i++)
		free(table->cells[i]);
	free(table->cells);
	return table->failed ? EXIT_FAILED : EXIT_OK;
}
