/* SPDX-License-Identifier: Apache-2.0 */
/* A layout's content put where the layout says that it stands: what no product code does with a tree. */
#ifndef TESTS_FILL_H
#define TESTS_FILL_H

#include "base/cleanup.h"
#include "base/fd.h"
#include "image/layout.h"
#include "source/content.h"

static inline int fill_run(
	struct tree *tree, const struct layout_run *run, int fd, struct ramet_error *err)
{
	_cleanup_content_ struct content content;
	char buffer[65536];
	int r = content_open(&content, tree, run->node, err);
	for (uint64_t done = 0; done < run->length && r == 0; done += sizeof buffer) {
		size_t length = MIN(run->length - done, (uint64_t)sizeof buffer);
		r = content_read(&content, run->offset + done, buffer, length, err);
		if (r == 0)
			r = pwrite_full(fd, buffer, length, run->place + done);
	}
	return r;
}

static inline int fill(
	struct tree *tree, const struct layout *layout, int fd, struct ramet_error *err)
{
	int r = 0;
	for (size_t i = 0; i < layout->runs.count && r == 0; i++)
		r = fill_run(tree, &layout->runs.items[i], fd, err);
	return r;
}

#endif
