/* SPDX-License-Identifier: Apache-2.0 */
/* What kind of file a kernel is, and the plain ELF kernel that is packed in a bzImage. */
#ifndef VMM_KERNEL_H
#define VMM_KERNEL_H

#include "base/error.h"

enum kernel_kind { KERNEL_ELF, KERNEL_BZIMAGE };

/* Errors: ENOENT, EACCES, EISDIR, ENOEXEC (it is no kernel for this machine). */
int kernel_identify(const char *path, enum kernel_kind *kind, struct ramet_error *err);

/*
 * Unpack the kernel in a bzImage into folder, once: a later call finds it there. The file's name
 * tells which state of which bzImage it came from. *vmlinux: its absolute path (when folder is
 * one), malloc()ed. Errors: EBADMSG (damaged, or packed in a way libarchive does not know), ENOSPC.
 */
int kernel_unpack(const char *path, const char *folder, char **vmlinux, struct ramet_error *err);

#endif
