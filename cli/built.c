/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/built.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "cli/json.h"

/* Of less content than that the format's own tables are the image. */
enum { SHARE_FROM = 64 * 1024 };

static void append_count(struct text *text, uint64_t count, const char *what)
{
	if (count)
		text_format(text, "%s%" PRIu64 " %s", text->length ? ", " : "", count, what);
}

static void print_layer(const struct cli_built *built)
{
	const struct ramet_build_result *result = built->result;
	_cleanup_text_ struct text changes = {0};
	append_count(&changes, result->added, "added");
	append_count(&changes, result->modified, "modified");
	append_count(&changes, result->deleted, "deleted");
	append_count(&changes, result->retyped, "of another type");
	printf("a layer on %s: %s", built->below,
		changes.length ? changes.data : "empty, as nothing differs");
	if (result->files_compared || result->files_by_time)
		printf("; %" PRIu64 " file%s compared, %" PRIu64
		       " taken for unchanged by size and time",
			result->files_compared, result->files_compared == 1 ? "" : "s",
			result->files_by_time);
	putchar('\n');
}

/* "1.06 GiB -> lazy squashfs of 1.06 GiB: 2.9 MiB metadata, 3.0 MiB tables, no content read, 0.2 s" */
static void print_lazy(const struct ramet_build_result *result, const char *format, double seconds)
{
	char content[32], image[32], metadata[32], tables[32];
	printf("%s -> lazy %s of %s: %s metadata, %s tables, no content read, %.2f s\n",
		text_size(result->content_bytes, content), format,
		text_size(result->image_bytes, image),
		text_size(result->lazy_metadata_bytes, metadata),
		text_size(result->lazy_table_bytes, tables), seconds);
}

static void print_whole(const struct cli_built *built, double seconds)
{
	const struct ramet_build_result *result = built->result;
	char content[32], image[32];
	bool plain = strcmp(built->format, "ext4") == 0;
	text_size(result->content_bytes, content);
	text_size(plain ? result->bytes_written : result->image_bytes, image);
	printf("%s -> %s %s", content, built->format, image);
	if (plain)
		printf(" (a device of %s)", text_size(result->image_bytes, content));
	else if (result->content_bytes >= SHARE_FROM)
		printf(" (%.1f %%)",
			100.0 * (double)result->image_bytes / (double)result->content_bytes);
	if (strcmp(built->format, "squashfs") == 0)
		printf(", %s", built->compression ? built->compression : "zstd:3");
	else if (built->compression)
		printf(", %s", built->compression);
	if (*result->written_by)
		printf(" by %s", result->written_by);
	printf(", %.1f s\n", seconds);
}

void cli_print_built(const struct cli_built *built)
{
	const struct ramet_build_result *result = built->result;
	double seconds = result->walk_seconds + result->write_seconds + result->sync_seconds;
	if (built->lazy)
		print_lazy(result, built->format, seconds);
	else
		print_whole(built, seconds);
	if (built->below)
		print_layer(built);
	if (result->omitted_xattrs)
		fprintf(stderr,
			"ramet %s: %llu extended attributes were left out: %s cannot hold them.\n",
			built->command, (unsigned long long)result->omitted_xattrs, built->format);
}

static void set_number(json_t *object, const char *name, uint64_t number)
{
	json_object_set_new(object, name, json_integer((json_int_t)number));
}

int cli_print_built_json(const struct cli_built *built, const bool *journal_replayed)
{
	const struct ramet_build_result *result = built->result;
	json_t *object = json_pack(
		"{s:s, s:o?, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:o, s:s?}", "format",
		built->format, "image", json_string(built->image), "entries",
		(json_int_t)result->entries, "content_bytes", (json_int_t)result->content_bytes,
		"bytes_read", (json_int_t)result->bytes_read, "bytes_written",
		(json_int_t)result->bytes_written, "image_bytes", (json_int_t)result->image_bytes,
		"omitted_xattrs", (json_int_t)result->omitted_xattrs, "walk_seconds",
		result->walk_seconds, "write_seconds", result->write_seconds, "sync_seconds",
		result->sync_seconds, "digest",
		*result->digest ? json_string(result->digest) : json_null(), "written_by",
		*result->written_by ? result->written_by : NULL);
	if (built->below) {
		set_number(object, "added", result->added);
		set_number(object, "modified", result->modified);
		set_number(object, "deleted", result->deleted);
		set_number(object, "retyped", result->retyped);
	}
	if (built->below && !journal_replayed) {
		set_number(object, "files_compared", result->files_compared);
		set_number(object, "files_by_time", result->files_by_time);
	}
	if (built->lazy) {
		set_number(object, "lazy_metadata_bytes", result->lazy_metadata_bytes);
		set_number(object, "lazy_table_bytes", result->lazy_table_bytes);
		set_number(object, "lazy_extents", result->lazy_extents);
	}
	if (journal_replayed)
		json_object_set_new(object, "journal_replayed", json_boolean(*journal_replayed));
	return cli_print_json(object);
}
