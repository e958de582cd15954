/* SPDX-License-Identifier: Apache-2.0 */
#include "look/report.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"

void report_add(struct report *report, const char *path, const char *sentence)
{
	size_t path_size = strlen(path) + 1;
	size_t length = strnlen(sentence, REPORT_SENTENCE_MAX);
	report->found++;
	if (path_size + length + 1 > REPORT_SIZE - report->used)
		return;
	char *to = report->text + report->used;
	memcpy(to, path, path_size);
	memcpy(to + path_size, sentence, length);
	to[path_size + length] = '\0';
	report->used += (uint32_t)(path_size + length + 1);
	report->kept++;
}

int report_each(struct report *report, report_fn each, void *ctx)
{
	char *at = report->text, *end = at + MIN(report->used, (uint32_t)REPORT_SIZE);
	int r = 0;
	for (uint32_t i = 0; i < report->kept && r == 0; i++) {
		char *sentence = at < end ? memchr(at, '\0', (size_t)(end - at)) : NULL;
		char *next = sentence ? memchr(sentence + 1, '\0', (size_t)(end - sentence - 1))
				      : NULL;
		if (!next)
			break;
		r = each(ctx, text_disarm(at), text_disarm(sentence + 1));
		at = next + 1;
	}
	return r;
}
