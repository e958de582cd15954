/* SPDX-License-Identifier: Apache-2.0 */
/* A file or symlink as git has it: bytes and the SHA-1 that names them. */
#ifndef CHANGES_BLOB_H
#define CHANGES_BLOB_H

#include "changes/changes.h"
#include "changes/sink.h"

#define BLOB_NO_ID "0000000000000000000000000000000000000000"

struct blob {
	const struct change_side *side; /* NULL: there is nothing, an empty blob */
	uint64_t size;
	char *data; /* all bytes, or NULL when they are too many to be held */
	bool binary;
	char id[41];
};

/* side NULL: nothing, with BLOB_NO_ID. A blob with a NUL byte, or too large to hold, is binary. */
int blob_open(struct blob *blob, const struct change_side *side, struct ramet_error *err);
/* Write it as a hunk of a "GIT binary patch": "literal SIZE", deflated, in git's base 85. */
int blob_write_binary(const struct blob *blob, struct sink *sink, struct ramet_error *err);
void blob_free(struct blob *blob);
#define _cleanup_blob_ __attribute__((cleanup(blob_free)))

#endif
