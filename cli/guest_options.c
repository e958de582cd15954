/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/guest_options.h"

/* No machine has so few bytes: such a number was meant as MiB. */
enum { BARE_NUMBER_MAX = 65535 };

int guest_options_apply(const struct invocation *invocation, const struct guest_options *guest,
	struct ramet_run_options *options)
{
	uint64_t mib = guest->memory <= BARE_NUMBER_MAX ? guest->memory : guest->memory >> 20;
	if (!guest->kernel)
		return cli_usage(invocation, "it needs --kernel FILE");
	if (guest->memory && mib == 0)
		return cli_usage(invocation, "--memory is less than 1 MiB");
	if (mib > 1 << 24)
		return cli_usage(invocation, "--memory is more than a machine has");
	if (invocation->rest && !invocation->rest[0])
		return cli_usage(invocation, "there is no command after '--'");
	if (invocation->rest && guest->boot)
		return cli_usage(invocation, "--boot goes without a command");
	*options = (struct ramet_run_options){
		.name = invocation->arguments[0],
		.kernel = guest->kernel,
		.modules = guest->modules,
		.argv = invocation->rest,
		.image_init = guest->boot,
		.ram = guest->ram,
		.in_image_init = guest->in_image_init,
		.vcpus = guest->vcpus,
		.memory_mib = (unsigned)mib,
		.append = guest->append,
		.verbose = guest->verbose,
		.console_in = -1,
		.console_out = -1,
		.stop_fd = -1,
	};
	return 0;
}
