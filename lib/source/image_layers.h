/* SPDX-License-Identifier: Apache-2.0 */
/* What container images of every form come down to: layers, one over the other, with digests. */
#ifndef SOURCE_IMAGE_LAYERS_H
#define SOURCE_IMAGE_LAYERS_H

#include "base/digest.h"
#include "source/source.h"
#include "source/stream.h"

struct image_layer {
	char *name;
	struct reel reel;
	bool packed; /* the next is known */
	struct digest packed_digest, digest;
	struct stream *stream;
};

/* A source of layers. Whoever opens one fills it in. */
struct image_source {
	struct source source;
	struct archive_library lib;
	struct reel outer; /* the archive that the layers are in; for those that need one */
	char *outer_name;
	VECTOR(struct image_layer) layers;
	struct stream *reading; /* which of the layers' streams is read for content */
};

/* kind: as struct source_ops has it, "OCI image". Errors: ENOMEM, ELIBACC. */
int image_source_new(struct image_source **image, const char *place, struct ramet_error *err);

/*
 * Put one more layer on top. reel->name is copied. packed (may be NULL) is the digest of the bytes as
 * they are, digest that of the tar inside.
 */
int image_source_add(struct image_source *image, const struct reel *reel,
	const struct digest *packed, const struct digest *digest, struct ramet_error *err);

#endif
