/* SPDX-License-Identifier: Apache-2.0 */
/* A lazy file asked for everything that it has; what a lookup promises is held against what it says. */
#ifndef TESTS_FUZZ_LAZY_H
#define TESTS_FUZZ_LAZY_H

#include "image/lazy.h"
#include "tests/fuzz/image.h"

static inline void lazy_walk_files(const struct lazy *lazy, const struct lazy_facts *facts)
{
	for (uint32_t i = 0; i < facts->files && i < 2000; i++) {
		struct lazy_file file;
		_cleanup_text_ struct text path = {0};
		lazy_file(lazy, i, &file);
		if (file.root >= facts->roots || lazy_root(lazy, file.root)[0] != '/')
			abort();
		int r = lazy_file_path(lazy, i, &path);
		if (r == -ENAMETOOLONG)
			continue;
		if (r < 0 || path.data[0] == '/' || strstr(path.data, "//") ||
			strncmp(path.data, "../", 3) == 0 || strstr(path.data, "/../"))
			abort();
	}
}

static inline void lazy_walk_extents(const struct lazy *lazy, const struct lazy_facts *facts)
{
	uint64_t end = 0;
	for (uint64_t i = 0; i < facts->extents; i++) {
		struct lazy_extent extent;
		struct lazy_file file;
		lazy_extent(lazy, i, &extent);
		if (extent.place < end || extent.length == 0 ||
			extent.length > facts->image_bytes - extent.place)
			abort();
		end = extent.place + extent.length;
		if (lazy_find(lazy, extent.place) != i || lazy_find(lazy, end - 1) != i ||
			lazy_find(lazy, end) != i + 1)
			abort();
		if (extent.file == LAZY_METADATA)
			continue;
		if (extent.file >= facts->files)
			abort();
		lazy_file(lazy, extent.file, &file);
		if (extent.offset > file.size || extent.length > file.size - extent.offset)
			abort();
	}
}

static inline int lazy_walk(int fd, struct ramet_error *err)
{
	_cleanup_lazy_ struct lazy *lazy = NULL;
	struct lazy_facts facts;
	char name[LAZY_FORMAT_NAME];
	(void)lazy_probe(fd);
	(void)lazy_format_name(fd, "it", name, err);
	int r = lazy_open(fd, "it", &lazy, err);
	if (r < 0)
		return r;
	lazy_describe(lazy, &facts);
	lazy_walk_files(lazy, &facts);
	lazy_walk_extents(lazy, &facts);
	return 0;
}

#endif
