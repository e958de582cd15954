/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who opens the folders must know which they are, and only the lazy file says so: a child reads it
 * first, and tells. What it tells is distrusted: a path is opened as a folder, to be looked into and
 * for nothing else, and its name goes into messages without control characters.
 */
#include "api/lazy_base.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sandbox.h"
#include "source/tree.h"

/* The file is mapped, and read once for its checksums. */
#define MEMORY  ((size_t)64 << 20) /* besides what is mapped */
#define SECONDS 600

struct told {
	char format[16];
	uint64_t image_bytes, content_bytes, files;
};

struct reading {
	struct lazy_base *base;
	struct told told;
	struct sandbox_line line;
	int failed; /* to keep what was heard */
};

static int read_lazy(void *ctx, struct ramet_error *err)
{
	struct reading *reading = ctx;
	_cleanup_lazy_ struct lazy *lazy = NULL;
	int r = lazy_open(reading->base->fd, reading->base->path, &lazy, err);
	if (r < 0)
		return r;
	struct lazy_facts facts;
	lazy_describe(lazy, &facts);
	snprintf(reading->told.format, sizeof reading->told.format, "%s", facts.format);
	reading->told.image_bytes = facts.image_bytes;
	reading->told.content_bytes = facts.content_bytes;
	reading->told.files = facts.files;
	for (uint32_t i = 0; i < facts.roots && r == 0; i++) {
		const char *root = lazy_root(lazy, i);
		r = sandbox_say(&reading->line, 0, root, strlen(root));
	}
	return r < 0 ? error_errno(err, -r, "cannot tell the folders of %s", reading->base->path)
		     : 0;
}

static void hear_root(void *ctx, unsigned kind, const void *bytes, size_t length)
{
	struct reading *reading = ctx;
	const char *path = bytes;
	if (reading->failed)
		return;
	if (!length || path[0] != '/' || memchr(path, '\0', length) ||
		reading->base->roots.count >= TREE_MOST_ORIGINS) {
		reading->failed = -EUCLEAN;
		return;
	}
	char *copy = strndup(path, length);
	char **place = copy ? vector_push(&reading->base->roots) : NULL;
	if (place)
		*place = copy;
	else
		free(copy);
	reading->failed = place ? 0 : -ENOMEM;
}

static int hear_lazy(struct lazy_base *base, struct ramet_error *err)
{
	struct reading reading = {.base = base};
	struct stat st;
	if (fstat(base->fd, &st) < 0)
		return error_errno(err, errno, "cannot look at %s", base->path);
	const struct sandbox_job job = {
		.what = base->path,
		.limits = {.memory = MEMORY + (size_t)st.st_size, .cpu_seconds = SECONDS},
		.work = read_lazy,
		.ctx = &reading,
		.fds = &base->fd,
		.fd_count = 1,
		.answer = &reading.told,
		.answer_size = sizeof reading.told,
		.maps = true,
		.line = &reading.line,
		.hear = hear_root,
		.hear_ctx = &reading,
	};
	int r = sandbox_run_job(&job, err);
	if (r < 0)
		return r;
	if (reading.failed == -ENOMEM)
		return error_memory(err);
	reading.told.format[sizeof reading.told.format - 1] = '\0';
	base->format = image_format_find(reading.told.format);
	base->image_bytes = reading.told.image_bytes;
	base->content_bytes = reading.told.content_bytes;
	base->files = reading.told.files;
	if (reading.failed)
		return error_set(
			err, EUCLEAN, "%s is damaged: it names no folder of this host", base->path);
	if (!base->format)
		return error_set(err, ENOTSUP,
			"%s is of an image in a format, %s, that this ramet does not know",
			base->path, text_disarm(reading.told.format));
	return 0;
}

int lazy_base_open(struct lazy_base *base, const char *path, struct ramet_error *err)
{
	base->path = path;
	base->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (base->fd < 0)
		return error_errno(err, errno, "cannot open the lazy image %s", path);
	if (!lazy_probe(base->fd))
		return error_set(err, EMEDIUMTYPE,
			"%s is no lazy image; 'ramet build --lazy' makes one", path);
	return hear_lazy(base, err);
}

static int open_root(struct lazy_base *base, size_t index, const struct source_words *words,
	bool made, struct ramet_error *err)
{
	const struct source_root root = {.lazy = base->path,
		.path = base->roots.items[index],
		.number = index + 1,
		.count = base->roots.count,
		.made = made};
	const char *path;
	int *fd = vector_push(&base->fds);
	if (!fd)
		return error_memory(err);
	*fd = source_words_open(words, &root, &path, err);
	if (*fd < 0)
		return *fd;
	char *absolute = realpath(path, NULL);
	char **place = absolute ? vector_push(&base->places) : NULL;
	if (!absolute)
		return error_errno(err, errno, "cannot open the folder %s", path);
	if (!place) {
		free(absolute);
		return error_memory(err);
	}
	*place = absolute;
	return 0;
}

int lazy_base_open_roots(struct lazy_base *base, const struct source_words *words, bool made,
	struct ramet_error *err)
{
	int r = base->roots.count ? source_words_check(words, base->path, base->roots.items[0],
					    base->roots.count, err)
				  : 0;
	for (size_t i = 0; i < base->roots.count && r == 0; i++)
		r = open_root(base, i, words, made, err);
	return r < 0 ? r : source_words_refuse_idle(words->given, words->meant, base->path, err);
}

int lazy_base_feed(struct ramet_store *store, int64_t image, int fd, const char *path,
	bool believed, struct lazy_feed **feed, struct ramet_error *err)
{
	_cleanup_roots_ struct store_roots roots = {0};
	int r = store ? store_roots_find(store, image, &roots, err) : 0;
	const struct lazy_places places = {(const char *const *)roots.paths, roots.count};
	return r < 0 ? r : lazy_feed_open(fd, path, believed, &places, feed, err);
}

void lazy_base_close(struct lazy_base *base)
{
	for (size_t i = 0; i < base->fds.count; i++)
		cleanup_close(&base->fds.items[i]);
	for (size_t i = 0; i < base->roots.count; i++)
		free(base->roots.items[i]);
	for (size_t i = 0; i < base->places.count; i++)
		free(base->places.items[i]);
	vector_free(&base->fds);
	vector_free(&base->places);
	vector_free(&base->roots);
	cleanup_close(&base->fd);
	base->fd = -1;
}
