/* SPDX-License-Identifier: Apache-2.0 */
/* A written image becomes durable, gets its name and its digest. */
#ifndef API_PUBLISH_H
#define API_PUBLISH_H

#include "base/fd.h"

/* Publish output (see fd.h). Fills result->digest and bytes_written, of an image whose image_bytes are
 * known. */
int publish_image(
	struct outfile *output, struct ramet_build_result *result, struct ramet_error *err);

#endif
