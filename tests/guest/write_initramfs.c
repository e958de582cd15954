/* SPDX-License-Identifier: Apache-2.0 */
/* write_initramfs FILE [MODULES_DIR MODULE...]: what initramfs_write writes, for the tests that
 * boot it by hand. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "vmm/initramfs.h"

int main(int argc, char **argv)
{
	struct ramet_error err = {0};
	if (argc < 2) {
		fprintf(stderr, "usage: write_initramfs FILE [MODULES_DIR MODULE...]\n");
		return 2;
	}
	struct initramfs_options options = {.modules_dir = argc > 2 ? argv[2] : NULL,
		.modules = argc > 2 ? (const char *const *)argv + 3 : NULL};
	int fd = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0) {
		perror(argv[1]);
		return 1;
	}
	if (initramfs_write(fd, &options, &err) < 0) {
		fprintf(stderr, "write_initramfs: %s.\n", err.message);
		return 1;
	}
	return close(fd) < 0;
}
