/* SPDX-License-Identifier: Apache-2.0 */
/* What whoever starts and ends servers has to know of the FUSE export. */
#ifndef EXPORT_FUSE_H
#define EXPORT_FUSE_H

#include "base/error.h"

/* The one file of the mount. */
#define FUSE_FILE "disk.raw"

/*
 * Take away the mount that a dead FUSE server left on folder. A server's sandbox may keep it from
 * unmounting: whoever ends one, or finds it dead, calls this once its process is gone. Answers 0 when
 * nothing was mounted, too. Errors: EBUSY (its server lives), EINVAL (something else is mounted there),
 * EPERM and what fusermount3 says.
 */
int export_fuse_clean(const char *folder, struct ramet_error *err);

#endif
