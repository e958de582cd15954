/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "api/sources.h"
#include "base/chain_word.h"
#include "cli/binds.h"
#include "cli/built.h"
#include "cli/cli.h"

struct build_options {
	const char *format, *compression, *platform;
	struct string_list layers, binds;
	const char *parent;
	uint64_t size;
	bool dedupe, init, compare_content, lazy;
};

static const struct option_spec options[] = {
	OPTION(STRING, struct build_options, format, "format", CLI_FORMATS,
		"the image's format (default: by the image's name, then squashfs)"),
	OPTION(STRING, struct build_options, compression, "compression", "WORD[:LEVEL]",
		"squashfs: gzip, xz, lz4 or zstd (default zstd:3); erofs: lz4 or lz4hc, by "
		"mkfs.erofs (default none)"),
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
	OPTION(STRING, struct build_options, parent, "parent", "IMAGE[+LAYER...]",
		"write only what differs from IMAGE, as a layer that stands on it"),
	OPTION(FLAG, struct build_options, compare_content, "compare-content", NULL,
		"with --parent: compare the bytes of all files, whatever their times"),
	OPTION(FLAG, struct build_options, init, "init", NULL,
		"put ramet's guest init at /sbin/overlay-init"),
	OPTION(FLAG, struct build_options, lazy, "lazy", NULL,
		"copy no content: say where in SOURCE it is, to be served from there"),
	OPTION(STRING, struct build_options, platform, "platform", "OS/ARCH[/VARIANT]",
		"which of an image for many (default: this host's)"),
	OPTION_END,
};

static void note(void *ctx, const char *sentence)
{
	(void)ctx;
	fprintf(stderr, "ramet build: %s.\n", sentence);
}

static int build(struct invocation *inv, const struct binds *binds, struct ramet_error *err)
{
	const struct build_options *given = inv->options;
	_cleanup_chain_word_ struct chain_word parent = {0};
	int r = given->parent ? chain_word_parse(given->parent, &parent, err) : 0;
	if (r < 0)
		return r;
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
		.parent = parent.base,
		.parent_layers = parent.layers,
		.compare_content = given->compare_content,
		.lazy = given->lazy,
		.note = note,
		.progress = cli_progress_start(&progress, inv),
		.progress_ctx = &progress,
	};
	wanted.format = cli_format_choose(given->format, wanted.output);
	/* A file size limit is to end in a sentence, not in a signal. */
	signal(SIGXFSZ, SIG_IGN);
	struct ramet_build_result result;
	r = ramet_build(inv->store, &wanted, &result, err);
	cli_progress_end(&progress);
	if (r < 0)
		return r;
	char below[256] = "";
	if (wanted.parent)
		chain_word_name(wanted.parent, wanted.parent_layers, below, sizeof below);
	const struct cli_built built = {
		.command = "build",
		.image = wanted.output,
		.format = wanted.format,
		.compression = wanted.compression,
		.below = wanted.parent ? below : NULL,
		.lazy = given->lazy,
		.result = &result,
	};
	if (inv->json)
		return cli_print_built_json(&built, NULL);
	cli_print_built(&built);
	return EXIT_OK;
}

static int build_run(struct invocation *inv, struct ramet_error *err)
{
	const struct build_options *given = inv->options;
	if (given->compare_content && !given->parent)
		return cli_usage(inv, "--compare-content says how to compare with a --parent");
	struct binds binds;
	int r = binds_parse(inv, &given->binds, &binds);
	if (r == 0)
		r = build(inv, &binds, err);
	binds_free(&binds);
	return r;
}

static void help_sources(void)
{
	puts("\nSources:");
	for (const struct source_kind *kind = source_kinds; kind->prefix; kind++)
		printf("  %s:%-*s%s\n", kind->prefix, 25 - (int)strlen(kind->prefix), "",
			kind->summary);
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
	.help = help_sources,
	.run = build_run,
};
