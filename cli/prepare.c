/* SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/binds.h"
#include "cli/cli.h"

struct prepare_options {
	const char *format, *compression, *platform;
	struct string_list binds;
	bool init;
};

static const struct option_spec options[] = {
	OPTION(STRING, struct prepare_options, format, "format", CLI_FORMATS,
		"the image's format (default: by the image's name, then squashfs)"),
	OPTION(STRING, struct prepare_options, compression, "compression", "WORD[:LEVEL]",
		"squashfs: gzip, xz, lz4 or zstd (default zstd:3)"),
	OPTION(LIST, struct prepare_options, binds, "bind", "SRC:DST[:ro]",
		"put the folder or file SRC at DST, over the bundle's own mounts"),
	OPTION(FLAG, struct prepare_options, init, "init", NULL,
		"put ramet's guest init at /sbin/overlay-init"),
	OPTION(STRING, struct prepare_options, platform, "platform", "OS/ARCH[/VARIANT]",
		"which of an image for many (default: this host's)"),
	OPTION_END,
};

static void note(void *ctx, const char *sentence)
{
	(void)ctx;
	fprintf(stderr, "ramet prepare: %s.\n", sentence);
}

/* The answer for people: two lines, and the drive to be put into Firecracker's configuration. */
static int print_text(const char *json, const struct ramet_build_result *result)
{
	char content[32], image[32];
	json_t *answer = json_loads(json, 0, NULL), *step;
	size_t i;
	printf("rootfs %s -> %s %s (%.1f %%)\n", text_size(result->content_bytes, content),
		json_string_value(json_object_get(answer, "format")),
		text_size(result->image_bytes, image),
		100 * json_number_value(json_object_get(answer, "ratio")));
	json_array_foreach(json_object_get(answer, "steps"), i, step)
		printf("%s %.2f s, ", json_string_value(json_object_get(step, "name")),
			json_real_value(json_object_get(step, "seconds")));
	printf("in all %.2f s\n", json_real_value(json_object_get(answer, "seconds")));
	json_dumpf(json_object_get(answer, "drive"), stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(answer);
	return EXIT_OK;
}

static int prepare(struct invocation *inv, const struct binds *binds, struct ramet_error *err)
{
	const struct prepare_options *given = inv->options;
	const char *image = inv->argument_count > 1 ? inv->arguments[1] : NULL;
	struct cli_progress progress;
	const struct ramet_build_options build = {
		.source = inv->arguments[0],
		.output = image,
		.format = cli_format_choose(given->format, image),
		.compression = given->compression,
		.binds = binds->items,
		.bind_count = binds->count,
		.init = given->init,
		.platform = given->platform,
		.note = inv->json ? NULL : note,
		.progress = cli_progress_start(&progress, inv),
		.progress_ctx = &progress,
	};
	/* A file size limit is to end in a sentence, not in a signal. */
	signal(SIGXFSZ, SIG_IGN);
	struct ramet_build_result result;
	char *json = NULL;
	int r = ramet_prepare(inv->store, &build, &result, &json, err);
	cli_progress_end(&progress);
	if (r < 0)
		return r;
	if (inv->json)
		puts(json);
	else
		print_text(json, &result);
	free(json);
	return EXIT_OK;
}

static int prepare_run(struct invocation *inv, struct ramet_error *err)
{
	const struct prepare_options *given = inv->options;
	struct binds binds;
	int r = binds_parse(inv, &given->binds, &binds);
	if (r == 0)
		r = prepare(inv, &binds, err);
	binds_free(&binds);
	return r;
}

const struct command command_prepare = {
	.name = "prepare",
	.arguments = "BUNDLE [IMAGE]",
	.summary = "Make an image and a Firecracker drive from an OCI bundle",
	.example = "ramet prepare /run/bundles/web --json",
	.options = options,
	.options_size = sizeof(struct prepare_options),
	.least = 1,
	.most = 2,
	.has_json = true,
	.run = prepare_run,
};
