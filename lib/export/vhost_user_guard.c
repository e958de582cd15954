/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why a handler of SIGBUS: guest memory is touched in many places (rings, heads and states of requests,
 * zeros that the engine fills in), and a system call for each would cost more than the request. A
 * sealed memfd cannot shrink, but not every VMM seals, and seals do not help when the host runs out of
 * huge pages. Jumping out of the handler would leave whoever was interrupted (the engine) half done;
 * laying zeros over the mapping lets it finish, and the owner of the mapping ends the connection
 * soon after. They are shared memory too, which no limit of the server's own memory (RLIMIT_DATA)
 * forbids. Nothing is allocated or locked in the handler, so it may interrupt anything.
 *
 * The handler is the process's, and so is the table of mappings. A SIGBUS anywhere else is what it was
 * before: the old handler is put back, and the instruction, run again, raises it anew.
 */
#include "export/vhost_user_guard.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>

enum { GUARDS = 256 };

static struct {
	uintptr_t start; /* 0: free. Set last, and cleared first */
	size_t length;
	bool lost;
} guards[GUARDS];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned users;
static struct sigaction before;

static bool lay_zeros(uintptr_t at)
{
	for (unsigned i = 0; i < GUARDS; i++) {
		uintptr_t start = __atomic_load_n(&guards[i].start, __ATOMIC_ACQUIRE);
		if (!start || at - start >= guards[i].length)
			continue;
		/* NOLINTNEXTLINE(performance-no-int-to-ptr) */
		void *zeros = mmap((void *)start, guards[i].length, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
		__atomic_store_n(&guards[i].lost, true, __ATOMIC_RELEASE);
		return zeros != MAP_FAILED;
	}
	return false;
}

static void vanished(int number, siginfo_t *info, void *context)
{
	int saved = errno;
	if (!lay_zeros((uintptr_t)info->si_addr))
		sigaction(SIGBUS, &before, NULL);
	errno = saved;
}

int guard_begin(void)
{
	struct sigaction action = {.sa_sigaction = vanished, .sa_flags = SA_SIGINFO | SA_NODEFER};
	int r = 0;
	pthread_mutex_lock(&lock);
	if (users == 0 && sigaction(SIGBUS, &action, &before) < 0)
		r = -errno;
	users += r == 0;
	pthread_mutex_unlock(&lock);
	return r;
}

void guard_end(void)
{
	pthread_mutex_lock(&lock);
	if (--users == 0)
		sigaction(SIGBUS, &before, NULL);
	pthread_mutex_unlock(&lock);
}

int guard_add(void *mapping, size_t length)
{
	int guard = -ENOSPC;
	pthread_mutex_lock(&lock);
	for (int i = 0; i < GUARDS && guard < 0; i++)
		if (!guards[i].start)
			guard = i;
	if (guard >= 0) {
		guards[guard].length = length;
		guards[guard].lost = false;
		__atomic_store_n(&guards[guard].start, (uintptr_t)mapping, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&lock);
	return guard;
}

void guard_remove(int guard)
{
	__atomic_store_n(&guards[guard].start, 0, __ATOMIC_RELEASE);
}

bool guard_lost(int guard)
{
	return __atomic_load_n(&guards[guard].lost, __ATOMIC_ACQUIRE);
}
