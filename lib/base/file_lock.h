/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file locked as a whole, with an open file description lock (fcntl(2), F_OFD_SETLK). It belongs to the
 * open file, not to the process: a child that inherits the fd has it as long as it lives, and it ends
 * with the last copy of the fd. Other than with flock(2), who only asks never takes it for a moment.
 */
#ifndef BASE_FILE_LOCK_H
#define BASE_FILE_LOCK_H

#include <stdbool.h>

/* fd: open for writing. -EBUSY: another open file has it; or what else fcntl(2) says. */
int file_lock(int fd);
/* Whether another open file has the lock; false also when that cannot be asked. */
bool file_is_locked(int fd);

#endif
