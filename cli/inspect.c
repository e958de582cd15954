/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "cli/cli.h"
#include "cli/json.h"
#include "cli/materializing.h"

struct inspect_options {
	bool digest, no_count;
};

static const struct option_spec options[] = {
	OPTION(FLAG, struct inspect_options, digest, "digest", NULL,
		"make the file's digest when the catalogue has none, and note it there"),
	OPTION(FLAG, struct inspect_options, no_count, "no-count", NULL,
		"leave the tree alone: the superblock and the catalogue only"),
	OPTION_END,
};

static void line(const char *title, const char *text)
{
	if (*text)
		printf("%-12s %s\n", title, text);
}

static void bytes(const char *title, uint64_t value)
{
	char size[32];
	printf("%-12s %s (%" PRIu64 " bytes)\n", title, text_size(value, size), value);
}

static void when(const char *title, int64_t seconds)
{
	time_t time = (time_t)seconds;
	struct tm local;
	char text[64];
	if (localtime_r(&time, &local) &&
		strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S %z", &local))
		line(title, text);
}

static void print_lazy(const struct ramet_inspection *i)
{
	for (size_t n = 0; n < i->lazy_root_count; n++)
		line(n ? "" : "content in", i->lazy_roots[n]);
	printf("%-12s %" PRIu64 " files, %" PRIu64 " extents\n", "from", i->lazy_files,
		i->lazy_extents);
	bytes("device", i->lazy_image_bytes);
	bytes("metadata", i->lazy_metadata_bytes);
	if (i->lazy_materialized)
		line("materialized", i->lazy_materialized);
	cli_print_materializing("", i->lazy_materializing);
}

static void print_format(const struct ramet_inspection *i)
{
	char level[24] = "";
	line("image", i->path);
	printf("%-12s %s%s%s%s\n", "format", i->lazy ? "lazy " : "", i->format,
		*i->version ? " " : "", i->version);
	if (i->lazy)
		print_lazy(i);
	if (i->level)
		snprintf(level, sizeof level, ", level %u", i->level);
	if (*i->compression)
		printf("%-12s %s%s\n", "compression", i->compression, level);
	line("features", i->features);
	line("label", i->label);
	line("uuid", i->uuid);
	if (i->has_time)
		when("made", i->time);
	line("state", i->fs_state);
	if (i->journal_bytes)
		printf("%-12s %s, %" PRIu64 " bytes\n", "journal", i->journal, i->journal_bytes);
	else
		line("journal", i->journal);
	if (strcmp(i->format, "squashfs") == 0)
		line("exportable", i->exportable ? "yes" : "no");
	if (i->block_size)
		printf("%-12s %" PRIu64 "\n", "block size", i->block_size);
	bytes("file", i->file_bytes);
	bytes("allocated", i->allocated_bytes);
	if (i->used_bytes)
		bytes("used", i->used_bytes);
}

static void print_counts(const struct ramet_inspection *i)
{
	const struct {
		const char *title;
		uint64_t count;
	} counts[] = {{"files", i->files}, {"directories", i->directories},
		{"symlinks", i->symlinks}, {"hard links", i->hard_links},
		{"char devices", i->character_devices}, {"blk devices", i->block_devices},
		{"fifos", i->fifos}, {"sockets", i->sockets}, {"inodes", i->inodes},
		{"fragments", i->fragments}};
	bytes("content", i->content_bytes);
	if (i->content_bytes)
		printf("%-12s %.1f %%\n", "ratio",
			100.0 * (double)(i->used_bytes ? i->used_bytes : i->file_bytes) /
				(double)i->content_bytes);
	printf("%-12s %" PRIu64 "\n", "entries", i->entries);
	for (size_t n = 0; n < sizeof counts / sizeof *counts; n++)
		if (counts[n].count)
			printf("%-12s %" PRIu64 "\n", counts[n].title, counts[n].count);
	if (i->xattrs)
		printf("%-12s %" PRIu64 " on %" PRIu64 " objects\n", "xattrs", i->xattrs,
			i->with_xattrs);
	if (i->whiteouts || i->opaque || i->redirects)
		printf("%-12s %" PRIu64 " whiteouts, %" PRIu64 " opaque directories, %" PRIu64
		       " redirects\n",
			"layer", i->whiteouts, i->opaque, i->redirects);
}

static void print_catalogue(const struct ramet_inspection *i)
{
	line("digest", i->digest);
	if (!i->known) {
		line("catalogue", "not in it");
		return;
	}
	when("catalogued", i->created);
	for (size_t n = 0; n < i->parent_count; n++)
		line(n ? "" : "made for", i->parents[n]);
	line("process", i->process);
	for (const char *path = i->read_only_paths; *path;) {
		int length = (int)strcspn(path, "\n");
		printf("%-12s %.*s\n", "read-only", length, path);
		path += length + (path[length] != '\0');
	}
	printf("%-12s %zu", "forks", i->fork_count);
	enum { SHOWN = 8 };
	for (size_t n = 0; n < i->fork_count && n < SHOWN; n++)
		printf("%s%s", n ? ", " : ": ", i->forks[n]);
	printf("%s\n", i->fork_count > SHOWN ? ", ..." : "");
}

static int print_text(void *ctx, const struct ramet_inspection *inspection)
{
	print_format(inspection);
	if (inspection->counted)
		print_counts(inspection);
	print_catalogue(inspection);
	return 0;
}

/* null for what is not known. */
static json_t *string_or_null(const char *text)
{
	return *text ? cli_json_string(text) : json_null();
}

static json_t *number_or_null(uint64_t number)
{
	return number ? json_integer((json_int_t)number) : json_null();
}

static json_t *words(const char *text, const char *separators)
{
	json_t *array = json_array();
	while (*(text += strspn(text, separators))) {
		size_t length = strcspn(text, separators);
		char *word = strndup(text, length);
		if (word)
			json_array_append_new(array, cli_json_string(word));
		free(word);
		text += length;
	}
	return array;
}

static json_t *strings(const char *const *items, size_t count)
{
	json_t *array = json_array();
	for (size_t n = 0; n < count; n++)
		json_array_append_new(array, cli_json_string(items[n]));
	return array;
}

static json_t *counts_object(const struct ramet_inspection *i)
{
	if (!i->counted)
		return json_null();
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
		"entries", (json_int_t)i->entries, "files", (json_int_t)i->files, "directories",
		(json_int_t)i->directories, "symlinks", (json_int_t)i->symlinks,
		"character_devices", (json_int_t)i->character_devices, "block_devices",
		(json_int_t)i->block_devices, "fifos", (json_int_t)i->fifos, "sockets",
		(json_int_t)i->sockets, "hard_links", (json_int_t)i->hard_links, "xattrs",
		(json_int_t)i->xattrs, "with_xattrs", (json_int_t)i->with_xattrs, "whiteouts",
		(json_int_t)i->whiteouts, "opaque_directories", (json_int_t)i->opaque, "redirects",
		(json_int_t)i->redirects);
}

