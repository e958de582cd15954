/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checksums and what the tables say are looked at when the file is opened; the tree that the
 * metadata make is walked in a child, as that of any image; the source files are this process's to
 * open.
 */
#include "api/verify_lazy.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "api/place.h"
#include "base/cleanup.h"
#include "base/progress.h"
#include "image/lazy_content.h"
#include "image/lazy_view.h"
#include "look/look.h"

struct counting {
	const struct image_format *format;
	const struct lazy_feed *feed;
	const char *name;
	struct census census;
};

static int count_work(void *ctx, struct ramet_error *err)
{
	struct counting *counting = ctx;
	_cleanup_fs_ struct fs *fs = NULL;
	int r = lazy_view_open(counting->format, counting->feed, &fs, err);
	if (r < 0)
		return r;
	const struct changes_view view = {.fs = fs, .name = counting->name};
	return look_census(&view, &counting->census, err);
}

static int count_tree(const struct verify_lazy *verify, const struct lazy_feed *feed,
	const struct image_format *format, struct ramet_verify_result *result,
	struct ramet_error *err)
{
	_cleanup_text_ struct text name = {0};
	text_format(&name, "the image %s", verify->path);
	if (name.failed)
		return error_memory(err);
	struct counting counting = {.format = format, .feed = feed, .name = name.data};
	struct lazy_facts facts;
	lazy_describe(lazy_feed_lazy(feed), &facts);
	const struct sandbox_limits limits = place_limits(facts.metadata_bytes);
	int fds[LAZY_FEED_FDS];
	struct ramet_error why = {0};
	lazy_feed_fds(feed, fds);
	int r = sandbox_run(name.data, &limits, count_work, &counting, fds, LAZY_FEED_FDS,
		&counting.census, sizeof counting.census, &why);
	result->entries = counting.census.entries;
	result->files = counting.census.files;
	result->content_bytes = counting.census.content_bytes;
	if (r == -EUCLEAN || r == -EMEDIUMTYPE) {
		verify->finding(verify->ctx, why.message);
		return 0;
	}
	if (r < 0 && err)
		*err = why;
	return r;
}

/* What is given is to be noted, and so is absolute. */
static int keep_given(
	const struct verify_lazy *verify, uint32_t i, const char *given, struct ramet_error *err)
{
	verify->given->paths[i] = realpath(given, NULL);
	return verify->given->paths[i]
		       ? 0
		       : error_errno(err, errno, "cannot open the folder %s", given);
}

static int find_places(const struct verify_lazy *verify, const struct lazy *lazy,
	const char ***items, struct ramet_error *err)
{
	struct lazy_facts facts;
	lazy_describe(lazy, &facts);
	*items = calloc((size_t)facts.roots + 1, sizeof **items);
	verify->given->paths = calloc((size_t)facts.roots + 1, sizeof(char *));
	if (!*items || !verify->given->paths)
		return error_memory(err);
	verify->given->count = facts.roots;
	int r = facts.roots ? source_words_check(verify->words, verify->path, lazy_root(lazy, 0),
				      facts.roots, err)
			    : 0;
	for (uint32_t i = 0; i < facts.roots && r == 0; i++) {
		const struct source_root root = {.lazy = verify->path,
			.path = lazy_root(lazy, i),
			.number = i + 1,
			.count = facts.roots};
		const char *given = source_words_given(verify->words, &root);
		(*items)[i] = source_words_place(verify->words, &root);
		if (given)
			r = keep_given(verify, i, given, err);
	}
	return r < 0 ? r
		     : source_words_refuse_idle(
			       verify->words->given, verify->words->meant, verify->path, err);
}

static int check_sources(
	const struct verify_lazy *verify, const struct lazy *lazy, struct ramet_error *err)
{
	struct meter meter = {
		.report = verify->progress, .ctx = verify->progress_ctx, .step = "verify"};
	struct lazy_facts facts;
	int *roots;
	_cleanup_free_ const char **items = NULL;
	lazy_describe(lazy, &facts);
	int r = find_places(verify, lazy, &items, err);
	const struct lazy_places places = {items, facts.roots};
	if (r == 0 && lazy_roots_open(lazy, &places, &roots) < 0)
		r = error_memory(err);
	if (r < 0)
		return r;
	meter.total = facts.files;
	/* A folder that is gone is said once, and not for each file that was in it. */
	for (uint32_t i = 0; i < facts.roots; i++)
		if (roots[i] < 0) {
			struct ramet_error why = {0};
			error_errno(&why, -roots[i], "cannot open %s, which its content is in",
				lazy_place(lazy, &places, i));
			verify->finding(verify->ctx, why.message);
		}
	for (uint32_t i = 0; i < facts.files && r == 0; i++) {
		struct ramet_error why = {0};
		struct lazy_file file;
		lazy_file(lazy, i, &file);
		meter_advance(&meter, i);
		if (roots[file.root] < 0)
			continue;
		_cleanup_close_ int fd = lazy_content_open(lazy, roots, i, &why);
		/* What we lack says nothing of the file. */
		if (fd == -ENOMEM || fd == -EMFILE || fd == -ENFILE)
			r = error_set(err, -fd, "%s", why.message);
		else if (fd < 0)
			verify->finding(verify->ctx, why.message);
	}
	lazy_roots_close(lazy, roots);
	return r;
}

static int look_inside(const struct verify_lazy *verify, const struct lazy_feed *feed,
	const struct image_format **format, struct ramet_verify_result *result,
	struct ramet_error *err)
{
	int r = lazy_format(verify->fd, verify->path, format, err);
	if (r < 0)
		return r;
	snprintf(result->format, sizeof result->format, "%s", (*format)->name);
	r = count_tree(verify, feed, *format, result, err);
	return r < 0 ? r : check_sources(verify, lazy_feed_lazy(feed), err);
}

int verify_lazy(const struct verify_lazy *verify, const struct image_format **format,
	struct ramet_verify_result *result, struct ramet_error *err)
{
	static const struct lazy_places nowhere; /* content is not asked for */
	struct lazy_feed *feed = NULL;
	struct ramet_error why = {0};
	*format = NULL;
	int r = lazy_feed_open(verify->fd, verify->path, false, &nowhere, &feed, &why);
	if (r == -EUCLEAN) {
		verify->finding(verify->ctx, why.message);
		return 0;
	}
	if (r < 0) {
		if (err)
			*err = why;
		return r;
	}
	r = look_inside(verify, feed, format, result, err);
	lazy_feed_close(feed);
	return r;
}
