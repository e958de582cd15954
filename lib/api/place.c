/* SPDX-License-Identifier: Apache-2.0 */
/*
 * This process opens the images and looks at their superblocks; the tree is for a child, which can
 * open nothing. Without the store: whatever is in a file can be looked at, also a layer by itself.
 */
#include "api/place.h"

#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "image/merged.h"
#include "image/stack.h"

/* As for a diff: the largest directories fit, and the time is enough for what a slow reader does. */
#define CHILD_MEMORY           ((size_t)2 << 30)
#define CHILD_SECONDS          120
#define CHILD_BYTES_PER_SECOND (2 << 20)
#define CHILD_SECONDS_MAX      (24 * 3600)

int place_open(struct place *place, const struct ramet_place *where, struct ramet_error *err)
{
	int r = chain_open(NULL, where->image, where->layers, &place->chain, err);
	if (r < 0)
		return r;
	r = chain_feed(&place->chain, err);
	if (r < 0)
		return r;
	size_t layers = place->chain.count - 1;
	text_format(&place->name, "the image %s", where->image);
	if (layers)
		text_format(&place->name, " and %zu layer%s", layers, layers == 1 ? "" : "s");
	return place->name.failed ? error_memory(err) : 0;
}

void place_close(struct place *place)
{
	chain_free(&place->chain);
	text_free(&place->name);
}

static int open_image(struct place_view *view, const struct chain_image *image,
	struct merged_layer *layer, struct ramet_error *err)
{
	struct text *name = &view->names[view->count];
	text_format(name, "the image %s", image->path);
	if (name->failed)
		return error_memory(err);
	const struct stack_image one = {image->format, image->fd, name->data, image->feed};
	int r = stack_image_open(&one, &view->images[view->count], err);
	if (r < 0)
		return error_prefix(err, r, "%s", name->data);
	*layer = (struct merged_layer){view->images[view->count], name->data};
	return 0;
}

int place_view_open(const struct place *place, struct place_view *view, struct ramet_error *err)
{
	struct merged_layer layers[RAMET_CHAIN_MAX];
	const struct chain *chain = &place->chain;
	int r = 0;
	while (r == 0 && view->count < chain->count) {
		r = open_image(view, &chain->items[view->count], &layers[view->count], err);
		view->count++;
	}
	if (r == 0 && chain->count > 1)
		r = merged_open(layers, chain->count, &view->merged, err);
	if (r < 0)
		return r;
	view->view = (struct changes_view){
		.fs = view->merged ? view->merged : view->images[0], .name = place->name.data};
	return 0;
}

void place_view_close(struct place_view *view)
{
	fs_close(view->merged);
	for (size_t i = 0; i < view->count; i++) {
		fs_close(view->images[i]);
		text_free(&view->names[i]);
	}
}

struct sandbox_limits place_limits(uint64_t bytes)
{
	uint64_t seconds = CHILD_SECONDS + bytes / CHILD_BYTES_PER_SECOND;
	return (struct sandbox_limits){.memory = CHILD_MEMORY,
		.cpu_seconds = (unsigned)MIN(seconds, (uint64_t)CHILD_SECONDS_MAX)};
}

/* How much there is to be read. */
static uint64_t image_bytes(const struct chain_image *image)
{
	struct lazy_facts facts;
	if (!image->feed)
		return (uint64_t)image->image.st.st_size;
	lazy_describe(lazy_feed_lazy(image->feed), &facts);
	return facts.image_bytes;
}

int place_run(const struct place *place, int (*work)(void *ctx, struct ramet_error *err), void *ctx,
	int fd, void *answer, size_t answer_size, struct ramet_error *err)
{
	const struct chain *chain = &place->chain;
	int fds[CHAIN_FDS + 1];
	size_t count = chain_fds(chain, fds);
	uint64_t bytes = 0;
	for (size_t i = 0; i < chain->count; i++)
		bytes += image_bytes(&chain->items[i]);
	if (fd >= 0)
		fds[count++] = fd;
	/* The child has no right to read the time zone. */
	tzset();
	const struct sandbox_limits limits = place_limits(bytes);
	return sandbox_run(
		place->name.data, &limits, work, ctx, fds, count, answer, answer_size, err);
}
