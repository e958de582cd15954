/* SPDX-License-Identifier: Apache-2.0 */
/* Writing an archive as the kernel's initramfs wants it: cpio, "newc" form. */
#ifndef VMM_CPIO_H
#define VMM_CPIO_H

#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

struct cpio_writer {
	int fd;
	uint64_t offset; /* bytes written */
	uint32_t inode;  /* number of the last entry */
};

/* Add one entry. name has no leading slash; content belongs to regular files, device to devices.
 * Times and owners are 0. Errors: those of write(2), EFBIG (content of 4 GiB and more). */
int cpio_add(struct cpio_writer *cpio, const char *name, mode_t mode, dev_t device,
	const void *content, size_t length, struct ramet_error *err);
int cpio_end(struct cpio_writer *cpio, struct ramet_error *err);

#endif
