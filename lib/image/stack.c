/* SPDX-License-Identifier: Apache-2.0 */
#include "image/stack.h"

#include <errno.h>

#include "base/cleanup.h"
#include "image/lazy_view.h"
#include "image/merged.h"

int stack_image_open(const struct stack_image *image, struct fs **fs, struct ramet_error *err)
{
	return image->feed ? lazy_view_open(image->format, image->feed, fs, err)
			   : image->format->open(image->fd, fs, err);
}

static int open_images(const struct stack_image *images, size_t count, struct stack *stack,
	struct ramet_error *err)
{
	for (size_t i = 0; i < count; i++) {
		int r = stack_image_open(&images[i], &stack->images[i], err);
		if (r < 0)
			return error_prefix(err, r, "%s", images[i].name);
		stack->image_count++;
	}
	return 0;
}

static int merge_images(const struct stack_image *images, size_t count, struct stack *stack,
	struct ramet_error *err)
{
	struct merged_layer layers[STACK_IMAGES_MAX];
	for (size_t i = 0; i < count; i++)
		layers[i] = (struct merged_layer){stack->images[i], images[i].name};
	return merged_open(layers, count, &stack->merged, err);
}

bool stack_has_lost_found(const struct stack_image *images, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (images[i].format == &image_ext4)
			return true;
	return false;
}

int stack_open(const struct stack_image *images, size_t count, struct stack *stack,
	struct ramet_error *err)
{
	*stack = (struct stack){0};
	if (count > STACK_IMAGES_MAX)
		return error_set(
			err, E2BIG, "more than %d images cannot be put together", STACK_IMAGES_MAX);
	int r = open_images(images, count, stack, err);
	if (r == 0 && count > 1)
		r = merge_images(images, count, stack, err);
	stack->fs = stack->merged ? stack->merged : stack->images[0];
	return r;
}

void stack_close(struct stack *stack)
{
	fs_close(TAKE_PTR(stack->merged));
	while (stack->image_count > 0)
		fs_close(stack->images[--stack->image_count]);
	stack->fs = NULL;
}
