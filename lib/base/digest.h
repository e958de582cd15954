/* SPDX-License-Identifier: Apache-2.0 */
/* Content digests as OCI writes them: "sha256:" and 64 lower-case hexadecimal digits, or sha512. */
#ifndef BASE_DIGEST_H
#define BASE_DIGEST_H

#include <nettle/sha2.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum digest_kind { DIGEST_SHA256, DIGEST_SHA512 };
#define DIGEST_TEXT_MAX (sizeof "sha512:" + 128)

struct digest {
	enum digest_kind kind;
	uint8_t bytes[SHA512_DIGEST_SIZE];
};

/* -EINVAL: it is no digest, or of an algorithm that is not known. Nothing but hexadecimal digits
 * gets through, so digest_hex() is a safe name of a file. */
int digest_parse(const char *text, struct digest *digest);
const char *digest_algorithm(const struct digest *digest); /* "sha256"; static */
/* The digits alone. Answers buffer. */
char *digest_hex(const struct digest *digest, char buffer[static DIGEST_TEXT_MAX]);
/* "sha256:...". Answers buffer. */
char *digest_text(const struct digest *digest, char buffer[static DIGEST_TEXT_MAX]);
bool digest_equal(const struct digest *a, const struct digest *b);

/* Computing one piece by piece. */
struct digest_context {
	enum digest_kind kind;
	union {
		struct sha256_ctx sha256;
		struct sha512_ctx sha512;
	};
};
void digest_begin(struct digest_context *context, enum digest_kind kind);
void digest_update(struct digest_context *context, const void *bytes, size_t length);
void digest_end(struct digest_context *context, struct digest *digest);

#endif
