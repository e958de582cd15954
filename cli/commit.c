/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/chain_word.h"
#include "cli/built.h"
#include "cli/cli.h"

struct commit_options {
	const char *format, *compression;
	uint64_t size;
	bool flatten;
};

static const struct option_spec options[] = {
	OPTION(STRING, struct commit_options, format, "format", "squashfs|erofs|ext4",
		"the image's format (default: by the image's name, then squashfs)"),
	OPTION(STRING, struct commit_options, compression, "compression", "WORD[:LEVEL]",
		"squashfs: gzip, xz, lz4 or zstd (default zstd:3)"),
	OPTION(SIZE, struct commit_options, size, "size", "SIZE",
		"ext4: the device's size (default: as small as the content allows)"),
	OPTION(FLAG, struct commit_options, flatten, "flatten", NULL,
		"write all that the fork holds, not only its changes"),
	OPTION_END,
};

struct below {
	char name[256];
};

/* What the fork stands on, for the message. */
static int tell_below(void *ctx, const struct ramet_fork_info *info)
{
	struct below *below = ctx;
	const char *layers[RAMET_CHAIN_MAX + 1] = {NULL};
	for (size_t i = 0; i < info->layer_count && i < RAMET_CHAIN_MAX; i++)
		layers[i] = info->layers[i].path;
	chain_word_name(info->base, layers, below->name, sizeof below->name);
	return 0;
}

static int commit_run(struct invocation *inv, struct ramet_error *err)
{
	const struct commit_options *given = inv->options;
	struct cli_progress progress;
	const struct ramet_commit_options commit = {
		.name = inv->arguments[0],
		.output = inv->arguments[1],
		.format = cli_format_choose(given->format, inv->arguments[1]),
		.compression = given->compression,
		.size = given->size,
		.flatten = given->flatten,
		.progress = cli_progress_start(&progress, inv),
		.progress_ctx = &progress,
	};
	/* A file size limit is to end in a sentence, not in a signal. */
	signal(SIGXFSZ, SIG_IGN);
	struct ramet_commit_result result;
	int r = ramet_commit(inv->store, &commit, &result, err);
	cli_progress_end(&progress);
	if (r < 0)
		return r;
	struct below below = {.name = "its base"};
	(void)ramet_forks(inv->store, commit.name, tell_below, &below, NULL);
	const struct cli_built built = {
		.command = "commit",
		.image = commit.output,
		.format = commit.format,
		.compression = commit.compression,
		.below = commit.flatten ? NULL : below.name,
		.result = &result.image,
	};
	if (inv->json)
		return cli_print_built_json(&built, &result.journal_replayed);
	cli_print_built(&built);
	if (result.journal_replayed)
		fprintf(stderr,
			"ramet commit: note: the VM of fork %s did not shut down cleanly; its "
			"journal was replayed in memory.\n",
			commit.name);
	return EXIT_OK;
}

const struct command command_commit = {
	.name = "commit",
	.arguments = "FORK IMAGE",
	.summary = "Make an image of what a fork changed: a layer, or a whole new base",
	.example = "ramet commit vm-1 delta.squashfs",
	.options = options,
	.options_size = sizeof(struct commit_options),
	.least = 2,
	.most = 2,
	.has_json = true,
	.completes = COMPLETE_FORKS,
	.run = commit_run,
};
