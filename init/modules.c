/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Modules come in the initramfs in the order of a list (see names.h). One that says it has nothing
 * to drive here (ENODEV: crc32c-intel on an older processor) is passed over. Files are removed as
 * they are loaded: an initramfs is memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "init/machine.h"

static void module_load(struct machine *machine, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fail(machine, "the kernel module ", path, " could not be opened: ", why(), NULL);
	long r = syscall(SYS_finit_module, fd, "", 0);
	if (r < 0 && errno != EEXIST && errno != ENODEV)
		fail(machine, "the kernel module ", path, " could not be loaded: ", why(),
			errno == ENOEXEC ? " (it is of another kernel)" : "", NULL);
	close(fd);
	unlink(path);
}

void modules_load(struct machine *machine)
{
	static char list[16384];
	int fd = machine->in_image ? -1 : open(INIT_MODULES_LIST, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	ssize_t length = read(fd, list, sizeof list - 1);
	close(fd);
	if (length < 0 || length == sizeof list - 1)
		fail(machine, "the list of kernel modules could not be read", NULL);
	for (char *line = list; *line;) {
		char *end = strchrnul(line, '\n');
		char *next = *end ? end + 1 : end;
		*end = '\0';
		if (*line)
			module_load(machine, line);
		line = next;
	}
	unlink(INIT_MODULES_LIST);
	rmdir(INIT_MODULES_FOLDER);
	say_step(machine, "kernel modules are loaded");
}
