/* SPDX-License-Identifier: Apache-2.0 */
/* libarchive sees any bytes as a "raw" archive of one entry, behind whatever compression. */
#include "vmm/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/dynamic.h"

#define FUNCTIONS(F) \
	F(archive_read_new) \
	F(archive_read_free) \
	F(archive_read_support_filter_all) \
	F(archive_read_support_format_raw) \
	F(archive_read_open_memory) \
	F(archive_read_next_header) \
	F(archive_read_data) \
	F(archive_errno)
DYNAMIC_LIBRARY(archive_library, FUNCTIONS)

enum { CHUNK = 256 * 1024 };

static int unpack_pieces(const struct archive_library *lib, struct archive *archive, uint64_t most,
	int (*take)(void *ctx, const void *bytes, size_t length), void *ctx)
{
	struct archive_entry *entry;
	if (lib->archive_read_next_header(archive, &entry) != ARCHIVE_OK)
		return -EBADMSG;
	_cleanup_free_ char *buffer = malloc(CHUNK);
	if (!buffer)
		return -ENOMEM;
	for (uint64_t total = 0;;) {
		ssize_t n = lib->archive_read_data(archive, buffer, CHUNK);
		if (n < 0)
			return lib->archive_errno(archive) == ENOMEM ? -ENOMEM : -EBADMSG;
		if (n == 0)
			return 0;
		total += (uint64_t)n;
		int r = total > most ? -EFBIG : take(ctx, buffer, (size_t)n);
		if (r < 0)
			return r;
	}
}

int unpack(const void *packed, size_t length, uint64_t most,
	int (*take)(void *ctx, const void *bytes, size_t length), void *ctx,
	struct ramet_error *err)
{
	struct archive_library lib = {0};
	int r = archive_library_load(&lib, "libarchive.so.13", err);
	if (r < 0)
		return r;
	struct archive *archive = lib.archive_read_new();
	r = archive ? -EBADMSG : -ENOMEM;
	if (archive) {
		lib.archive_read_support_filter_all(archive);
		lib.archive_read_support_format_raw(archive);
		if (lib.archive_read_open_memory(archive, packed, length) == ARCHIVE_OK)
			r = unpack_pieces(&lib, archive, most, take, ctx);
		lib.archive_read_free(archive);
	}
	dynamic_close(&lib.library);
	return r;
}
