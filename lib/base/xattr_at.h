/* SPDX-License-Identifier: Apache-2.0 */
/* listxattrat(2), of Linux 6.13, which libc's headers do not know yet. */
#ifndef BASE_XATTR_AT_H
#define BASE_XATTR_AT_H

#include <fcntl.h>
#include <sys/types.h>
#include <unistd.h>

/* The same on all architectures. */
#define CALL_LISTXATTRAT 465

/* How many bytes the names of its attributes take; of a symlink those of itself. -1 with errno; ENOSYS,
 * or what a sandbox says of calls that it does not know: ask otherwise. */
static inline ssize_t xattr_list_size_at(int dirfd, const char *name)
{
	return syscall(CALL_LISTXATTRAT, dirfd, name, AT_SYMLINK_NOFOLLOW, NULL, (size_t)0);
}

#endif
