/* SPDX-License-Identifier: Apache-2.0 */
/* An image, or a chain of images, as a source. */
#ifndef API_IMAGE_SOURCE_H
#define API_IMAGE_SOURCE_H

#include "source/source.h"

/* place: "FILE", or "BASE+LAYER+..." (base/chain_word.h). Hostile. */
int image_source_open(const char *place, const struct source_request *request,
	struct source **source, struct ramet_error *err);
bool image_source_is(int fd);

#endif
