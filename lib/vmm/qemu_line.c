/* SPDX-License-Identifier: Apache-2.0 */
/* In a value a comma is written twice; everything else stands for itself. */
#include "vmm/qemu_line.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"

void qemu_line_free(struct qemu_line *line)
{
	for (size_t i = 0; i < line->list.count; i++)
		free(line->list.items[i]);
	vector_free(&line->list);
}

static void add_taken(struct qemu_line *line, char *string)
{
	char **place = string ? vector_push(&line->list) : NULL;
	if (place)
		*place = string;
	else
		free(string);
	line->failed |= !place;
}

void qemu_line_add(struct qemu_line *line, const char *string)
{
	add_taken(line, strdup(string));
}

void qemu_line_format(struct qemu_line *line, const char *option, const char *format, ...)
{
	char *string;
	va_list args;
	va_start(args, format);
	if (vasprintf(&string, format, args) < 0)
		string = NULL;
	va_end(args);
	qemu_line_add(line, option);
	add_taken(line, string);
}

void qemu_line_path(struct qemu_line *line, const char *option, const char *value, const char *path)
{
	_cleanup_text_ struct text text = {0};
	text_append(&text, value);
	for (const char *c = path; *c; c++)
		text_append_bytes(&text, *c == ',' ? ",," : c, *c == ',' ? 2 : 1);
	qemu_line_add(line, option);
	add_taken(line, text.failed ? NULL : TAKE_PTR(text.data));
}
