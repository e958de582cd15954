/* SPDX-License-Identifier: Apache-2.0 */
/* The provider `file`: a sparse file with a blank ext4, beside a base that stays read-only. Works on
 * every filesystem that has sparse files, for every base. */
#include <errno.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "volume/template.h"
#include "volume/volume.h"

#define DEFAULT_SIZE ((uint64_t)10 << 30)

struct file_batch {
	struct volume_batch batch;
	struct template template;
};

static bool file_probe(const struct volume_place *place, const struct volume_base *base,
	uint64_t size, char reason[static VOLUME_REASON_SIZE])
{
	snprintf(reason, VOLUME_REASON_SIZE, "a sparse file serves everywhere");
	return true;
}

static int check_size(uint64_t size, struct ramet_error *err)
{
	char given[32], limit[32];
	if (size < TEMPLATE_SIZE_MIN)
		return error_set(err, EINVAL,
			"a volume of %s is too small for a file system: at least %s are needed",
			text_size(size, given), text_size(TEMPLATE_SIZE_MIN, limit));
	if (size >= TEMPLATE_SIZE_LIMIT)
		return error_set(err, EFBIG,
			"a volume of %s is larger than ramet makes them: they are smaller than %s",
			text_size(size, given), text_size(TEMPLATE_SIZE_LIMIT, limit));
	return 0;
}

static void file_close(struct volume_batch *batch)
{
	struct file_batch *file = (struct file_batch *)batch;
	template_free(&file->template);
	free(file);
}

static int file_open(const struct volume_place *place, const struct volume_base *base,
	uint64_t size, struct volume_batch **batch, struct ramet_error *err)
{
	/* A device is counted in sectors, and the blank filesystem in blocks. */
	if (!checked_round_up(size ? size : DEFAULT_SIZE, 4096, &size))
		size = UINT64_MAX;
	int r = check_size(size, err);
	if (r < 0)
		return r;
	struct file_batch *file = calloc(1, sizeof *file);
	if (!file)
		return error_memory(err);
	file->batch = (struct volume_batch){.provider = &volume_file, .size = size};
	r = template_open(place, size, &file->template, err);
	if (r < 0)
		file_close(&file->batch);
	else
		*batch = &file->batch;
	return r;
}

static int file_create(
	struct volume_batch *batch, int folder, const char *name, struct ramet_error *err)
{
	struct file_batch *file = (struct file_batch *)batch;
	struct identity identity;
	int r = identity_create(&identity, err);
	if (r < 0)
		return r;
	_cleanup_close_ int fd = volume_file_create(folder, name, err);
	if (fd < 0)
		return fd;
	r = volume_file_set_size(fd, name, batch->size, err);
	if (r < 0)
		return r;
	r = template_write(&file->template, fd, &identity);
	return volume_file_finish(batch, fd, name, r, err);
}

const struct volume_provider volume_file = {
	.name = "file",
	.mode = "overlay",
	.summary = "a sparse file with a blank ext4; any base, any file system",
	.probe = file_probe,
	.open = file_open,
	.create = file_create,
	.close = file_close,
	.allocated = volume_file_allocated,
};
