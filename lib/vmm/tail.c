/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest printed last often says why it died, but its bytes are the guest's: quoted as they
 * are they could recolour a terminal, or forge a second line in a log.
 */
#include "vmm/tail.h"

#include <string.h>

void tail_add(struct tail *tail, const char *bytes, size_t length)
{
	if (length >= TAIL_SIZE) {
		bytes += length - TAIL_SIZE;
		length = TAIL_SIZE;
	}
	size_t keep = TAIL_SIZE - length;
	if (tail->length > keep) {
		memmove(tail->bytes, tail->bytes + tail->length - keep, keep);
		tail->length = keep;
	}
	memcpy(tail->bytes + tail->length, bytes, length);
	tail->length += length;
}

/* The index after the escape sequence that starts at i: ESC [ parameters letter, or ESC and one
 * byte (ECMA-48, 5.3 and 5.4). */
static size_t skip_escape(const char *bytes, size_t length, size_t i)
{
	i++;
	if (i >= length || bytes[i] != '[')
		return i < length ? i + 1 : i;
	for (i++; i < length; i++)
		if (bytes[i] >= 0x40 && bytes[i] <= 0x7e)
			return i + 1;
	return i;
}

bool tail_clean(const char *bytes, size_t length, char *line, size_t size)
{
	size_t used = 0, i = 0;
	while (i < length && used + 1 < size) {
		char c = bytes[i];
		if (c == '\033') {
			i = skip_escape(bytes, length, i);
			continue;
		}
		i++;
		if (c == '\r' || (used == 0 && (c == ' ' || c == '\t')))
			continue;
		line[used++] = c == '\t' ? ' ' : c >= ' ' && c <= '~' ? c : '?';
	}
	if (i < length && used + 1 == size)
		memcpy(line + size - 4, "...", 3);
	while (used && line[used - 1] == ' ')
		used--;
	line[used] = '\0';
	return used > 0;
}

bool tail_line_with(const struct tail *tail, const char *word, char *line, size_t size)
{
	for (size_t end = tail->length;;) {
		size_t start = end;
		while (start && tail->bytes[start - 1] != '\n')
			start--;
		bool has_word = memmem(tail->bytes + start, end - start, word, strlen(word));
		if (has_word && tail_clean(tail->bytes + start, end - start, line, size))
			return true;
		*line = '\0';
		if (start == 0)
			return false;
		end = start - 1;
	}
}

bool tail_last_line(const struct tail *tail, char *line, size_t size)
{
	return tail_line_with(tail, "", line, size);
}
