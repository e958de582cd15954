/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands in images is read through the view that diffs read, merged where there are layers. A
 * layer alone is no tree: where the catalogue knows that an image is one, chain_open refuses it.
 */
#include "api/image_source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/chain_view.h"
#include "base/chain_word.h"
#include "base/cleanup.h"
#include "image/view.h"

struct image_source {
	struct source source;
	struct chain_word word;
	struct chain chain;
	struct chain_view view;
};

static int image_walk(struct source *source, struct tree *tree,
	const struct source_options *options, struct ramet_error *err)
{
	struct image_source *image = (struct image_source *)source;
	if (tree->root)
		return error_set(err, EINVAL,
			"the image %s is whole, and cannot be laid over another source",
			source->place);
	int r = chain_view_open(&image->chain, &image->view, err);
	return r < 0 ? r
		     : view_walk(image->view.stack.fs, source->place, image->view.own_lost_found,
			       tree, options, err);
}

static void image_close(struct source *source)
{
	struct image_source *image = (struct image_source *)source;
	chain_view_close(&image->view);
	/* The fds are the chain's. */
	vector_free(&source->fds);
	chain_free(&image->chain);
	chain_word_free(&image->word);
	source_release(source);
	free(image);
}

static const struct source_ops image_ops = {
	.name = "image",
	.hostile = true,
	.walk = image_walk,
	.close = image_close,
};

static int open_chain(
	struct image_source *image, const struct source_request *request, struct ramet_error *err)
{
	struct source *source = &image->source;
	int r = chain_word_parse(source->place, &image->word, err);
	if (r == 0)
		r = chain_open(
			request->store, image->word.base, image->word.layers, &image->chain, err);
	int fds[CHAIN_FDS];
	if (r == 0)
		r = chain_feed(&image->chain, err);
	size_t count = r == 0 ? chain_fds(&image->chain, fds) : 0;
	for (size_t i = 0; i < count; i++) {
		int *fd = vector_push(&source->fds);
		if (!fd)
			return error_memory(err);
		*fd = fds[i];
	}
	if (r == 0 && request->store)
		r = chain_facts(request->store, &image->chain, &source->read_only_paths,
			&source->process, err);
	return r;
}

int image_source_open(const char *place, const struct source_request *request, struct source **out,
	struct ramet_error *err)
{
	struct image_source *image = calloc(1, sizeof *image);
	if (!image)
		return error_memory(err);
	_cleanup_source_ struct source *source = &image->source;
	source_init(source, &image_ops);
	source->place = strdup(place);
	int r = source->place ? open_chain(image, request, err) : error_memory(err);
	if (r < 0)
		return r;
	*out = TAKE_PTR(source);
	return 0;
}

bool image_source_is(int fd)
{
	for (size_t i = 0; image_formats[i]; i++)
		if (image_formats[i]->probe(fd))
			return true;
	return lazy_probe(fd);
}
