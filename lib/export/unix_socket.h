/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets with a name in the file system, to be connected to by their owner, and root, alone. */
#ifndef EXPORT_UNIX_SOCKET_H
#define EXPORT_UNIX_SOCKET_H

#include <stdint.h>

#include "export/export.h"

struct unix_socket {
	int fd;                 /* listens, does not block */
	char *path;             /* as it was given */
	uint64_t device, inode; /* of the file at path */
};
#define UNIX_SOCKET_NONE \
	{ \
		.fd = -1 \
	}

/* Listen at path, mode 0600. A socket that is there already and that nobody listens at is replaced;
 * anything else is not. owner: whose it is to be; NULL: the process's. Errors: EADDRINUSE,
 * ENAMETOOLONG (107 bytes), EPERM (owner), ENOENT, EACCES... */
int unix_socket_listen(struct unix_socket *listener, const char *path,
	const struct export_user *owner, struct ramet_error *err);
/* Stop listening, and take the name away when it is still this socket's. */
void unix_socket_close(struct unix_socket *listener);

#endif
