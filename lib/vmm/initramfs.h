/* SPDX-License-Identifier: Apache-2.0 */
/* The small root that any base boots from: ramet's init and the kernel modules it needs. */
#ifndef VMM_INITRAMFS_H
#define VMM_INITRAMFS_H

#include "base/error.h"

struct initramfs_options {
	/* A /lib/modules/VERSION folder with its depmod files, or NULL: everything is built in. */
	const char *modules_dir;
	/* Names of modules, NULL-terminated; each is put in after those it needs. What the kernel
	 * has built in is left out. NULL, or no modules_dir: none. */
	const char *const *modules;
	/* For INIT_ARGUMENTS_FILE; NULL: none. */
	const char *arguments;
};

/*
 * Write the archive (cpio, newc) to fd at its position. The same modules give the same bytes.
 * Errors: ENOENT (no such module, or modules_dir is not one), EBADMSG (a module that cannot be
 * decompressed), ENOSPC, ENOMEM.
 */
int initramfs_write(int fd, const struct initramfs_options *options, struct ramet_error *err);

#endif
