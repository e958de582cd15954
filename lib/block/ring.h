/* SPDX-License-Identifier: Apache-2.0 */
/* io_uring, as far as the engine needs it: vectored reads and writes. */
#ifndef BLOCK_RING_H
#define BLOCK_RING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct io_uring;
struct ring;

struct ring_transfer {
	bool write;
	int fd;
	uint64_t offset;
	const struct iovec *vector; /* must stay as it is until the transfer has ended */
	unsigned count;
	void *owner; /* comes back with the result */
};

/* A ring that was made with IORING_SETUP_R_DISABLED is opened for these operations (IORING_OP_*), and
 * no others ever: the calls that a ring makes pass by the seccomp filter of whoever has it. False where
 * the kernel does not limit rings. */
bool ring_restrict(struct io_uring *uring, const uint8_t *operations, unsigned count);

/* A ring for at most depth transfers at once, that signals eventfd when one has ended; NULL where the
 * kernel has none for us. */
struct ring *ring_new(unsigned depth, int eventfd);
void ring_add(struct ring *ring, const struct ring_transfer *transfer);
/* Hand what was added to the kernel. */
void ring_submit(struct ring *ring);
/* A transfer that has ended, until none is left; the eventfd is quiet from then on. */
bool ring_next(struct ring *ring, void **owner, int64_t *result);
/* Whether a transfer has ended that was not taken yet. */
bool ring_any(const struct ring *ring);
/* The eventfd tells of ends again; false when there is one to take already. */
bool ring_sleep(struct ring *ring);
void ring_free(struct ring *ring); /* NULL is fine */

#endif
