/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's NBD client, told by generic netlink what to do. Needs CAP_SYS_ADMIN. */
#ifndef EXPORT_NBD_NETLINK_H
#define EXPORT_NBD_NETLINK_H

#include <stdint.h>

#include "base/error.h"

struct nbd_netlink {
	int fd;
	uint16_t family;
	uint32_t sequence;
};
#define NBD_NETLINK_NONE \
	{ \
		.fd = -1 \
	}

struct nbd_binding {
	uint64_t size, block_size; /* bytes */
	uint64_t flags;            /* NBD_FLAG_* */
	uint64_t patience; /* seconds for which requests wait for a new socket after one died */
	int socket;
	const char
		*identity; /* told by /sys/block/nbdN/backend; with it alone sockets are replaced */
};

/* Errors: ENODEV (no such client in the kernel), EPERM. */
int nbd_netlink_open(struct nbd_netlink *netlink, struct ramet_error *err);
void nbd_netlink_close(struct nbd_netlink *netlink);
/* Make a device of the socket: one that is free, or a new one. Answers N of /dev/nbdN. -errno. */
int nbd_netlink_connect(struct nbd_netlink *netlink, const struct nbd_binding *binding);
/* Give a device whose socket died another one. -errno. */
int nbd_netlink_reconnect(
	struct nbd_netlink *netlink, unsigned index, const struct nbd_binding *binding);
int nbd_netlink_disconnect(struct nbd_netlink *netlink, unsigned index);

#endif
