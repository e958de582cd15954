/* SPDX-License-Identifier: Apache-2.0 */
/* Mounting and unmounting a FUSE filesystem, as root or by fusermount3. */
#ifndef EXPORT_FUSE_MOUNT_H
#define EXPORT_FUSE_MOUNT_H

#include <stdbool.h>

#include "base/error.h"

/*
 * Mount on folder, which must be an empty folder and no mount point; the mount of a dead server of
 * ours is taken away first. *path (the caller frees it) is the folder, absolute and without symlinks,
 * and *fd the connection to the kernel, non-blocking. others: other users may use it.
 */
int fuse_mount(const char *folder, bool read_only, bool others, char **path, int *fd,
	struct ramet_error *err);
/* At once, even when files of it are open. path is as fuse_mount() answered it. */
int fuse_unmount(const char *path, struct ramet_error *err);

#endif
