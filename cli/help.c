/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static int help_one(struct invocation *inv)
{
	for (size_t i = 0; commands[i]; i++)
		if (strcmp(commands[i]->name, inv->arguments[0]) == 0) {
			options_help(commands[i]);
			return EXIT_OK;
		}
	return cli_usage(inv, "there is no command '%s'", inv->arguments[0]);
}

static int help_run(struct invocation *inv, struct ramet_error *err)
{
	if (inv->argument_count)
		return help_one(inv);
	printf("ramet %s: disks for microVM fleets. Never copy, never mount, never guess.\n\n"
	       "Usage: ramet COMMAND [OPTION]... [ARGUMENT]...\n\nCommands:\n",
		ramet_version());
	for (size_t i = 0; commands[i]; i++)
		printf("  %-12s %s\n", commands[i]->name, commands[i]->summary);
	printf("\n'ramet COMMAND --help' tells more, 'man ramet' everything.\n");
	return EXIT_OK;
}

const struct command command_help = {
	.name = "help",
	.arguments = "[COMMAND]",
	.summary = "List the commands, or show how one is used",
	.example = "ramet help fork",
	.most = 1,
	.no_store = true,
	.run = help_run,
};
