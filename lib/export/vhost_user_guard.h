/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared memory that may vanish: touching a page behind the end of its file, or one that the host has
 * no memory for, raises SIGBUS. A guarded mapping gets zeros then, and is marked as lost.
 */
#ifndef EXPORT_VHOST_USER_GUARD_H
#define EXPORT_VHOST_USER_GUARD_H

#include <stdbool.h>
#include <stddef.h>

/* From begin to end SIGBUS is caught; both count. -errno. */
int guard_begin(void);
void guard_end(void);

/* A mapping, of whole pages (of the file's size): its number for the calls below, or -ENOSPC. */
int guard_add(void *mapping, size_t length);
void guard_remove(int guard);
/* Its memory vanished: from then on it is nobody else's, and was zeroed. */
bool guard_lost(int guard);

#endif
