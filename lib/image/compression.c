/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The compressors of squashfs that a kernel reads and libsquashfs writes. lz4 knows no levels, but
 * two ways to compress; they are called 1 and 2 here.
 */
#include "image/compression.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"

struct compression {
	const char *name;
	SQFS_COMPRESSOR id;
	unsigned least, most, usual;
};

static const struct compression compressions[] = {
	{"gzip", SQFS_COMP_GZIP, 1, 9, 9},
	{"xz", SQFS_COMP_XZ, 0, 9, 6},
	{"lz4", SQFS_COMP_LZ4, 1, 2, 1},
	{"zstd", SQFS_COMP_ZSTD, 1, 22, 3},
};

static const struct compression *find(const char *word, size_t length)
{
	for (size_t i = 0; i < ARRAY_SIZE(compressions); i++)
		if (strlen(compressions[i].name) == length &&
			memcmp(compressions[i].name, word, length) == 0)
			return &compressions[i];
	return NULL;
}

static int parse_level(const struct compression *compression, const char *text, unsigned *level,
	const char *word, struct ramet_error *err)
{
	uint64_t number;
	if (text_parse_uint(text, compression->most, &number) < 0 || number < compression->least)
		return error_set(err, EINVAL,
			"the compression '%s' is not known: %s takes a level from %u to %u", word,
			compression->name, compression->least, compression->most);
	*level = (unsigned)number;
	return 0;
}

int compression_parse(const char *word, size_t block_size, sqfs_compressor_config_t *config,
	struct ramet_error *err)
{
	if (!word)
		word = COMPRESSION_DEFAULT;
	const char *colon = strchrnul(word, ':');
	const struct compression *compression = find(word, (size_t)(colon - word));
	if (!compression)
		return error_set(err, EINVAL,
			"the compression '%s' is not known: there are gzip, xz, lz4 and zstd, each "
			"with an optional :LEVEL",
			word);
	unsigned level = compression->usual;
	if (*colon) {
		int r = parse_level(compression, colon + 1, &level, word, err);
		if (r < 0)
			return r;
	}
	if (sqfs_compressor_config_init(config, compression->id, block_size, 0) != 0)
		return error_set(err, EINVAL, "the compression '%s' cannot be set up", word);
	if (compression->id == SQFS_COMP_LZ4)
		config->flags = level == 2 ? SQFS_COMP_FLAG_LZ4_HC : 0;
	else
		config->level = level;
	return 0;
}
