/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "cli/guest_options.h"

struct config_command_options {
	struct guest_options guest;
};

static int config_run(struct invocation *inv, struct ramet_error *err)
{
	const struct config_command_options *options = inv->options;
	struct ramet_run_options run;
	int status = guest_options_apply(inv, &options->guest, &run);
	if (status != 0)
		return status;
	char *json = NULL;
	int r = ramet_config(inv->store, &run, &json, err);
	if (r < 0)
		return r;
	puts(json);
	free(json);
	return EXIT_OK;
}

static const struct option_spec config_options[] = {
	GUEST_OPTIONS(struct config_command_options),
	OPTION_END,
};

const struct command command_config = {
	.name = "config",
	.arguments = "FORK [-- COMMAND [ARGUMENT]...]",
	.summary = "Print a Firecracker configuration file for a fork",
	.example = "ramet config vm-1 --kernel vmlinux > vm-1.json",
	.options = config_options,
	.options_size = sizeof(struct config_command_options),
	.least = 1,
	.most = 1,
	.takes_rest = true,
	.completes = COMPLETE_FORKS,
	.run = config_run,
};
