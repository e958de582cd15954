/* SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "cli/attachment.h"
#include "cli/cli.h"
#include "cli/json.h"

struct materialize_options {
	struct string_list sources;
	uint64_t bandwidth;
	bool background, stop;
};

static const struct option_spec options[] = {
	OPTION(FLAG, struct materialize_options, background, "background", NULL,
		"do not wait for it: a process of its own does it"),
	OPTION(FLAG, struct materialize_options, stop, "stop", NULL,
		"end what does it in the background"),
	OPTION(SIZE, struct materialize_options, bandwidth, "bandwidth", "SIZE",
		"bytes of content to read a second, at most; without it as many as there are"),
	OPTION(LIST, struct materialize_options, sources, "source", "[N=|OLD=]DIR",
		"where the folder that a lazy image stands on is now"),
	OPTION_END,
};

/* Images as they are done. */
struct printed {
	struct cli_progress progress;
	json_t *array;       /* NULL: they are printed */
	const char *name;    /* what was to be made */
	const char *command; /* that tells how far it is */
};

static void print_begun(const struct printed *printed, const struct ramet_materialized *image)
{
	if (image->under_way)
		printf("%s: under way, by process %d", image->lazy, image->pid);
	else
		printf("%s -> %s: in the background, by process %d", image->lazy, image->image,
			image->pid);
	printf("; 'ramet %s %s' tells how far it is\n", printed->command, printed->name);
}

static void print_text(const struct printed *printed, const struct ramet_materialized *image)
{
	char size[32], content[32], second[32];
	if (image->already) {
		printf("%s: already in %s\n", image->lazy, image->image);
		return;
	}
	if (image->pid) {
		print_begun(printed, image);
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
	return json_pack("{s:o, s:o, s:s, s:b, s:o, s:b, s:I, s:I, s:I, s:f, s:o}", "lazy",
		cli_json_string(image->lazy), "image", cli_json_string(image->image), "format",
		image->format, "already", image->already, "pid",
		image->pid ? json_integer(image->pid) : json_null(), "under_way", image->under_way,
		"image_bytes", (json_int_t)image->image_bytes, "content_bytes",
		(json_int_t)image->content_bytes, "bytes_written", (json_int_t)image->bytes_written,
		"seconds", image->seconds, "digest",
		*image->digest ? json_string(image->digest) : json_null());
}

static void done(void *ctx, const struct ramet_materialized *image)
{
	struct printed *printed = ctx;
	cli_progress_end(&printed->progress);
	if (printed->array)
		json_array_append_new(printed->array, object_of(image));
	else
		print_text(printed, image);
}

static int no_more(void *ctx, const struct ramet_fork_info *info)
{
	return 0;
}

static void print_stopped(void *ctx, const char *lazy, bool stopped)
{
	json_t *array = ctx;
	if (array)
		json_array_append_new(array,
			json_pack("{s:o, s:b}", "lazy", cli_json_string(lazy), "stopped", stopped));
	else
		printf("%s: %s\n", lazy,
			stopped ? "stopped" : "nothing makes it in the background");
}

static int stop(struct invocation *inv, struct ramet_error *err)
{
	const struct materialize_options *given = inv->options;
	if (given->background || given->bandwidth || given->sources.count ||
		inv->argument_count > 1)
		return cli_usage(inv, "--stop goes with NAME or LAZY alone");
	json_t *array = inv->json ? json_array() : NULL;
	int r = ramet_materialize_stop(inv->store, inv->arguments[0], print_stopped, array, err);
	if (r < 0)
		json_decref(array);
	return r < 0 ? r : array ? cli_print_json(array) : EXIT_OK;
}

static int materialize_run(struct invocation *inv, struct ramet_error *err)
{
	const struct materialize_options *given = inv->options;
	if (given->stop)
		return stop(inv, err);
	const char *sources[SOURCES_MAX + 1];
	int status = source_options_copy(inv, &given->sources, sources);
	if (status != 0)
		return status;
	struct ramet_error ignored;
	const char *name = inv->arguments[0];
	bool fork = !strchr(name, '/') &&
		    ramet_forks(inv->store, name, no_more, NULL, &ignored) == 0;
	struct printed printed = {.array = inv->json ? json_array() : NULL,
		.name = name,
		.command = fork ? "show" : "inspect"};
	const struct ramet_materialize_options materialize = {
		.name = name,
		.output = inv->argument_count > 1 ? inv->arguments[1] : NULL,
		.sources = sources,
		.bandwidth = given->bandwidth,
		.background = given->background,
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
	.example = "ramet materialize vm-1 --background --bandwidth 50M",
	.options = options,
	.options_size = sizeof(struct materialize_options),
	.least = 1,
	.most = 2,
	.has_json = true,
	.run = materialize_run,
};
