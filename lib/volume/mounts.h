/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VOLUME_MOUNTS_H
#define VOLUME_MOUNTS_H

#include <stddef.h>

/* The mount that fd is on, as people know it: "/mnt (xfs)". Answers buffer. */
char *mount_describe(int fd, char *buffer, size_t size);

#endif
