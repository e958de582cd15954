/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdio.h>

#include "cli/cli.h"

/* Each name is tried: one that cannot be removed is said at once, and the rest goes on. */
static int rm_run(struct invocation *inv, struct ramet_error *err)
{
	int status = EXIT_OK;
	for (size_t i = 0; i < inv->argument_count; i++) {
		struct ramet_error failure = {0};
		if (ramet_remove(inv->store, inv->arguments[i], &failure) < 0) {
			cli_report(inv, &failure);
			status = EXIT_FAILED;
		}
	}
	return status;
}

const struct command command_rm = {
	.name = "rm",
	.arguments = "FORK...",
	.summary = "Remove forks and what was written in them",
	.example = "ramet rm vm-1 vm-2",
	.least = 1,
	.most = SIZE_MAX,
	.completes = COMPLETE_FORKS,
	.run = rm_run,
};
