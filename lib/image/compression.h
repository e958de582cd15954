/* SPDX-License-Identifier: Apache-2.0 */
/* "zstd:3" and its like, as libsquashfs wants them. */
#ifndef IMAGE_COMPRESSION_H
#define IMAGE_COMPRESSION_H

#include <sqfs/compressor.h>

#include "base/error.h"

#define COMPRESSION_DEFAULT "zstd:3"

/* NULL is the default. -EINVAL and a sentence that says what there is, or the range of levels. */
int compression_parse(const char *word, size_t block_size, sqfs_compressor_config_t *config,
	struct ramet_error *err);

/* A compressor for config, which the caller sqfs_destroy()s. 0 or an SQFS_ERROR code. */
int compression_create(const sqfs_compressor_config_t *config, sqfs_compressor_t **compressor);

#endif
