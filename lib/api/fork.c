/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/cleanup.h"
#include "image/image.h"
#include "store/batch.h"
#include "store/images.h"
#include "volume/volume.h"

/* The base's row; a base that ramet did not build is looked at and gets one. */
static int find_base(struct ramet_store *store, int fd, const char *path, struct store_image *image,
	struct ramet_error *err)
{
	int r = store_image_find(store, fd, path, image, err);
	if (r < 0 || image->id)
		return r;
	if (!S_ISREG(image->st.st_mode))
		return error_set(err, EMEDIUMTYPE, "the base %s is not a file", path);
	const struct image_format *format;
	r = image_identify(fd, path, &format, err);
	if (r < 0)
		return r;
	const struct store_image_facts facts = {.format = format->name};
	return store_image_insert(store, image, &facts, err);
}

/* The base must not change while it is cloned, or between the look at it and the forks' birth. */
static int check_unchanged(const struct store_image *image, struct ramet_error *err)
{
	const char *state = store_image_state(image->path, image->st.st_size,
		stat_mtime_ns(&image->st), (int64_t)image->st.st_ino);
	if (strcmp(state, "unchanged") == 0)
		return 0;
	return error_set(err, ESTALE, "the base %s was %s while it was being forked", image->path,
		strcmp(state, "missing") == 0 ? "removed" : "changed");
}

static int make_forks(struct ramet_store *store, const struct store_plan *plan,
	struct volume_batch *volumes, const struct store_image *image, struct ramet_error *err)
{
	_cleanup_batch_ struct store_batch batch;
	int r = store_batch_begin(store, plan, &batch, err);
	volumes->sync_each = batch.sync_each;
	for (unsigned i = 0; r == 0 && i < store_plan_count(plan); i++) {
		char name[STORE_NAME_SIZE];
		store_plan_name(plan, i, name);
		_cleanup_close_ int folder = store_batch_folder(&batch, i, err);
		r = folder < 0 ? folder : volumes->provider->create(volumes, folder, name, err);
	}
	if (r == 0)
		r = check_unchanged(image, err);
	return r < 0 ? r : store_batch_finish(&batch, err);
}

int ramet_fork(struct ramet_store *store, const struct ramet_fork_options *options,
	struct ramet_fork_result *result, struct ramet_error *err)
{
	struct store_plan plan = {.name = options->name, .count = options->count};
	int r = store_plan_check(&plan, err);
	if (r < 0)
		return r;
	_cleanup_close_ int fd = open(options->base, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return error_errno(err, errno, "cannot open the base %s", options->base);
	_cleanup_image_ struct store_image image = {0};
	r = find_base(store, fd, options->base, &image, err);
	if (r < 0)
		return r;
	const struct volume_place place = {.dirfd = store->dirfd, .root = store->root};
	const struct volume_base base = {.fd = fd,
		.path = options->base,
		.format = image.format,
		.size = (uint64_t)image.st.st_size};
	const struct volume_provider *provider;
	r = volume_choose(
		options->provider, &place, &base, options->size, &provider, result->reason, err);
	if (r < 0)
		return r;
	_cleanup_volumes_ struct volume_batch *volumes = NULL;
	r = provider->open(&place, &base, options->size, &volumes, err);
	if (r < 0)
		return r;
	plan.image = image.id;
	plan.provider = result->provider = provider->name;
	plan.mode = result->mode = provider->mode;
	plan.size = volumes->size;
	result->size = volumes->size;
	return make_forks(store, &plan, volumes, &image, err);
}
