/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool text_reserve(struct text *text, size_t more)
{
	if (text->failed)
		return false;
	size_t needed = text->length + more + 1;
	if (needed <= text->capacity)
		return true;
	size_t wanted = text->capacity * 2 > needed ? text->capacity * 2 : needed + 32;
	char *grown = realloc(text->data, wanted);
	if (!grown) {
		text->failed = true;
		return false;
	}
	text->data = grown;
	text->capacity = wanted;
	return true;
}

void text_append_bytes(struct text *text, const void *bytes, size_t length)
{
	if (!text_reserve(text, length))
		return;
	if (length)
		memcpy(text->data + text->length, bytes, length);
	text->length += length;
	text->data[text->length] = '\0';
}

void text_append(struct text *text, const char *string)
{
	text_append_bytes(text, string, strlen(string));
}

void text_format(struct text *text, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int length = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (length < 0) {
		text->failed = true;
		return;
	}
	if (!text_reserve(text, (size_t)length))
		return;
	va_start(args, format);
	vsnprintf(text->data + text->length, (size_t)length + 1, format, args);
	va_end(args);
	text->length += (size_t)length;
}

void text_truncate(struct text *text, size_t length)
{
	if (length < text->length) {
		text->length = length;
		text->data[length] = '\0';
	}
}

void text_free(struct text *text)
{
	free(text->data);
	*text = (struct text){0};
}

char *text_disarm(char *string)
{
	for (unsigned char *c = (unsigned char *)string; *c; c++) {
		/* U+0080 to U+009F: some terminals take U+009B as the start of a command. */
		if (c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0)
			c[0] = c[1] = '?';
		else if (*c < ' ' || *c == 0x7f)
			*c = '?';
	}
	return string;
}

int text_parse_uint(const char *string, uint64_t max, uint64_t *value)
{
	if (!isdigit((unsigned char)*string))
		return -EINVAL;
	char *end;
	errno = 0;
	unsigned long long number = strtoull(string, &end, 10);
	if (*end)
		return -EINVAL;
	if (errno || number > max)
		return -ERANGE;
	*value = number;
	return 0;
}

int text_parse_size(const char *string, uint64_t *bytes)
{
	static const char units[] = "KMGTPE";
	if (!isdigit((unsigned char)*string))
		return -EINVAL;
	char *end;
	errno = 0;
	long double number = strtold(string, &end);
	if (errno || strcspn(string, "xXpPeEnN") < (size_t)(end - string))
		return -EINVAL;
	while (*end == ' ')
		end++;
	const char *unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
	if (unit) {
		end++;
		if (*end == 'i')
			end++;
	}
	if (*end == 'B' || (unit && *end == 'b'))
		end++;
	if (*end)
		return -EINVAL;
	for (int i = unit ? (int)(unit - units) + 1 : 0; i > 0; i--)
		number *= 1024;
	if (number >= 0x1p63L)
		return -ERANGE;
	*bytes = (uint64_t)number;
	return 0;
}

char *text_size(uint64_t bytes, char buffer[static 32])
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double value = (double)bytes;
	size_t unit = 0;
	while (value >= 1024 && unit < sizeof units / sizeof *units - 1) {
		value /= 1024;
		unit++;
	}
	int digits = unit == 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
	snprintf(buffer, 32, "%.*f %s", digits, value, units[unit]);
	return buffer;
}
