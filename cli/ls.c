/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "cli/cli.h"
#include "cli/json.h"
#include "cli/ls_image.h"
#include "cli/place.h"
#include "cli/table.h"

struct ls_options {
	bool names, images, recursive, more;
};

static const struct option_spec ls_specs[] = {
	OPTION(FLAG, struct ls_options, names, "names", NULL, "names of forks only, one a line"),
	OPTION(FLAG, struct ls_options, images, "images", NULL, "the images instead of the forks"),
	OPTION_SHORT(FLAG, struct ls_options, more, 'l', "long", NULL,
		"of an image: mode, links, owner, size, time, target of each"),
	OPTION_SHORT(FLAG, struct ls_options, recursive, 'R', "recursive", NULL,
		"of an image: all that is below, too; whole paths"),
	OPTION_END,
};

static int name_line(void *ctx, const struct ramet_fork_info *info)
{
	puts(info->name);
	return 0;
}

/* What is wrong with the images below a fork; NULL for nothing. A missing one is told first. */
static const char *chain_state(const struct ramet_fork_info *info)
{
	const char *state = strcmp(info->base_state, "unchanged") == 0 ? NULL : info->base_state;
	for (size_t i = 0; i < info->layer_count; i++) {
		const char *layer = info->layers[i].state;
		if (strcmp(layer, "unchanged") != 0 && (!state || strcmp(layer, "missing") == 0))
			state = layer;
	}
	return state;
}

static int fork_row(void *ctx, const struct ramet_fork_info *info)
{
	struct table *table = ctx;
	char size[32];
	table_add(table, "%s", info->name);
	table_add(table, "%s", info->mode);
	table_add(table, "%s", info->provider);
	table_add(table, "%s", text_size(info->size, size));
	table_add(table, "%s", text_size(info->allocated, size));
	if (info->holder > 0)
		table_add(table, "in use by %d", info->holder);
	else
		table_add(table, "%s", info->holder ? "in use" : "-");
	char layers[32] = "";
	if (info->layer_count)
		snprintf(layers, sizeof layers, " + %zu layer%s", info->layer_count,
			info->layer_count == 1 ? "" : "s");
	const char *state = chain_state(info);
	table_add(table, "%s%s%s%s%s", info->base, layers, state ? " (" : "", state ? state : "",
		state ? ")" : "");
	return 0;
}

static int fork_object(void *ctx, const struct ramet_fork_info *info)
{
	json_array_append_new(ctx, cli_json_fork(info));
	return 0;
}

static int image_row(void *ctx, const struct ramet_image_info *info)
{
	struct table *table = ctx;
	char size[32];
	table_add(table, "%s", info->format);
	table_add(table, "%s", text_size(info->size, size));
	table_add(table, "%llu", (unsigned long long)info->forks);
	table_add(table, "%s", info->state);
	table_add(table, "%s", info->path);
	return 0;
}

static int image_object(void *ctx, const struct ramet_image_info *info)
{
	json_array_append_new(
		ctx, json_pack("{s:o, s:s, s:I, s:s, s:I, s:I, s:o}", "path",
			     cli_json_string(info->path), "format", info->format, "size",
			     (json_int_t)info->size, "state", info->state, "forks",
			     (json_int_t)info->forks, "created", (json_int_t)info->created,
			     "digest", *info->digest ? json_string(info->digest) : json_null()));
	return 0;
}

static int list_forks(struct invocation *inv, struct ramet_error *err)
{
	static const char *const titles[] = {
		"NAME", "MODE", "PROVIDER", ">SIZE", ">ALLOCATED", "HOLDER", "BASE", NULL};
	if (inv->json) {
		json_t *array = json_array();
		int r = ramet_forks(inv->store, NULL, fork_object, array, err);
		if (r == 0)
			return cli_print_json(array);
		json_decref(array);
		return r;
	}
	struct table table;
	table_start(&table, titles);
	int r = ramet_forks(inv->store, NULL, fork_row, &table, err);
	int status = table_finish(&table, r == 0);
	return r < 0 ? r : status;
}

static int list_images(struct invocation *inv, struct ramet_error *err)
{
	static const char *const titles[] = {"FORMAT", ">SIZE", ">FORKS", "STATE", "IMAGE", NULL};
	if (inv->json) {
		json_t *array = json_array();
		int r = ramet_images(inv->store, image_object, array, err);
		if (r == 0)
			return cli_print_json(array);
		json_decref(array);
		return r;
	}
	struct table table;
	table_start(&table, titles);
	int r = ramet_images(inv->store, image_row, &table, err);
	int status = table_finish(&table, r == 0);
	return r < 0 ? r : status;
}

static int ls_run(struct invocation *inv, struct ramet_error *err)
{
	const struct ls_options *options = inv->options;
	bool place = inv->argument_count > 0;
	if (place && !cli_is_place(inv->arguments[0]))
		return cli_usage(inv, "'%s' names no place in an image; write '%s:/'",
			inv->arguments[0], inv->arguments[0]);
	if (place && (options->names || options->images))
		return cli_usage(inv, "--names and --images go without a place in an image");
	if (!place && (options->recursive || options->more))
		return cli_usage(
			inv, "--long and --recursive need a place in an image: IMAGE:/PATH");
	if (place)
		return cli_list_image(inv, options->recursive, options->more, err);
	if (options->names && (options->images || inv->json))
		return cli_usage(inv, "--names goes with neither --images nor --json");
	if (options->names)
		return ramet_forks(inv->store, NULL, name_line, NULL, err);
	return options->images ? list_images(inv, err) : list_forks(inv, err);
}

const struct command command_ls = {
	.name = "ls",
	.arguments = "[IMAGE:/PATH]",
	.summary = "List the forks, the images, or what is in an image",
	.example = "ramet ls -l base.squashfs:/etc",
	.options = ls_specs,
	.options_size = sizeof(struct ls_options),
	.most = 1,
	.has_json = true,
	.run = ls_run,
};
