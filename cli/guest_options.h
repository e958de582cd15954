/* SPDX-License-Identifier: Apache-2.0 */
/* The options that `run` and `config` share: what the guest is made of. */
#ifndef CLI_GUEST_OPTIONS_H
#define CLI_GUEST_OPTIONS_H

#include "cli/cli.h"

struct guest_options {
	const char *kernel, *modules, *append;
	bool ram, in_image_init, boot, verbose;
	unsigned vcpus;
	uint64_t memory;
};

/* Lines of an option table, for a struct whose member `guest` is a struct guest_options. */
#define GUEST_OPTIONS(type) \
	OPTION(STRING, type, guest.kernel, "kernel", "FILE", \
		"the guest's kernel: a vmlinux or vmlinuz (needed)"), \
		OPTION(STRING, type, guest.modules, "modules", "DIR", \
			"its /lib/modules/VERSION, when drivers are not built in"), \
		OPTION(FLAG, type, guest.ram, "ram", NULL, \
			"keep the writes in memory, leave the volume alone"), \
		OPTION(FLAG, type, guest.in_image_init, "in-image-init", NULL, \
			"boot the base's own /sbin/overlay-init (build --init)"), \
		OPTION(FLAG, type, guest.boot, "boot", NULL, \
			"start the image's own init, not its default command"), \
		OPTION(COUNT, type, guest.vcpus, "vcpus", "N", "virtual CPUs (default: 1)"), \
		OPTION(SIZE, type, guest.memory, "memory", "SIZE", \
			"memory, a bare number counts MiB (default: 512M)"), \
		OPTION(STRING, type, guest.append, "append", "ARGUMENTS", \
			"more kernel arguments, in one word"), \
		OPTION(FLAG, type, guest.verbose, "verbose", NULL, "show the kernel's messages")

/* Fill in what they say; 0, or the exit status of a wrong use. */
int guest_options_apply(const struct invocation *invocation, const struct guest_options *guest,
	struct ramet_run_options *options);

#endif
