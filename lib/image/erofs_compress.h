/* SPDX-License-Identifier: Apache-2.0 */
/* Compressed EROFS images, by the mkfs.erofs that is installed. */
#ifndef IMAGE_EROFS_COMPRESS_H
#define IMAGE_EROFS_COMPRESS_H

#include "image/image.h"

/* As erofs_write, with options->compression. -EOPNOTSUPP when there is no mkfs.erofs, or the tree is
 * not a plain directory; -EINVAL when it has no such compressor, with those it has. */
int erofs_compress(struct tree *tree, int fd, const struct image_options *options,
	struct image_figures *figures, struct ramet_error *err);

#endif
