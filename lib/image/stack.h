/* SPDX-License-Identifier: Apache-2.0 */
/* Images that stand one on the other, seen as one tree. */
#ifndef IMAGE_STACK_H
#define IMAGE_STACK_H

#include "image/image.h"
#include "image/lazy_feed.h"

enum { STACK_IMAGES_MAX = 128 };

/* fd and name are borrowed; fd must stay open as long as the stack. */
struct stack_image {
	const struct image_format *format;
	int fd;
	const char *name;             /* for messages */
	const struct lazy_feed *feed; /* of a lazy image; otherwise NULL */
};

/* Start with {0}. */
struct stack {
	struct fs *fs;     /* the merged view; of the only image, where there is one */
	struct fs *merged; /* NULL where there is one image */
	size_t image_count;
	struct fs *images[STACK_IMAGES_MAX];
};

/* Whether one of the images has a lost+found that is the filesystem's own. */
bool stack_has_lost_found(const struct stack_image *images, size_t count);

/* The view of one image. Its error is without the image's name. */
int stack_image_open(const struct stack_image *image, struct fs **fs, struct ramet_error *err);

/* Open the images, the bottom one first; from 1 to STACK_IMAGES_MAX. Release the stack whatever was
 * answered. Errors: those of the readers, with the image's name in front; E2BIG. */
int stack_open(const struct stack_image *images, size_t count, struct stack *stack,
	struct ramet_error *err);
void stack_close(struct stack *stack);

#endif
