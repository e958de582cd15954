/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_UNPACK_H
#define VMM_UNPACK_H

#include "base/error.h"

/*
 * Undo whatever compression libarchive knows (none is one too), calling take for each piece.
 * -EBADMSG without a sentence for what it does not know or what is damaged, -EFBIG when it gets
 * larger than most; otherwise what take answers.
 */
int unpack(const void *packed, size_t length, uint64_t most,
	int (*take)(void *ctx, const void *bytes, size_t length), void *ctx,
	struct ramet_error *err);

#endif
