/* SPDX-License-Identifier: Apache-2.0 */
/* What the formats' files offer to the table in image.c. */
#ifndef IMAGE_FORMATS_H
#define IMAGE_FORMATS_H

#include "image/image.h"

int squashfs_write(struct tree *tree, int fd, const struct image_options *options,
	struct image_figures *figures, struct ramet_error *err);
int erofs_write(struct tree *tree, int fd, const struct image_options *options,
	struct image_figures *figures, struct ramet_error *err);
int ext4_write(struct tree *tree, int fd, const struct image_options *options,
	struct image_figures *figures, struct ramet_error *err);

/* The time an image is given: $SOURCE_DATE_EPOCH, or the newest in the tree; seconds. -EINVAL when
 * the variable is not a number. */
int image_time(const struct tree *tree, int64_t *seconds, struct ramet_error *err);

#endif
