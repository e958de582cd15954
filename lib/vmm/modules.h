/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel modules of a guest: which files, in which order. */
#ifndef VMM_MODULES_H
#define VMM_MODULES_H

#include "base/error.h"
#include "base/vector.h"

struct module_file {
	char *name; /* "virtio_blk" */
	char *path; /* its file on the host, maybe compressed */
};
typedef VECTOR(struct module_file) module_list;

/*
 * Find the modules called wanted (NULL-terminated) in the folder dir with all that they need, in
 * the order in which they must be loaded. What the kernel has built in is left out.
 * Errors: ENOENT (the kernel has no such module, or dir has no depmod files), ENOMEM.
 */
int modules_find(
	const char *dir, const char *const *wanted, module_list *list, struct ramet_error *err);
void modules_free(module_list *list);
#define _cleanup_modules_ __attribute__((cleanup(modules_free)))

/* Read a module's file, decompressed; the caller frees *data. Errors: those of open(2),
 * EBADMSG (it cannot be decompressed), EFBIG (over 64 MiB), ENOMEM. */
int module_read(
	const struct module_file *file, void **data, size_t *length, struct ramet_error *err);

#endif
