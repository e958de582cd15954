/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a bundle to a drive in one call: what a runtime for Firecracker does with the bundle that it
 * was given, as one operation with one answer.
 */
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "api/build.h"
#include "api/sources.h"
#include "base/cleanup.h"
#include "base/progress.h"
#include "base/text.h"

/* Notes are part of the answer, and are told at once too. */
struct notes {
	const struct ramet_build_options *options;
	json_t *list;
};

static void note(void *ctx, const char *sentence)
{
	struct notes *notes = ctx;
	json_array_append_new(notes->list, json_string(sentence));
	if (notes->options->note)
		notes->options->note(notes->options->note_ctx, sentence);
}

/* "KIND:PLACE" stays as it is; a folder is a bundle. */
static char *source_of(const char *word)
{
	struct stat st;
	char *source;
	if (stat(word, &st) < 0 || !S_ISDIR(st.st_mode))
		return strdup(word);
	return asprintf(&source, "bundle:%s", word) < 0 ? NULL : source;
}

/* Beside the bundle, with its name: so that "." has one too the path is made absolute. */
static int output_of(const char *word, const char *format, char **output, struct ramet_error *err)
{
	_cleanup_free_ char *real = realpath(word, NULL);
	if (!real)
		return error_errno(err, errno, "cannot find %s; name the image", word);
	if (asprintf(output, "%s.%s", real, format) < 0) {
		*output = NULL;
		return error_memory(err);
	}
	return 0;
}

/* A path as JSON can hold it. */
static json_t *path_json(const char *path, struct ramet_error *err)
{
	json_t *string = json_string(path);
	if (!string)
		error_set(
			err, EILSEQ, "the image's name %s is not UTF-8, which JSON demands", path);
	return string;
}

static json_t *lines_json(const char *lines)
{
	json_t *array = json_array();
	while (lines && *lines) {
		size_t length = strcspn(lines, "\n");
		/* Paths in the image may be of any bytes; those that JSON cannot hold are null. */
		json_t *line = json_stringn(lines, length);
		json_array_append_new(array, line ? line : json_null());
		lines += length + (lines[length] != '\0');
	}
	return array;
}

static json_t *steps_json(const struct ramet_build_result *result, double rest)
{
	return json_pack("[{s:s, s:f}, {s:s, s:f}, {s:s, s:f}, {s:s, s:f}]", "name", "walk",
		"seconds", result->walk_seconds, "name", "write", "seconds", result->write_seconds,
		"name", "sync", "seconds", result->sync_seconds, "name", "catalogue", "seconds",
		rest);
}

static json_t *answer_json(const struct ramet_build_result *result, const struct build_told *told,
	json_t *path, json_t *notes, double seconds)
{
	json_t *process = told->process ? json_loads(told->process, 0, NULL) : json_null();
	double rest = seconds - result->walk_seconds - result->write_seconds - result->sync_seconds;
	double ratio = result->content_bytes
			       ? (double)result->image_bytes / (double)result->content_bytes
			       : 0;
	return json_pack(
		"{s:O, s:s, s:I, s:I, s:f, s:I, s:o, s:f, s:{s:s, s:o, s:b, s:b}, s:o, s:o, "
		"s:o}",
		"image", path, "format", told->format, "rootfs_bytes",
		(json_int_t)result->content_bytes, "image_bytes", (json_int_t)result->image_bytes,
		"ratio", ratio, "entries", (json_int_t)result->entries, "steps",
		steps_json(result, MAX(rest, 0)), "seconds", seconds, "drive", "drive_id", "rootfs",
		"path_on_host", path, "is_root_device", 1, "is_read_only", 1, "process", process,
		"read_only_paths", lines_json(told->read_only_paths), "notes", notes);
}

static int prepare(struct ramet_store *store, const struct ramet_build_options *options,
	struct ramet_build_result *result, json_t *notes, char **json, struct ramet_error *err)
{
	_cleanup_build_told_ struct build_told told = {0};
	double start = clock_seconds();
	int r = build_image(store, options, result, &told, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *real = realpath(options->output, NULL);
	json_t *path = path_json(real ? real : options->output, err);
	if (!path)
		return -EILSEQ;
	json_t *answer = answer_json(
		result, &told, path, json_incref(notes), clock_seconds() - start);
	*json = answer ? json_dumps(answer, JSON_INDENT(2)) : NULL;
	json_decref(answer);
	return *json ? 0 : error_memory(err);
}

int ramet_prepare(struct ramet_store *store, const struct ramet_build_options *given,
	struct ramet_build_result *result, char **json, struct ramet_error *err)
{
	struct ramet_build_result ignored;
	struct ramet_build_options options = *given;
	_cleanup_free_ char *source = source_of(given->source), *output = NULL;
	if (!source)
		return error_memory(err);
	if (!given->output) {
		int r = output_of(
			given->source, given->format ? given->format : "squashfs", &output, err);
		if (r < 0)
			return r;
		options.output = output;
	}
	struct notes notes = {.options = given, .list = json_array()};
	options.source = source;
	options.note = note;
	options.note_ctx = &notes;
	int r = prepare(store, &options, result ? result : &ignored, notes.list, json, err);
	json_decref(notes.list);
	return r;
}
