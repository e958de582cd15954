/* SPDX-License-Identifier: Apache-2.0 */
#include "image/stack.h"

#include <errno.h>

#include "base/cleanup.h"
#include "image/overlay.h"

static int open_images(const struct stack_image *images, size_t count, struct stack *stack,
	struct ramet_error *err)
{
	for (size_t i = 0; i < count; i++) {
		int r = images[i].format->open(images[i].fd, &stack->images[i], err);
		if (r < 0)
			return error_prefix(err, r, "%s", images[i].name);
		stack->image_count++;
	}
	return 0;
}

/* Lay the next image over what is there. */
static int lay_over(struct stack *stack, struct fs *upper, struct ramet_error *err)
{
	struct fs **overlay = &stack->overlays[stack->overlay_count];
	fs_ref root;
	int r = upper->ops->root(upper, &root, err);
	if (r == 0)
		r = overlay_open(stack->fs, upper, root, overlay, err);
	if (r < 0)
		return r;
	stack->overlay_count++;
	stack->fs = *overlay;
	return 0;
}

int stack_open(const struct stack_image *images, size_t count, struct stack *stack,
	struct ramet_error *err)
{
	*stack = (struct stack){0};
	if (count > STACK_IMAGES_MAX)
		return error_set(
			err, E2BIG, "more than %d images cannot be put together", STACK_IMAGES_MAX);
	int r = open_images(images, count, stack, err);
	stack->fs = stack->images[0];
	for (size_t i = 1; i < count && r == 0; i++) {
		r = lay_over(stack, stack->images[i], err);
		if (r < 0)
			r = error_prefix(err, r, "%s", images[i].name);
	}
	return r;
}

void stack_close(struct stack *stack)
{
	while (stack->overlay_count > 0)
		fs_close(stack->overlays[--stack->overlay_count]);
	while (stack->image_count > 0)
		fs_close(stack->images[--stack->image_count]);
	stack->fs = NULL;
}
