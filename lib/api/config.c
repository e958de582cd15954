/* SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>

#include "api/machine.h"
#include "base/cleanup.h"

int ramet_config(struct ramet_store *store, const struct ramet_run_options *options, char **json,
	struct ramet_error *err)
{
	/* Nobody reads the console for ramet: the init says what it has to say in plain words. */
	struct guest_arguments arguments = {.vmm = &vmm_firecracker, .kvm = true};
	_cleanup_machine_ struct machine machine = MACHINE_NONE;
	int r = machine_prepare(
		&machine, store, options, &arguments, "config-initramfs", true, err);
	if (r < 0)
		return r;
	json_t *configuration;
	r = firecracker_configuration(&machine.config, &configuration, err);
	if (r < 0)
		return error_prefix(err, r, "fork %s", options->name);
	*json = json_dumps(configuration, JSON_INDENT(2));
	json_decref(configuration);
	return *json ? 0 : error_memory(err);
}
