/* SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <stdio.h>

#include "base/text.h"
#include "cli/cli.h"
#include "cli/json.h"

struct materialize_options {
	struct string_list sources;
	uint64_t bandwidth;
};

static const struct option_spec options[] = {
	OPTION(SIZE, struct materialize_options, bandwidth, "bandwidth", "SIZE",
		"bytes of content to read a second, at most; without it as many as there are"),
	OPTION(LIST, struct materialize_options, sources, "source", "[N=|OLD=]DIR",
		"where the folder that a lazy image stands on is now"),
	OPTION_END,
};

/* Images as they are done. */
struct printed {
	struct cli_progress progress;
	json_t *array; /* NULL: they are printed */
};

static void print_text(const struct ramet_materialized *image)
{
	char size[32], content[32], second[32];
	if (image->already) {
		printf("%s: already in %s\n", image->lazy, image->image);
		return;
	}
	printf("%s -> %s: %s, %s of content", image->lazy, image->image,
		text_size(image->image_bytes, size), text_size(image->content_bytes, content));
	if (image->seconds > 0.1)
		printf(", %s a second",
			text_size(
				(uint64_t)((double)image->content_bytes / image->seconds), second));
	printf(", %.1f s\n", image->seconds);
}

static json_t *object_of(const struct ramet_materialized *image)
{
	return json_pack("{s:o, s:o, s:s, s:b, s:I, s:I, s:I, s:f, s:o}", "lazy",
		cli_json_string(image->lazy), "image", cli_json_string(image->image), "format",
		image->format, "already", image->already, "image_bytes",
		(json_int_t)image->image_bytes, "content_bytes", (json_int_t)image->content_bytes,
		"bytes_written", (json_int_t)image->bytes_written, "seconds", image->seconds,
		"digest", *image->digest ? json_string(image->digest) : json_null());
}

static void done(void *ctx, const struct ramet_materialized *image)
{
	struct printed *printed = ctx;
	cli_progress_end(&printed->progress);
	if (printed->array)
		json_array_append_new(printed->array, object_of(image));
	else
		print_text(image);
}

static int materialize_run(struct invocation *inv, struct ramet_error *err)
{
	const struct materialize_options *given = inv->options;
	const char *sources[65] = {NULL};
	if (given->sources.count >= sizeof sources / sizeof *sources)
		return cli_usage(inv, "--source is there more than 64 times");
	for (size_t i = 0; i < given->sources.count; i++)
		sources[i] = given->sources.items[i];
	struct printed printed = {.array = inv->json ? json_array() : NULL};
	const struct ramet_materialize_options materialize = {
		.name = inv->arguments[0],
		.output = inv->argument_count > 1 ? inv->arguments[1] : NULL,
		.sources = sources,
		.bandwidth = given->bandwidth,
		.done = done,
		.done_ctx = &printed,
		.progress = cli_progress_start(&printed.progress, inv),
		.progress_ctx = &printed.progress,
	};
	int r = ramet_materialize(inv->store, &materialize, err);
	cli_progress_end(&printed.progress);
	if (r < 0)
		json_decref(printed.array);
	return r < 0 ? r : printed.array ? cli_print_json(printed.array) : EXIT_OK;
}

const struct command command_materialize = {
	.name = "materialize",
	.arguments = "NAME|LAZY [IMAGE]",
	.summary = "Write the image that a lazy one stands for, while VMs run from it",
	.example = "ramet materialize base.lazy base.squashfs --bandwidth 50M",
	.options = options,
	.options_size = sizeof(struct materialize_options),
	.least = 1,
	.most = 2,
	.has_json = true,
	.run = materialize_run,
};
