/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded into ramet by tests/cli/faults-lib.sh: the N-th allocation fails, or the N-th call that
 * writes. RAMET_FAULT=allocation:N or RAMET_FAULT=write:N. RAMET_FAULT_STATE names a file that
 * holds one number, "met" (1 once the fault has come) and the countdown: it is mapped shared, so
 * that the sandboxed child, which can open nothing, counts on where its parent stopped.
 *
 * dlsym() may allocate itself, so allocations go to __libc_malloc and its like, which need no
 * look-up.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#pragma GCC diagnostic ignored "-Wredundant-decls"

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static struct state {
	long met;
	long countdown[2]; /* 0: allocations, 1: writes; below 1: never */
} nothing, *state = &nothing;

__attribute__((constructor)) static void read_wish(void)
{
	const char *wish = getenv("RAMET_FAULT"), *path = getenv("RAMET_FAULT_STATE");
	int fd = wish && path ? open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;
	if (fd < 0 || syscall(SYS_ftruncate, fd, sizeof *state) != 0)
		return;
	struct state *shared = mmap(NULL, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (shared == MAP_FAILED)
		return;
	if (strncmp(wish, "allocation:", 11) == 0)
		shared->countdown[0] = strtol(wish + 11, NULL, 10);
	else if (strncmp(wish, "write:", 6) == 0)
		shared->countdown[1] = strtol(wish + 6, NULL, 10);
	state = shared;
}

static bool fault_due(int kind)
{
	if (__atomic_load_n(&state->countdown[kind], __ATOMIC_RELAXED) < 1)
		return false;
	if (__atomic_sub_fetch(&state->countdown[kind], 1, __ATOMIC_RELAXED) != 0)
		return false;
	state->met = 1;
	return true;
}

void *malloc(size_t size)
{
	if (fault_due(0)) {
		errno = ENOMEM;
		return NULL;
	}
	return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	if (fault_due(0)) {
		errno = ENOMEM;
		return NULL;
	}
	return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
	if (fault_due(0)) {
		errno = ENOMEM;
		return NULL;
	}
	return __libc_realloc(old, size);
}

void *reallocarray(void *old, size_t count, size_t size)
{
	size_t bytes;
	if (__builtin_mul_overflow(count, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(old, bytes);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
	if (fault_due(0))
		return ENOMEM;
	*out = __libc_memalign(alignment, size);
	return *out ? 0 : ENOMEM;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define WRITER(result, name, parameters, arguments) \
	result name parameters \
	{ \
		static __typeof__(&name) real; \
		if (!real) \
			real = REAL(name); \
		if (fault_due(1)) { \
			errno = ENOSPC; \
			return -1; \
		} \
		return real arguments; \
	}

WRITER(ssize_t, write, (int fd, const void *buffer, size_t length), (fd, buffer, length))
WRITER(ssize_t, pwrite, (int fd, const void *buffer, size_t length, off_t offset),
	(fd, buffer, length, offset))
WRITER(ssize_t, writev, (int fd, const struct iovec *iov, int count), (fd, iov, count))
WRITER(int, ftruncate, (int fd, off_t length), (fd, length))
WRITER(int, fsync, (int fd), (fd))
WRITER(int, fdatasync, (int fd), (fd))
WRITER(int, syncfs, (int fd), (fd))
WRITER(int, fallocate, (int fd, int mode, off_t offset, off_t length), (fd, mode, offset, length))
WRITER(int, mkdirat, (int dir, const char *path, mode_t mode), (dir, path, mode))
WRITER(int, linkat, (int from, const char *a, int to, const char *b, int flags),
	(from, a, to, b, flags))
WRITER(int, renameat, (int from, const char *a, int to, const char *b), (from, a, to, b))
