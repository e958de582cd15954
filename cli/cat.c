/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/place.h"

static int cat_one(const char *word, bool alone, struct ramet_error *err)
{
	_cleanup_cli_place_ struct cli_place place;
	int r = cli_place_parse(word, &place, err);
	if (r < 0)
		return r;
	const struct ramet_read_options options = {
		.place = place.place, .files_only = !alone, .fd = STDOUT_FILENO};
	struct ramet_read_result result = {0};
	r = cli_end_of_pipe(ramet_image_read(&options, &result, err));
	if (r == 0 && result.omitted)
		fprintf(stderr,
			"ramet cat: note: %llu object%s (sockets, attributes with '=' in their "
			"names) cannot be in a tar, wholly or in part.\n",
			(unsigned long long)result.omitted, result.omitted == 1 ? "" : "s");
	return r;
}

static int cat_run(struct invocation *inv, struct ramet_error *err)
{
	for (size_t i = 0; i < inv->argument_count; i++)
		if (!cli_is_place(inv->arguments[i]))
			return cli_usage(inv, "'%s' names no place in an image; write IMAGE:/PATH",
				inv->arguments[i]);
	int r = 0;
	for (size_t i = 0; r == 0 && i < inv->argument_count; i++)
		r = cat_one(inv->arguments[i], inv->argument_count == 1, err);
	return r;
}

const struct command command_cat = {
	.name = "cat",
	.arguments = "IMAGE:/PATH...",
	.summary = "Write files of an image, or a directory as a tar, to standard output",
	.example = "ramet cat base.squashfs:/etc | tar -tv",
	.least = 1,
	.most = 4096,
	.no_store = true,
	.run = cat_run,
};
