/* SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "cli/binds.h"
#include "cli/cli.h"

struct build_options {
	const char *format, *compression, *platform;
	struct string_list layers, binds;
	uint64_t size;
	bool dedupe, init;
};

static const struct option_spec options[] = {
	OPTION(STRING, struct build_options, format, "format", CLI_FORMATS,
		"the image's format (default: by the image's name, then squashfs)"),
	OPTION(STRING, struct build_options, compression, "compression", "WORD[:LEVEL]",
		"squashfs: gzip, xz, lz4 or zstd (default zstd:3)"),
	OPTION(STRING, struct build_options, compression, "compress", "WORD[:LEVEL]",
		"the same as --compression"),
	OPTION(LIST, struct build_options, layers, "layer", "SOURCE",
		"a layer that lies on what comes before it, the lowest first; may be given many "
		"times, and then SOURCE may be left out"),
	OPTION(LIST, struct build_options, binds, "bind", "SRC:DST[:ro]",
		"put the folder or file SRC at DST; may be given many times"),
	OPTION(SIZE, struct build_options, size, "size", "SIZE",
		"ext4: the device's size (default: as small as the content allows)"),
	OPTION(FLAG, struct build_options, dedupe, "dedupe", NULL,
		"erofs: store equal chunks of files once"),
	OPTION(FLAG, struct build_options, init, "init", NULL,
		"put ramet's guest init at /sbin/overlay-init"),
	OPTION(STRING, struct build_options, platform, "platform", "OS/ARCH[/VARIANT]",
		"which of an image for many (default: this host's)"),
	OPTION_END,
};

static void note(void *ctx, const char *sentence)
{
	(void)ctx;
	fprintf(stderr, "ramet build: %s.\n", sentence);
}

static void print_json(const struct ramet_build_options *build,
	const struct ramet_build_result *result, const char *format)
{
	json_t *object = json_pack("{s:s, s:o?, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f}",
		"format", format, "image", json_string(build->output), "entries",
		(json_int_t)result->entries, "content_bytes", (json_int_t)result->content_bytes,
		"bytes_read", (json_int_t)result->bytes_read, "bytes_written",
		(json_int_t)result->bytes_written, "image_bytes", (json_int_t)result->image_bytes,
		"omitted_xattrs", (json_int_t)result->omitted_xattrs, "walk_seconds",
		result->walk_seconds, "write_seconds", result->write_seconds, "sync_seconds",
		result->sync_seconds);
	if (!object)
		return;
	json_dumpf(object, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(object);
}

static void print_line(const struct ramet_build_options *build,
	const struct ramet_build_result *result, const char *format)
{
	char content[32], image[32];
	double seconds = result->walk_seconds + result->write_seconds + result->sync_seconds;
	bool plain = strcmp(format, "ext4") == 0;
	text_size(result->content_bytes, content);
	text_size(plain ? result->bytes_written : result->image_bytes, image);
	printf("%s -> %s %s", content, format, image);
	if (plain)
		printf(" (a device of %s)", text_size(result->image_bytes, content));
	else if (result->content_bytes)
		printf(" (%.1f %%)",
			100.0 * (double)result->image_bytes / (double)result->content_bytes);
	if (strcmp(format, "squashfs") == 0)
		printf(", %s", build->compression ? build->compression : "zstd:3");
	printf(", %.1f s\n", seconds);
	if (result->omitted_xattrs)
		fprintf(stderr,
			"ramet build: %llu extended attributes were left out: %s cannot hold them.\n",
			(unsigned long long)result->omitted_xattrs, format);
}

static int build(struct invocation *inv, const struct binds *binds, struct ramet_error *err)
{
	const struct build_options *given = inv->options;
	const char *output = inv->arguments[1];
	if (!output && !given->layers.count)
		return cli_usage(inv, "a SOURCE and an IMAGE are needed");
	struct cli_progress progress;
	struct ramet_build_options wanted = {
		.source = output ? inv->arguments[0] : NULL,
		.output = output ? output : inv->arguments[0],
		.layers = given->layers.items,
		.layer_count = given->layers.count,
		.compression = given->compression,
		.binds = binds->items,
		.bind_count = binds->count,
		.size = given->size,
		.dedupe = given->dedupe,
		.init = given->init,
		.platform = given->platform,
		.note = note,
		.progress = cli_progress_start(&progress, inv),
		.progress_ctx = &progress,
	};
	wanted.format = cli_format_choose(given->format, wanted.output);
	/* A file size limit is to end in a sentence, not in a signal. */
	signal(SIGXFSZ, SIG_IGN);
	struct ramet_build_result result;
	int r = ramet_build(inv->store, &wanted, &result, err);
	cli_progress_end(&progress);
	if (r < 0)
		return r;
	(inv->json ? print_json : print_line)(&wanted, &result, wanted.format);
	return EXIT_OK;
}

static int build_run(struct invocation *inv, struct ramet_error *err)
{
	const struct build_options *given = inv->options;
	struct binds binds;
	int r = binds_parse(inv, &given->binds, &binds);
	if (r == 0)
		r = build(inv, &binds, err);
	binds_free(&binds);
	return r;
}

const struct command command_build = {
	.name = "build",
	.arguments = "[SOURCE] IMAGE",
	.summary = "Make an image from a folder, a container image or an archive",
	.example = "ramet build ./rootfs base.squashfs --bind ./deps:/workspace/node_modules:ro",
	.options = options,
	.options_size = sizeof(struct build_options),
	.least = 1,
	.most = 2,
	.has_json = true,
	.run = build_run,
};
