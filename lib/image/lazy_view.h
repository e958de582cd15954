/* SPDX-License-Identifier: Apache-2.0 */
/* The view of a lazy image: its format's reader on the metadata, and content from the source files. */
#ifndef IMAGE_LAZY_VIEW_H
#define IMAGE_LAZY_VIEW_H

#include "image/image.h"
#include "image/lazy_feed.h"

/* What format a lazy file says that its image has. EUCLEAN: damaged; ENOTSUP: not known here, or of a
 * newer version. Only the header is looked at. */
int lazy_format(
	int fd, const char *path, const struct image_format **format, struct ramet_error *err);

/* feed is borrowed, and lives longer. In the process that asks it (lazy_feed.h). */
int lazy_view_open(const struct image_format *format, const struct lazy_feed *feed, struct fs **fs,
	struct ramet_error *err);

#endif
