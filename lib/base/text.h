/* SPDX-License-Identifier: Apache-2.0 */
/* Strings that grow, and the sizes people write. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A NUL-terminated string that grows. Start with {0}; data is NULL until something was added.
 * After a failed allocation further calls do nothing and failed stays set: test it once. */
struct text {
	char *data;
	size_t length, capacity;
	bool failed;
};

void text_append(struct text *text, const char *string);
void text_append_bytes(struct text *text, const void *bytes, size_t length);
void text_format(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_truncate(struct text *text, size_t length);
void text_free(struct text *text);
#define _cleanup_text_ __attribute__((cleanup(text_free)))

/* "10G", "512M", "4096", "1.5 GiB": powers of 1024, an optional "iB" or "B", at most 2^63 - 1.
 * 0 or -EINVAL, -ERANGE. */
int text_parse_size(const char *string, uint64_t *bytes);

/* A decimal number up to max, nothing else around it. 0 or -EINVAL, -ERANGE. */
int text_parse_uint(const char *string, uint64_t max, uint64_t *value);

/* Put '?' for each control character (also those of two bytes in UTF-8): a terminal shows what is
 * left and obeys none of it. Answers string. */
char *text_disarm(char *string);

/* "1.50 GiB"; room for 32 bytes. Answers buffer. */
char *text_size(uint64_t bytes, char buffer[static 32]);

#endif
