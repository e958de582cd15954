/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The compressors of squashfs that a kernel reads and libsquashfs writes. lz4 knows no levels, but
 * two ways to compress; they are called 1 and 2 here.
 */
#include "image/compression.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sqfs/error.h>

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

/*
 * libsquashfs (1.2) lets lz4 make a small block larger and stores it as compressed; unsquashfs calls
 * that damage. What does not shrink is answered here with 0: stored as it is.
 */
struct shrinking {
	sqfs_compressor_t base;
	sqfs_compressor_t *inner;
};

static sqfs_object_t *shrinking_copy(const sqfs_object_t *object);

static void shrinking_destroy(sqfs_object_t *object)
{
	sqfs_destroy(((struct shrinking *)object)->inner);
	free(object);
}

static void get_configuration(const sqfs_compressor_t *base, sqfs_compressor_config_t *config)
{
	const sqfs_compressor_t *inner = ((const struct shrinking *)base)->inner;
	inner->get_configuration(inner, config);
}

static int write_options(sqfs_compressor_t *base, sqfs_file_t *file)
{
	sqfs_compressor_t *inner = ((struct shrinking *)base)->inner;
	return inner->write_options(inner, file);
}

static int read_options(sqfs_compressor_t *base, sqfs_file_t *file)
{
	sqfs_compressor_t *inner = ((struct shrinking *)base)->inner;
	return inner->read_options(inner, file);
}

static sqfs_s32 do_block(
	sqfs_compressor_t *base, const sqfs_u8 *in, sqfs_u32 size, sqfs_u8 *out, sqfs_u32 space)
{
	sqfs_compressor_t *inner = ((struct shrinking *)base)->inner;
	sqfs_s32 length = inner->do_block(inner, in, size, out, space);
	return length > 0 && (sqfs_u32)length >= size ? 0 : length;
}

static int wrap(sqfs_compressor_t *inner, sqfs_compressor_t **compressor)
{
	struct shrinking *outer = calloc(1, sizeof *outer);
	if (!outer) {
		sqfs_destroy(inner);
		return SQFS_ERROR_ALLOC;
	}
	outer->base = (sqfs_compressor_t){{shrinking_destroy, shrinking_copy}, get_configuration,
		write_options, read_options, do_block};
	outer->inner = inner;
	*compressor = &outer->base;
	return 0;
}

static sqfs_object_t *shrinking_copy(const sqfs_object_t *object)
{
	sqfs_compressor_t *inner = sqfs_copy(((const struct shrinking *)object)->inner), *outer;
	return inner && wrap(inner, &outer) == 0 ? &outer->base : NULL;
}

int compression_create(const sqfs_compressor_config_t *config, sqfs_compressor_t **compressor)
{
	sqfs_compressor_t *inner;
	int r = sqfs_compressor_create(config, &inner);
	if (r != 0)
		return r;
	if (config->id == SQFS_COMP_LZ4 && !(config->flags & SQFS_COMP_FLAG_UNCOMPRESS))
		return wrap(inner, compressor);
	*compressor = inner;
	return 0;
}
