/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/chain_word.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/json.h"

struct fork_options {
	unsigned count;
	uint64_t size;
	const char *provider, *format;
};

static const struct option_spec fork_specs[] = {
	OPTION(COUNT, struct fork_options, count, "count", "N", "make N forks, NAME-1 .. NAME-N"),
	OPTION(SIZE, struct fork_options, size, "size", "SIZE",
		"size of each volume (default: 10G, or the base's for a clone)"),
	OPTION(STRING, struct fork_options, provider, "provider", "auto|file|reflink",
		"who makes the volumes (default: auto)"),
	OPTION(STRING, struct fork_options, format, "format", CLI_FORMATS,
		"of the lazy image that is made of a folder (default: squashfs)"),
	OPTION_END,
};

static double milliseconds_since(const struct timespec *start)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - start->tv_sec) * 1e3 +
	       (double)(now.tv_nsec - start->tv_nsec) / 1e6;
}

static void print_text(const struct ramet_fork_options *options, const struct chain_word *chain,
	const struct ramet_fork_result *result, double milliseconds)
{
	char size[32], name[1024];
	text_size(result->size, size);
	chain_word_name(chain->base, chain->layers, name, sizeof name);
	if (options->count)
		printf("%s-1 .. %s-%u: %u fork%s", options->name, options->name, options->count,
			options->count, options->count == 1 ? "" : "s");
	else
		printf("%s: a fork", options->name);
	if (result->lazy)
		printf(" of a lazy %s of %s (%llu entries, of whose content nothing was read)",
			options->format ? options->format : "squashfs", name,
			(unsigned long long)result->lazy_entries);
	else
		printf(" of %s", name);
	bool overlay = strcmp(result->mode, "overlay") == 0;
	printf(", %s %s%s of %s (%s), %.*f ms\n", overlay ? "overlay on" : "clone by",
		result->provider,
		!overlay             ? ""
		: options->count > 1 ? " volumes"
				     : " volume",
		size, result->reason, milliseconds < 10 ? 1 : 0, milliseconds);
}

static int print_json(const struct ramet_fork_options *options, const struct chain_word *chain,
	const struct ramet_fork_result *result, double milliseconds)
{
	json_t *names = json_array(), *layers = json_array();
	for (size_t i = 0; i < chain->layer_count; i++)
		json_array_append_new(layers, cli_json_string(chain->layers[i]));
	for (unsigned i = 1; i <= options->count; i++)
		json_array_append_new(names, json_sprintf("%s-%u", options->name, i));
	if (!options->count)
		json_array_append_new(names, json_string(options->name));
	json_t *object = json_pack("{s:o, s:o, s:o, s:s, s:s, s:I, s:o, s:b, s:I, s:f}", "forks",
		names, "base", cli_json_string(options->base), "layers", layers, "provider",
		result->provider, "mode", result->mode, "size", (json_int_t)result->size, "reason",
		cli_json_string(result->reason), "lazy", result->lazy, "lazy_entries",
		(json_int_t)result->lazy_entries, "milliseconds", milliseconds);
	return cli_print_json(object);
}

static void note(void *ctx, const char *sentence)
{
	(void)ctx;
	fprintf(stderr, "ramet fork: %s.\n", sentence);
}

static int fork_run(struct invocation *inv, struct ramet_error *err)
{
	const struct fork_options *given = inv->options;
	_cleanup_chain_word_ struct chain_word chain;
	int r = chain_word_parse(inv->arguments[0], &chain, err);
	if (r < 0)
		return r;
	const struct ramet_fork_options options = {
		.base = chain.base,
		.layers = chain.layers,
		.name = inv->arguments[1],
		.count = given->count,
		.size = given->size,
		.provider = given->provider,
		.format = given->format,
		.note = note,
	};
	struct ramet_fork_result result = {0};
	struct timespec start;
	clock_gettime(CLOCK_MONOTONIC, &start);
	r = ramet_fork(inv->store, &options, &result, err);
	if (r < 0)
		return r;
	if (inv->json)
		return print_json(&options, &chain, &result, milliseconds_since(&start));
	print_text(&options, &chain, &result, milliseconds_since(&start));
	return EXIT_OK;
}

const struct command command_fork = {
	.name = "fork",
	.arguments = "BASE|DIR[+LAYER]... NAME",
	.summary = "Make forks of an image or a folder, each with a writable volume of its own",
	.example = "ramet fork base.squashfs vm --count 50 --size 10G",
	.options = fork_specs,
	.options_size = sizeof(struct fork_options),
	.least = 2,
	.most = 2,
	.has_json = true,
	.run = fork_run,
};
