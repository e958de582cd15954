/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The form is that of the kernel's Documentation/driver-api/early-userspace/buffer-format.rst:
 * "070701", thirteen fields of eight hexadecimal digits, the name with its NUL, and zeros up to a
 * multiple of four before and after the content. The archive ends with an entry "TRAILER!!!".
 */
#include "vmm/cpio.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/fd.h"

#define HEADER_LENGTH 110

static int cpio_write(struct cpio_writer *cpio, const void *bytes, size_t length)
{
	cpio->offset += length;
	return length ? write_full(cpio->fd, bytes, length) : 0;
}

static int cpio_pad(struct cpio_writer *cpio)
{
	static const char zeros[4];
	return cpio_write(cpio, zeros, -cpio->offset & 3);
}

int cpio_add(struct cpio_writer *cpio, const char *name, mode_t mode, dev_t device,
	const void *content, size_t length, struct ramet_error *err)
{
	if (length > UINT32_MAX)
		return error_set(err, EFBIG, "%s is too large for an initramfs", name);
	char header[HEADER_LENGTH + 1];
	snprintf(header, sizeof header,
		"070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", ++cpio->inode, mode,
		0, 0, S_ISDIR(mode) ? 2 : 1, 0, (unsigned)length, 0, 0, major(device),
		minor(device), (unsigned)strlen(name) + 1, 0);
	int r = cpio_write(cpio, header, HEADER_LENGTH);
	if (r == 0)
		r = cpio_write(cpio, name, strlen(name) + 1);
	if (r == 0)
		r = cpio_pad(cpio);
	if (r == 0)
		r = cpio_write(cpio, content, length);
	if (r == 0)
		r = cpio_pad(cpio);
	return r == 0 ? 0 : error_errno(err, -r, "the initramfs could not be written");
}

int cpio_end(struct cpio_writer *cpio, struct ramet_error *err)
{
	cpio->inode = UINT32_MAX; /* the trailer's number is 0 */
	return cpio_add(cpio, "TRAILER!!!", 0, 0, NULL, 0, err);
}
