/* SPDX-License-Identifier: Apache-2.0 */
#include "base/digest.h"

#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	size_t size;
} kinds[] = {
	[DIGEST_SHA256] = {"sha256", SHA256_DIGEST_SIZE},
	[DIGEST_SHA512] = {"sha512", SHA512_DIGEST_SIZE},
};

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int digest_parse(const char *text, struct digest *digest)
{
	*digest = (struct digest){0};
	const char *colon = strchr(text, ':');
	if (!colon)
		return -EINVAL;
	size_t length = (size_t)(colon - text), kind = 0;
	while (kind < 2 &&
		(strlen(kinds[kind].name) != length || memcmp(kinds[kind].name, text, length) != 0))
		kind++;
	if (kind == 2 || strlen(colon + 1) != 2 * kinds[kind].size)
		return -EINVAL;
	digest->kind = (enum digest_kind)kind;
	for (size_t i = 0; i < kinds[kind].size; i++) {
		int high = digit(colon[1 + 2 * i]), low = digit(colon[2 + 2 * i]);
		if (high < 0 || low < 0)
			return -EINVAL;
		digest->bytes[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}

const char *digest_algorithm(const struct digest *digest)
{
	return kinds[digest->kind].name;
}

char *digest_hex(const struct digest *digest, char buffer[static DIGEST_TEXT_MAX])
{
	static const char digits[] = "0123456789abcdef";
	char *to = buffer;
	for (size_t i = 0; i < kinds[digest->kind].size; i++) {
		*to++ = digits[digest->bytes[i] >> 4];
		*to++ = digits[digest->bytes[i] & 15];
	}
	*to = '\0';
	return buffer;
}

char *digest_text(const struct digest *digest, char buffer[static DIGEST_TEXT_MAX])
{
	char hex[DIGEST_TEXT_MAX];
	snprintf(buffer, DIGEST_TEXT_MAX, "%s:%.128s", digest_algorithm(digest),
		digest_hex(digest, hex));
	return buffer;
}

bool digest_equal(const struct digest *a, const struct digest *b)
{
	return a->kind == b->kind && memcmp(a->bytes, b->bytes, kinds[a->kind].size) == 0;
}

void digest_begin(struct digest_context *context, enum digest_kind kind)
{
	context->kind = kind;
	if (kind == DIGEST_SHA256)
		sha256_init(&context->sha256);
	else
		sha512_init(&context->sha512);
}

void digest_update(struct digest_context *context, const void *bytes, size_t length)
{
	if (context->kind == DIGEST_SHA256)
		sha256_update(&context->sha256, length, bytes);
	else
		sha512_update(&context->sha512, length, bytes);
}

void digest_end(struct digest_context *context, struct digest *digest)
{
	*digest = (struct digest){.kind = context->kind};
	if (context->kind == DIGEST_SHA256)
		sha256_digest(&context->sha256, SHA256_DIGEST_SIZE, digest->bytes);
	else
		sha512_digest(&context->sha512, SHA512_DIGEST_SIZE, digest->bytes);
}
