/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The format's writer runs as ever, on a sparse file in memory as long as the image would be, and leaves
 * the content out. What is in the file then, some hundred bytes for each file of the tree, goes into the
 * lazy file with the tables.
 */
#include "api/build_lazy.h"

#include <sys/mman.h>

#include "base/cleanup.h"
#include "image/lazy.h"

int build_lazy_check(const struct ramet_build_options *options, struct ramet_error *err)
{
	if (options->dedupe)
		return error_set(err, EINVAL,
			"a lazy image reads no content, so equal chunks cannot be found: leave "
			"--dedupe away");
	return 0;
}

int build_lazy_spool(struct ramet_error *err)
{
	int fd = memfd_create("ramet-metadata", MFD_CLOEXEC);
	return fd >= 0 ? fd : error_errno(err, errno, "cannot make a file in memory");
}

int build_lazy_write(const struct image_format *format, struct tree *tree,
	const struct image_options *options, int spool, int out, struct image_figures *figures,
	struct ramet_build_result *result, struct ramet_error *err)
{
	_cleanup_layout_ struct layout layout = {0};
	struct image_options laid_out = *options;
	struct lazy_figures lazy;
	laid_out.plain = true;
	laid_out.layout = &layout;
	int r = format->write(tree, spool, &laid_out, figures, err);
	if (r == 0)
		r = lazy_write(out, spool, &layout, tree, format->name, &lazy, err);
	if (r < 0)
		return r;
	figures->image_bytes = layout.image_bytes;
	result->lazy_metadata_bytes = lazy.metadata_bytes;
	result->lazy_table_bytes = lazy.table_bytes;
	result->lazy_extents = lazy.extents;
	return 0;
}
