/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded, it makes this kernel's ublk one of Linux 6.0 to 6.3, as far as numbers of commands go: those
 * like ioctls are unknown, the older ones work (where the kernel has CONFIG_BLKDEV_UBLK_LEGACY_OPCODES).
 */
#include <dlfcn.h>
#include <liburing.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#pragma GCC diagnostic ignored "-Wredundant-decls"

int io_uring_submit(struct io_uring *ring)
{
	int (*submit)(struct io_uring *) = dlsym(RTLD_NEXT, "io_uring_submit");
	unsigned shift = ring->flags & IORING_SETUP_SQE128 ? 1 : 0;
	for (unsigned at = ring->sq.sqe_head; at != ring->sq.sqe_tail; at++) {
		struct io_uring_sqe *sqe = &ring->sq.sqes[(at & *ring->sq.kring_mask) << shift];
		if (sqe->opcode == IORING_OP_URING_CMD && _IOC_TYPE(sqe->cmd_op))
			sqe->cmd_op = UINT32_MAX;
	}
	return submit ? submit(ring) : -1;
}
