/* SPDX-License-Identifier: Apache-2.0 */
#include "api/fork_files.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "api/lazy_base.h"
#include "base/cleanup.h"
#include "image/image.h"
#include "volume/volume.h"

/* The largest directories and texts fit, a volume made to eat memory or time does not. The slowest
 * form (a patch of noise) moves more than 2 MiB a second. */
#define CHILD_MEMORY           ((size_t)2 << 30)
#define CHILD_SECONDS          120
#define CHILD_BYTES_PER_SECOND (2 << 20)
#define CHILD_SECONDS_MAX      (24 * 3600)

static uint64_t allocated(int fd)
{
	struct stat st;
	return fstat(fd, &st) < 0 ? 0 : (uint64_t)st.st_blocks * 512;
}

struct sandbox_limits fork_files_limits(const struct fork_files *files)
{
	uint64_t bytes = allocated(files->volume_fd);
	for (size_t i = 0; i < files->image_count; i++)
		bytes += allocated(files->images[i].fd);
	return (struct sandbox_limits){.memory = CHILD_MEMORY,
		.cpu_seconds = (unsigned)MIN(CHILD_SECONDS + bytes / CHILD_BYTES_PER_SECOND,
			(uint64_t)CHILD_SECONDS_MAX)};
}

size_t fork_files_fds(const struct fork_files *files, int more, int fds[static FORK_FILES_FDS])
{
	size_t count = 0;
	for (size_t i = 0; i < files->image_count; i++) {
		fds[count++] = files->images[i].fd;
		if (files->feeds[i]) {
			lazy_feed_fds(files->feeds[i], fds + count);
			count += LAZY_FEED_FDS;
		}
	}
	fds[count++] = files->volume_fd;
	fds[count++] = more;
	return count;
}

/* What the host knows of a clone, asked before the child is made, which may ask nothing. Where the
 * host cannot tell, all content is read. */
static int ask_host(
	const struct store_fork *fork, struct fork_files *files, struct ramet_error *err)
{
	const struct volume_provider *provider = volume_provider_find(fork->provider);
	if (!files->source.clone || !provider || !provider->differences)
		return 0;
	int r = provider->differences(
		files->images[0].fd, files->volume_fd, &files->differences, err);
	if (r == 0)
		files->source.differences = &files->differences;
	return r == -EOPNOTSUPP || r == -E2BIG ? 0 : r;
}

static int open_image(struct ramet_store *store, struct fork_files *files, const char *what,
	const struct store_layer *layer, struct ramet_error *err)
{
	const char *path = layer->plain ? layer->plain : layer->path;
	if (files->image_count == STACK_IMAGES_MAX)
		return error_set(err, E2BIG, "the fork stands on too many images");
	struct text *name = &files->names[files->image_count];
	struct stack_image *image = &files->images[files->image_count++];
	text_format(name, "the %s %s", what, path);
	*image = (struct stack_image){.fd = -1, .name = name->data};
	if (name->failed)
		return error_memory(err);
	image->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (image->fd < 0)
		return error_errno(err, errno, "cannot open %s", image->name);
	image->format = image_format_find(layer->format);
	if (!image->format)
		return error_set(err, ENOTSUP, "%s is in a format, %s, that this ramet cannot read",
			image->name, layer->format);
	if (!lazy_probe(image->fd))
		return 0;
	struct lazy_feed **feed = &files->feeds[files->image_count - 1];
	int r = lazy_base_feed(store, layer->image, image->fd, image->name, layer->made, feed, err);
	image->feed = *feed;
	return r;
}

static int open_images(struct ramet_store *store, const struct store_fork *fork,
	struct fork_files *files, struct ramet_error *err)
{
	const struct store_layer base = {.image = fork->base_image,
		.path = fork->base,
		.format = fork->format,
		.made = fork->base_made,
		.plain = fork->base_plain};
	int r = open_image(store, files, "base", &base, err);
	for (size_t i = 0; i < fork->layers.count && r == 0; i++)
		r = open_image(store, files, "layer", &fork->layers.items[i], err);
	return r;
}

int fork_files_open(struct ramet_store *store, const struct store_fork *fork,
	struct fork_files *files, struct ramet_error *err)
{
	*files = (struct fork_files){.volume_fd = -1};
	text_format(&files->base_name,
		fork->layers.count ? "the images below fork %s" : "the base %s",
		fork->layers.count ? fork->name : fork->base);
	text_format(&files->volume_name, "the volume of fork %s", fork->name);
	if (files->base_name.failed || files->volume_name.failed)
		return error_memory(err);
	int r = open_images(store, fork, files, err);
	if (r < 0)
		return r;
	files->volume_fd = open(fork->volume, O_RDONLY | O_CLOEXEC);
	if (files->volume_fd < 0)
		return error_errno(
			err, errno, "cannot open %s, %s", files->volume_name.data, fork->volume);
	files->source = (struct views_source){.images = files->images,
		.image_count = files->image_count,
		.clone = strcmp(fork->mode, "clone") == 0,
		.volume_fd = files->volume_fd,
		.base_name = files->base_name.data,
		.volume_name = files->volume_name.data};
	return ask_host(fork, files, err);
}

void fork_files_close(struct fork_files *files)
{
	for (size_t i = 0; i < files->image_count; i++) {
		lazy_feed_close(files->feeds[i]);
		cleanup_close(&files->images[i].fd);
		text_free(&files->names[i]);
	}
	cleanup_close(&files->volume_fd);
	text_free(&files->base_name);
	text_free(&files->volume_name);
	ranges_free(&files->differences);
}
