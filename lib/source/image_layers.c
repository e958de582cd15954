/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams verify SHA-256 while they are read for the tree. Another algorithm, which is seldom, is
 * computed in a reading of its own before.
 */
#include "source/image_layers.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "source/compressed.h"

static int verify(const struct image_source *image, const struct image_layer *layer,
	const struct digest *digest, bool unpacked, struct ramet_error *err)
{
	struct digest_context context;
	struct digest is;
	struct feed *feed = NULL;
	const void *bytes;
	size_t length = 1;
	int r = reel_feed(&layer->reel, &image->lib, &feed, err);
	if (r == 0 && unpacked)
		r = feed_unpack(&feed, layer->name, &image->lib, NULL, err);
	digest_begin(&context, digest->kind);
	while (r == 0 && length) {
		r = feed_next(feed, &bytes, &length, err);
		if (r == 0)
			digest_update(&context, bytes, length);
	}
	feed_close(feed);
	if (r < 0)
		return r;
	digest_end(&context, &is);
	char word[DIGEST_TEXT_MAX];
	return digest_equal(&is, digest)
		       ? 0
		       : error_set(err, EUCLEAN, "%s is damaged: its digest%s is %s", layer->name,
				 unpacked ? " when unpacked" : "", digest_text(&is, word));
}

/* For a stream: SHA-256, or NULL after what is another algorithm's was verified here. */
static int stream_digest(const struct image_source *image, const struct image_layer *layer,
	const struct digest *digest, bool unpacked, const uint8_t **sha256, struct ramet_error *err)
{
	*sha256 = digest->kind == DIGEST_SHA256 ? digest->bytes : NULL;
	return *sha256 ? 0 : verify(image, layer, digest, unpacked, err);
}

static int apply(const struct image_source *image, const struct image_layer *layer,
	struct layers *layers, const struct source_options *options, struct ramet_error *err)
{
	struct stream_options stream = {.whiteouts = true};
	int r = stream_digest(image, layer, &layer->digest, true, &stream.digest, err);
	if (r == 0 && layer->packed)
		r = stream_digest(
			image, layer, &layer->packed_digest, false, &stream.packed_digest, err);
	return r < 0 ? r : stream_apply(layer->stream, layers, &stream, options, err);
}

static int image_walk(struct source *source, struct tree *tree,
	const struct source_options *options, struct ramet_error *err)
{
	const struct image_source *image = (const struct image_source *)source;
	_cleanup_layers_ struct layers *layers = NULL;
	int r = layers_new(&layers, tree, err);
	for (size_t i = 0; r == 0 && i < image->layers.count; i++)
		r = apply(image, &image->layers.items[i], layers, options, err);
	return r;
}

static void image_close(struct source *source)
{
	struct image_source *image = (struct image_source *)source;
	for (size_t i = 0; i < image->layers.count; i++) {
		stream_free(image->layers.items[i].stream);
		free(image->layers.items[i].name);
	}
	vector_free(&image->layers);
	archive_unload(&image->lib);
	source_release(source);
	free(image->outer_name);
	free(image);
}

static const struct source_ops image_ops = {
	.name = "container image",
	.hostile = true,
	.walk = image_walk,
	.close = image_close,
};

int image_source_new(struct image_source **out, const char *place, struct ramet_error *err)
{
	struct image_source *image = calloc(1, sizeof *image);
	if (!image)
		return error_memory(err);
	source_init(&image->source, &image_ops);
	image->source.place = strdup(place);
	int r = image->source.place ? archive_load(&image->lib, err) : error_memory(err);
	if (r < 0)
		image_close(&image->source);
	else
		*out = image;
	return r;
}

int image_source_add(struct image_source *image, const struct reel *reel,
	const struct digest *packed, const struct digest *digest, struct ramet_error *err)
{
	struct image_layer *layer = vector_push(&image->layers);
	if (!layer)
		return error_memory(err);
	*layer = (struct image_layer){.name = strdup(reel->name),
		.reel = *reel,
		.packed = packed != NULL,
		.digest = *digest};
	if (packed)
		layer->packed_digest = *packed;
	if (!layer->name)
		return error_memory(err);
	layer->reel.name = layer->name;
	int r = stream_new(&layer->stream, &layer->reel, &image->lib, err);
	if (r == 0)
		stream_share(layer->stream, &image->reading);
	return r;
}
