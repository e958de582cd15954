/* SPDX-License-Identifier: Apache-2.0 */
#include "api/chain_view.h"

#include "base/cleanup.h"

int chain_view_open(const struct chain *chain, struct chain_view *view, struct ramet_error *err)
{
	*view = (struct chain_view){0};
	const char *paths[RAMET_CHAIN_MAX];
	struct stack_image images[RAMET_CHAIN_MAX];
	for (size_t i = 0; i < chain->count; i++) {
		const struct chain_image *image = &chain->items[i];
		paths[i] = image->path;
		images[i] = (struct stack_image){
			image->format, image->fd, image->path, image->feed};
	}
	chain_write(&view->name, paths, chain->count);
	if (view->name.failed)
		return error_memory(err);
	view->own_lost_found = stack_has_lost_found(images, chain->count);
	return stack_open(images, chain->count, &view->stack, err);
}

void chain_view_close(struct chain_view *view)
{
	stack_close(&view->stack);
	text_free(&view->name);
}
