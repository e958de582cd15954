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

int squashfs_describe(int fd, struct image_facts *facts, struct ramet_error *err);
int erofs_describe(int fd, struct image_facts *facts, struct ramet_error *err);
int ext4_describe(int fd, struct image_facts *facts, struct ramet_error *err);

/* The names of the bits that are set, a blank between them, after what is in features. Bits without
 * a name are told in hexadecimal as "PREFIX_0x..". names ends with a NULL name. */
struct image_feature {
	uint32_t bit;
	const char *name;
};
void image_features(char *features, size_t size, uint32_t bits, const struct image_feature *names,
	const char *prefix);

/* The time an image is given: $SOURCE_DATE_EPOCH, or the newest in the tree; seconds. -EINVAL when
 * the variable is not a number. */
int image_time(const struct tree *tree, int64_t *seconds, struct ramet_error *err);

#endif
