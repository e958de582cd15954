/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring is allowed nothing but what is used of it (io_uring_register_restrictions(3)).
 */
#include "block/ring.h"

#include <liburing.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

enum { OPERATIONS_MOST = 4 };

struct ring {
	struct io_uring uring;
	unsigned added;
};

bool ring_restrict(struct io_uring *uring, const uint8_t *operations, unsigned count)
{
	struct io_uring_restriction allowed[OPERATIONS_MOST] = {0};
	for (unsigned i = 0; i < count && i < OPERATIONS_MOST; i++)
		allowed[i] = (struct io_uring_restriction){
			.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = operations[i]};
	/* Not by liburing: Debian 12's does not give these two away. */
	int fd = uring->ring_fd;
	return count <= OPERATIONS_MOST &&
	       syscall(SYS_io_uring_register, fd, IORING_REGISTER_RESTRICTIONS, allowed, count) ==
		       0 &&
	       syscall(SYS_io_uring_register, fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0) == 0;
}

struct ring *ring_new(unsigned depth, int eventfd)
{
	static const uint8_t operations[] = {IORING_OP_READV, IORING_OP_WRITEV};
	struct ring *ring = calloc(1, sizeof *ring);
	if (!ring)
		return NULL;
	if (io_uring_queue_init(depth, &ring->uring, IORING_SETUP_R_DISABLED) < 0) {
		free(ring);
		return NULL;
	}
	if (io_uring_register_eventfd(&ring->uring, eventfd) < 0 ||
		!ring_restrict(&ring->uring, operations, ARRAY_SIZE(operations))) {
		ring_free(ring);
		return NULL;
	}
	io_uring_cq_eventfd_toggle(&ring->uring, false);
	return ring;
}

void ring_add(struct ring *ring, const struct ring_transfer *transfer)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);
	if (!sqe) {
		ring_submit(ring);
		sqe = io_uring_get_sqe(&ring->uring);
	}
	if (transfer->write)
		io_uring_prep_writev(
			sqe, transfer->fd, transfer->vector, transfer->count, transfer->offset);
	else
		io_uring_prep_readv(
			sqe, transfer->fd, transfer->vector, transfer->count, transfer->offset);
	io_uring_sqe_set_data(sqe, transfer->owner);
	ring->added++;
}

void ring_submit(struct ring *ring)
{
	if (!ring->added)
		return;
	/* What the kernel does not take now (EAGAIN, EINTR, EBUSY) is offered again. */
	int taken = io_uring_submit(&ring->uring);
	if (taken > 0)
		ring->added -= MIN((unsigned)taken, ring->added);
}

bool ring_next(struct ring *ring, void **owner, int64_t *result)
{
	struct io_uring_cqe *cqe;
	io_uring_cq_eventfd_toggle(&ring->uring, false);
	if (io_uring_peek_cqe(&ring->uring, &cqe) < 0)
		return false;
	*owner = io_uring_cqe_get_data(cqe);
	*result = cqe->res;
	io_uring_cqe_seen(&ring->uring, cqe);
	return true;
}

bool ring_any(const struct ring *ring)
{
	return io_uring_cq_ready(&ring->uring) != 0;
}

bool ring_sleep(struct ring *ring)
{
	io_uring_cq_eventfd_toggle(&ring->uring, true);
	return io_uring_cq_ready(&ring->uring) == 0 && ring->added == 0;
}

void ring_free(struct ring *ring)
{
	if (!ring)
		return;
	io_uring_queue_exit(&ring->uring);
	free(ring);
}
