/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the server keeps: its open files, threads, reading below the roots of what it serves lazily, and
 * the calls of its export. What exports try when they end (taking their socket or mount away) is
 * refused and does no harm: whoever ends a server tidies up after it.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/confine.h"
#include "server/inside.h"

/* What every server needs, besides what computing, reading and writing do. */
static const int common[] = {
	SYS_preadv2,
	SYS_pwritev2,
	SYS_poll,
	SYS_timerfd_settime,
	SYS_ppoll,
	SYS_io_uring_enter,
	SYS_accept,
	SYS_accept4,
	SYS_recvfrom,
	SYS_recvmsg,
	SYS_sendto,
	SYS_sendmsg,
	SYS_getsockopt,
	SYS_setsockopt,
	SYS_getsockname,
	SYS_getpeername,
	SYS_shutdown,
	SYS_fcntl,
	SYS_eventfd2,
	SYS_dup,
	SYS_pipe2,
	SYS_clock_nanosleep,
	SYS_nanosleep,
	SYS_fadvise64,
	SYS_readahead,
	SYS_getuid,
	SYS_geteuid,
	SYS_getgid,
	SYS_getegid,
	SYS_close_range,
	SYS_fstatfs,
	SYS_mincore,
};
/* Where there is a root to open files below. */
static const int for_roots[] = {SYS_openat2, SYS_statx};

static const int refused[] = {SYS_unlink, SYS_unlinkat, SYS_rmdir, SYS_umount2, SYS_mount,
	SYS_clone, SYS_vfork, SYS_fork, SYS_execve, SYS_socket, SYS_connect, SYS_kill};

/* Five seconds for reads that are under way. */
enum { THREADS_TRIES = 500, THREADS_WAIT_US = 10000 };

/* Bytes of memory of its own; a guest's is not counted. */
#define MEMORY_MOST ((rlim_t)512 << 20)

#if defined(__SANITIZE_ADDRESS__)
/* It reserves terabytes. */
#define MEMORY_BOUNDED 0
#else
#define MEMORY_BOUNDED 1
#endif

/* Files that are open: a shell's soft limit, often 1,024 or less, is meant for programs that select(2). */
#define FILES_WANTED ((rlim_t)4096)

static int set_limits(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	limit.rlim_cur = MAX(limit.rlim_cur, MIN(limit.rlim_max, FILES_WANTED));
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	if (setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}) < 0 ||
		getrlimit(RLIMIT_DATA, &limit) < 0)
		return -errno;
	limit.rlim_cur = limit.rlim_max = MIN(limit.rlim_max, MEMORY_MOST);
	return MEMORY_BOUNDED && setrlimit(RLIMIT_DATA, &limit) < 0 ? -errno : 0;
}

typedef VECTOR(int) numbers;

static int add(numbers *list, const int *items, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int *item = vector_push(list);
		if (!item)
			return -ENOMEM;
		*item = items[i];
	}
	return 0;
}

static int collect(const struct server *server, numbers *calls, numbers *roots)
{
	int r = add(calls, common, ARRAY_SIZE(common));
	for (const int *call = server->ops->syscalls; r == 0 && call && *call >= 0; call++)
		r = add(calls, call, 1);
	for (size_t i = 0; i < server->served_count && r == 0; i++) {
		const struct server_device *given = server->served[i].given;
		r = add(roots, given->roots.items, given->roots.count);
	}
	if (r == 0 && roots->count)
		r = add(calls, for_roots, ARRAY_SIZE(for_roots));
	return r;
}

static struct server *last_words_of;

/* A server that would do what it may not is broken, or taken over: it says so, and ends. */
static void forbidden(int signal, siginfo_t *info, void *context)
{
	char sentence[96];
	snprintf(sentence, sizeof sentence,
		"tried system call %d, which is forbidden to it, and was ended", info->si_syscall);
	log_last_words(&last_words_of->log, sentence);
	close_range(STDERR_FILENO + 1, ~0u, 0);
	_exit(EXIT_FAILURE);
}

static int catch_forbidden(struct server *server)
{
	last_words_of = server;
	const struct sigaction action = {
		.sa_sigaction = forbidden, .sa_flags = SA_SIGINFO | SA_NODEFER};
	return sigaction(SIGSYS, &action, NULL) < 0 ? -errno : 0;
}

/* Seccomp and landlock hold for the thread that enters, and for those that it starts. Some may be there
 * already: the kernel reads of a ublk device while that is made, and udev right after. */
static int end_threads(const struct served *served, struct ramet_error *err)
{
	int r = 0;
	for (unsigned tries = 0; served->engine && tries < THREADS_TRIES; tries++) {
		r = engine_end_threads(served->engine);
		if (r != -EBUSY)
			break;
		usleep(THREADS_WAIT_US);
		engine_run(served->engine);
	}
	return r < 0 ? error_set(err, -r,
			       "the server cannot shut itself in: a source of %s does not answer, and "
			       "is being read",
			       served->given->path)
		     : 0;
}

static int enter(const struct confine *confine)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0)
		return -errno;
	int r = confine_paths(confine);
	if (r == 0)
		r = set_limits();
	return r < 0 ? r : confine_calls(confine);
}

int server_shut_in(struct server *server, struct ramet_error *err)
{
	numbers calls = {0}, roots = {0};
	for (size_t i = 0; i < server->served_count; i++) {
		int r = end_threads(&server->served[i], err);
		if (r < 0)
			return r;
	}
	int r = collect(server, &calls, &roots);
	const struct confine confine = {.threads = true,
		.trapped = true,
		.files = true,
		.folders = roots.items,
		.folder_count = roots.count,
		.calls = calls.items,
		.call_count = calls.count,
		.refused = refused,
		.refused_count = ARRAY_SIZE(refused)};
	if (r == 0 && !confine_has_paths())
		log_note(&server->log, "this kernel has no landlock: only the system calls of the "
				       "server are limited");
	if (r == 0)
		r = catch_forbidden(server);
	if (r == 0)
		r = enter(&confine);
	vector_free(&calls);
	vector_free(&roots);
	return r < 0 ? error_errno(err, -r, "the server cannot shut itself in") : 0;
}
