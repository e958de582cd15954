/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ramet-init: the first program of a guest, from ramet's initramfs or from within an image.
 *
 * It has no libraries around it, may be started from a root without a single usable folder, and
 * ends in one of three ways: it becomes the image's init, it ends the VM with the status of the
 * one command it ran, or it says in one line why it can do neither and ends the VM. docs/guest.md
 * describes it from the outside.
 */
#include <unistd.h>

#include "init/machine.h"

int main(int argc, char **argv, char **environment)
{
	static struct machine machine;
	(void)argc;
	machine.argv = argv;
	machine.environment = environment;
	machine.console = 2;
	machine.started = microseconds();
	if (getpid() != 1) {
		say(&machine, "this is the first program of a virtual machine; ramet run starts it",
			NULL);
		return 1;
	}
	workshop_open(&machine);
	cmdline_read(&machine);
	if (machine.asked.verbose) {
		char buffer[21];
		say(&machine, number(machine.started, buffer), " us: started", NULL);
	}
	modules_load(&machine);
	if (machine.asked.handover && !machine.in_image)
		handover(&machine);
	if (machine.asked.clone)
		clone_mount(&machine);
	else
		overlay_mount(&machine);
	if (machine.asked.exec_count > 0)
		command_run(&machine);
	image_init(&machine);
}
