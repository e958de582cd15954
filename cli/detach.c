/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/vector.h"
#include "cli/cli.h"

struct detach_options {
	bool all, force;
};

static const struct option_spec detach_specs[] = {
	OPTION(FLAG, struct detach_options, all, "all", NULL, "all forks of the store"),
	OPTION(FLAG, struct detach_options, force, "force", NULL,
		"also from a running VM, which gets I/O errors"),
	OPTION_END,
};

typedef VECTOR(char *) names;

static int take_name(void *ctx, const struct ramet_fork_info *info)
{
	char **name = vector_push((names *)ctx);
	if (name)
		*name = strdup(info->name);
	return name && *name ? 0 : -ENOMEM;
}

static int detach_one(struct invocation *inv, const char *name)
{
	const struct detach_options *options = inv->options;
	struct ramet_error failure = {0};
	if (ramet_detach(inv->store, name, options->force, &failure) == 0)
		return EXIT_OK;
	cli_report(inv, &failure);
	return EXIT_FAILED;
}

/* Each is tried: one that cannot be detached is said at once, and the rest goes on. */
static int detach_run(struct invocation *inv, struct ramet_error *err)
{
	const struct detach_options *options = inv->options;
	if (options->all == (inv->argument_count > 0))
		return cli_usage(inv, "name forks, or give --all");
	names all = {0};
	int status = EXIT_OK;
	int r = options->all ? ramet_forks(inv->store, NULL, take_name, &all, err) : 0;
	for (size_t i = 0; r == 0 && i < all.count; i++)
		status |= detach_one(inv, all.items[i]);
	for (size_t i = 0; i < inv->argument_count; i++)
		status |= detach_one(inv, inv->arguments[i]);
	for (size_t i = 0; i < all.count; i++)
		free(all.items[i]);
	vector_free(&all);
	return r == -ENOMEM ? error_memory(err) : r < 0 ? r : status;
}

const struct command command_detach = {
	.name = "detach",
	.arguments = "FORK...",
	.summary = "End serving forks' drives",
	.example = "ramet detach vm-1",
	.options = detach_specs,
	.options_size = sizeof(struct detach_options),
	.least = 0,
	.most = SIZE_MAX,
	.completes = COMPLETE_FORKS,
	.run = detach_run,
};
