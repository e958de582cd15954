/* SPDX-License-Identifier: Apache-2.0 */
#include "image/lazy_content.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "image/source_file.h"

const char *lazy_place(const struct lazy *lazy, const struct lazy_places *places, uint32_t i)
{
	return i < places->count && places->items[i] ? places->items[i] : lazy_root(lazy, i);
}

int lazy_roots_open(const struct lazy *lazy, const struct lazy_places *places, int **out)
{
	struct lazy_facts facts;
	lazy_describe(lazy, &facts);
	int *roots = calloc((size_t)facts.roots + 1, sizeof *roots);
	if (!roots)
		return -ENOMEM;
	for (uint32_t i = 0; i < facts.roots; i++) {
		roots[i] = open(lazy_place(lazy, places, i), O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (roots[i] < 0)
			roots[i] = -errno;
	}
	*out = roots;
	return 0;
}

void lazy_roots_close(const struct lazy *lazy, int *roots)
{
	struct lazy_facts facts;
	lazy_describe(lazy, &facts);
	for (uint32_t i = 0; roots && i < facts.roots; i++)
		cleanup_close(&roots[i]);
	free(roots);
}

static int stale(const struct lazy *lazy, uint32_t index, const char *how, struct ramet_error *err)
{
	_cleanup_text_ struct text path = {0};
	struct lazy_file file;
	lazy_file(lazy, index, &file);
	text_format(&path, "%s/", lazy_root(lazy, file.root));
	lazy_file_path(lazy, index, &path);
	return error_set(err, ESTALE, "%s %s since the lazy image was built",
		path.failed ? "a source file" : path.data, how);
}

/* The filesystem is asked, not its cache. */
int lazy_content_check(const struct lazy *lazy, uint32_t index, int fd, struct ramet_error *err)
{
	struct lazy_file file;
	int code = 0;
	lazy_file(lazy, index, &file);
	enum source_cause cause = source_compare(fd, true, &file, &code);
	if (cause == SOURCE_RIGHT)
		return 0;
	const char *how = source_cause_word(cause, fd, &file);
	return how ? stale(lazy, index, how, err)
		   : error_errno(err, code, "cannot look at a source file");
}

int lazy_content_open(
	const struct lazy *lazy, const int *roots, uint32_t index, struct ramet_error *err)
{
	struct lazy_file file;
	_cleanup_text_ struct text path = {0};
	_cleanup_close_ int fd = -1;
	bool slow;
	lazy_file(lazy, index, &file);
	const char *root = lazy_root(lazy, file.root);
	if (roots[file.root] < 0)
		return error_errno(err, -roots[file.root],
			"cannot open %s, the folder that the lazy image's content is in", root);
	int r = lazy_file_path(lazy, index, &path);
	if (r < 0)
		return error_errno(err, -r, "cannot name a source file");
	r = source_open(roots[file.root], path.data, &fd, &slow);
	if (r < 0) {
		const char *how = source_cause_word(source_cause_of(-r), -1, &file);
		return how ? stale(lazy, index, how, err)
			   : error_errno(err, -r, "cannot open %s/%s", root, path.data);
	}
	r = lazy_content_check(lazy, index, fd, err);
	return r < 0 ? r : TAKE_FD(fd);
}
