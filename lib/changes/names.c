/* SPDX-License-Identifier: Apache-2.0 */
#include "changes/names.h"

#include <stdint.h>
#include <string.h>

bool name_needs_quotes(const char *name)
{
	for (const unsigned char *p = (const void *)name; *p; p++)
		if (*p < 0x20 || *p == 0x7f || *p == '"' || *p == '\\')
			return true;
	return false;
}

/* git's quote.c has the same letters: \a \b \t \n \v \f \r, then three octal digits. */
static void show_quoted(struct text *text, const char *name)
{
	static const char letters[] = "abtnvfr";
	for (const unsigned char *p = (const void *)name; *p; p++) {
		if (*p == '"' || *p == '\\')
			text_format(text, "\\%c", *p);
		else if (*p >= 7 && *p <= 13)
			text_format(text, "\\%c", letters[*p - 7]);
		else if (*p < 0x20 || *p == 0x7f)
			text_format(text, "\\%03o", *p);
		else
			text_append_bytes(text, p, 1);
	}
}

void name_show(struct text *text, const char *prefix, const char *name)
{
	if (name_needs_quotes(name)) {
		text_format(text, "\"%s", prefix);
		show_quoted(text, name);
		text_append(text, "\"");
	} else {
		text_append(text, prefix);
		text_append(text, name);
	}
}

/* RFC 3629, section 4: no overlong forms, no surrogates, nothing above U+10FFFF. */
size_t utf8_length(const unsigned char *b)
{
	size_t length = b[0] < 0x80                    ? 1
			: b[0] >= 0xc2 && b[0] <= 0xdf ? 2
			: b[0] >= 0xe0 && b[0] <= 0xef ? 3
			: b[0] >= 0xf0 && b[0] <= 0xf4 ? 4
						       : 0;
	for (size_t i = 1; i < length; i++)
		if ((b[i] & 0xc0) != 0x80)
			return 0;
	if ((b[0] == 0xe0 && b[1] < 0xa0) || (b[0] == 0xed && b[1] > 0x9f) ||
		(b[0] == 0xf0 && b[1] < 0x90) || (b[0] == 0xf4 && b[1] > 0x8f))
		return 0;
	return length;
}

void name_json(struct text *text, const char *name, bool *lossy)
{
	text_append(text, "\"");
	for (const unsigned char *p = (const void *)name; *p;) {
		size_t length = utf8_length(p);
		if (length == 0) {
			text_append(text, "\xef\xbf\xbd");
			*lossy = true;
			p++;
			continue;
		}
		if (*p == '"' || *p == '\\')
			text_format(text, "\\%c", *p);
		else if (*p < 0x20 || *p == 0x7f)
			text_format(text, "\\u%04x", *p);
		else
			text_append_bytes(text, p, length);
		p += length;
	}
	text_append(text, "\"");
}

/* RFC 4648, section 4. */
void text_base64(struct text *text, const void *bytes, size_t length)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *b = bytes;
	for (size_t i = 0; i < length; i += 3) {
		size_t left = length - i;
		uint32_t group = (uint32_t)b[i] << 16 | (left > 1 ? (uint32_t)b[i + 1] << 8 : 0) |
				 (left > 2 ? b[i + 2] : 0);
		char four[4] = {digits[group >> 18], digits[group >> 12 & 63],
			left > 1 ? digits[group >> 6 & 63] : '=',
			left > 2 ? digits[group & 63] : '='};
		text_append_bytes(text, four, sizeof four);
	}
}