static json_t *catalogue_object(const struct ramet_inspection *i)
{
	if (!i->known)
		return json_null();
	return json_pack("{s:I, s:o, s:o, s:o, s:o}", "created", (json_int_t)i->created, "forks",
		strings(i->forks, i->fork_count), "parents", strings(i->parents, i->parent_count),
		"read_only_paths", words(i->read_only_paths, "\n"), "process",
		cli_json_process(i->process));
}

static json_t *lazy_object(const struct ramet_inspection *i)
{
	if (!i->lazy)
		return json_null();
	return json_pack("{s:o, s:I, s:I, s:I, s:I, s:o, s:o}", "roots",
		strings(i->lazy_roots, i->lazy_root_count), "files", (json_int_t)i->lazy_files,
		"extents", (json_int_t)i->lazy_extents, "image_bytes",
		(json_int_t)i->lazy_image_bytes, "metadata_bytes",
		(json_int_t)i->lazy_metadata_bytes, "materialized",
		string_or_null(i->lazy_materialized ? i->lazy_materialized : ""), "materializing",
		cli_json_materializing(i->lazy_materializing));
}

static int take_object(void *ctx, const struct ramet_inspection *i)
{
	bool layer = i->parent_count || i->whiteouts || i->opaque || i->redirects;
	*(json_t **)ctx = json_pack(
		"{s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:I, s:I, "
		"s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:o, s:o}",
		"path", cli_json_string(i->path), "format", i->format, "version",
		string_or_null(i->version), "compression", string_or_null(i->compression), "level",
		number_or_null(i->level), "features", words(i->features, " "), "label",
		string_or_null(i->label), "uuid", string_or_null(i->uuid), "time",
		i->has_time ? json_integer(i->time) : json_null(), "state",
		string_or_null(i->fs_state), "journal", string_or_null(i->journal), "journal_bytes",
		number_or_null(i->journal_bytes), "exportable", i->exportable, "file_bytes",
		(json_int_t)i->file_bytes, "allocated_bytes", (json_int_t)i->allocated_bytes,
		"used_bytes", number_or_null(i->used_bytes), "content_bytes",
		i->counted ? json_integer((json_int_t)i->content_bytes) : json_null(), "block_size",
		number_or_null(i->block_size), "inodes", number_or_null(i->inodes), "fragments",
		number_or_null(i->fragments), "layer", layer, "counts", counts_object(i), "digest",
		string_or_null(i->digest), "catalogue", catalogue_object(i), "lazy",
		lazy_object(i));
	return 0;
}

static int inspect_run(struct invocation *inv, struct ramet_error *err)
{
	const struct inspect_options *given = inv->options;
	const struct ramet_inspect_options inspect = {
		.image = inv->arguments[0], .no_count = given->no_count, .digest = given->digest};
	if (!inv->json)
		return ramet_inspect(inv->store, &inspect, print_text, NULL, err);
	json_t *object = NULL;
	int r = ramet_inspect(inv->store, &inspect, take_object, &object, err);
	return r < 0 ? r : cli_print_json(object);
}

const struct command command_inspect = {
	.name = "inspect",
	.arguments = "IMAGE",
	.summary = "Say what an image is: format, sizes, counts, and what is known of it",
	.example = "ramet inspect base.squashfs --json | jq .counts",
	.options = options,
	.options_size = sizeof(struct inspect_options),
	.least = 1,
	.most = 1,
	.has_json = true,
	.run = inspect_run,
};
