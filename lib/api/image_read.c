/* SPDX-License-Identifier: Apache-2.0 */
/* A file's bytes, or a directory as a tar, straight from the child to the fd. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/place.h"
#include "base/cleanup.h"
#include "changes/object.h"
#include "changes/side.h"
#include "look/look.h"

struct reading {
	const struct ramet_read_options *options;
	struct place place;
	bool terminal;
	struct ramet_read_result result;
};

/* "/." at the end: what is in the directory, without its name. */
static bool is_inside(const char *path)
{
	size_t length = strlen(path);
	return length >= 2 && strcmp(path + length - 2, "/.") == 0;
}

static int read_directory(
	struct reading *reading, const struct change_side *directory, struct ramet_error *err)
{
	const char *view = directory->view->name, *path = directory->path;
	if (reading->options->files_only)
		return error_set(err, EISDIR,
			"%s: %s is a directory; it is written as a tar, and must be the only one "
			"that is asked for",
			view, path);
	if (reading->terminal)
		return error_set(err, ENOTTY,
			"%s: %s is a directory, which is written as a tar, and that is not for a "
			"terminal; send it to a file or to tar",
			view, path);
	reading->result.directory = true;
	bool inside = is_inside(reading->options->place.path);
	return look_archive(directory, inside ? "" : strrchr(path, '/') + 1, reading->options->fd,
		&reading->result.omitted, err);
}

static int read_object(
	struct reading *reading, const struct changes_view *view, struct ramet_error *err)
{
	_cleanup_free_ char *real = NULL;
	struct change_side object = {.view = view};
	int r = fs_resolve(view->fs, reading->options->place.path, true, &object.ref, &real, err);
	if (r < 0)
		return error_prefix(err, r, "%s", view->name);
	object.path = real;
	r = side_stat(&object, err);
	if (r < 0)
		return r;
	if (S_ISDIR(object.stat.mode))
		return read_directory(reading, &object, err);
	if (S_ISREG(object.stat.mode))
		return look_bytes(&object, reading->options->fd, err);
	return error_set(err, EINVAL, "%s: %s is a %s, and has no content", view->name, real,
		object_type(object.stat.mode));
}

static int read_work(void *ctx, struct ramet_error *err)
{
	struct reading *reading = ctx;
	_cleanup_place_view_ struct place_view view = {0};
	int r = place_view_open(&reading->place, &view, err);
	return r < 0 ? r : read_object(reading, &view.view, err);
}

int ramet_image_read(const struct ramet_read_options *options, struct ramet_read_result *result,
	struct ramet_error *err)
{
	struct reading reading = {.options = options, .terminal = isatty(options->fd)};
	int r = place_open(&reading.place, &options->place, err);
	if (r == 0)
		r = place_run(&reading.place, read_work, &reading, options->fd, &reading.result,
			sizeof reading.result, err);
	place_close(&reading.place);
	if (r == 0 && result)
		*result = reading.result;
	return r;
}
