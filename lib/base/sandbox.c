/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A child that can only think: compute, read and write what was open already, and end.
 *
 * The order matters. Fds are closed and limits set while that is still allowed; landlock (no right
 * to any path) and then seccomp come last, since each takes away what the step before needed. The
 * answer goes through a pipe, never through shared memory, and is distrusted: a child that was
 * taken over can lie about what it read, but its sentence cannot move the operator's cursor.
 *
 * The child of a process with threads has the forking one alone; glibc keeps malloc usable there.
 * It must run none of the parent's exit handlers and flush none of its streams, so it ends by
 * _exit. See seccomp(2), landlock(7), prctl(2) PR_SET_PDEATHSIG.
 */
#include "base/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/text.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* What the child sends first; the answer follows when result is 0. */
struct verdict {
	int result;
	struct ramet_error err;
};

struct job {
	const struct sandbox_limits *limits;
	int (*work)(void *ctx, struct ramet_error *err);
	void *ctx;
	const int *fds;
	size_t fd_count;
	const void *answer;
	size_t answer_size;
	int out;
	pid_t parent;
};

/* Interrupting the group ends the child too, whatever its parent does about it. */
static void reset_signals(void)
{
	static const int fatal[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGXCPU, SIGALRM, SIGCHLD};
	for (size_t i = 0; i < ARRAY_SIZE(fatal); i++)
		signal(fatal[i], SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static bool is_kept(const struct job *job, int fd)
{
	if (fd == job->out || (SANITIZED && fd == STDERR_FILENO))
		return true;
	for (size_t i = 0; i < job->fd_count; i++) {
		if (job->fds[i] == fd)
			return true;
	}
	return false;
}

/* Close all but what is kept, range by range. */
static int close_others(const struct job *job)
{
	int highest = job->out;
	for (size_t i = 0; i < job->fd_count; i++)
		highest = MAX(highest, job->fds[i]);
	for (int fd = 0; fd <= highest; fd++) {
		if (!is_kept(job, fd))
			close(fd);
	}
	return close_range((unsigned)highest + 1, ~0u, 0) < 0 && errno != ENOSYS ? -errno : 0;
}

/* How much address space the process has now. */
static size_t size_now(void)
{
	unsigned long pages = 0;
	_cleanup_fclose_ FILE *statm = fopen("/proc/self/statm", "re");
	if (!statm || fscanf(statm, "%lu", &pages) != 1)
		return 0;
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static int limit(int what, rlim_t soft, rlim_t hard)
{
	struct rlimit now, wanted;
	if (getrlimit(what, &now) < 0)
		return -errno;
	wanted.rlim_max = MIN(hard, now.rlim_max);
	wanted.rlim_cur = MIN(soft, wanted.rlim_max);
	return setrlimit(what, &wanted) < 0 ? -errno : 0;
}

static int set_limits(const struct sandbox_limits *limits, size_t now)
{
	int r = limit(RLIMIT_CORE, 0, 0);
	if (r == 0)
		r = limit(RLIMIT_NOFILE, 0, 0);
	if (r == 0 && limits->cpu_seconds)
		r = limit(RLIMIT_CPU, limits->cpu_seconds, (rlim_t)limits->cpu_seconds + 1);
	/* The address sanitizer reserves terabytes. */
	if (r == 0 && limits->memory && now && !SANITIZED)
		r = limit(RLIMIT_AS, now + limits->memory, now + limits->memory);
	return r;
}

/* No path at all, where the kernel has landlock. */
static int enter_landlock(void)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	if (abi < 1)
		return 0;
	/* Rights came with versions: 13 at first, then refer and truncate. */
	unsigned rights = abi >= 3 ? 15 : abi == 2 ? 14 : 13;
	struct landlock_ruleset_attr attr = {.handled_access_fs = (1ULL << rights) - 1};
	long fd = syscall(SYS_landlock_create_ruleset, &attr, sizeof attr.handled_access_fs, 0);
	if (fd < 0)
		return -errno;
	int r = syscall(SYS_landlock_restrict_self, (int)fd, 0) < 0 ? -errno : 0;
	close((int)fd);
	return r;
}

/* What computing, reading and writing need. */
static const int allowed[] = {
	SCMP_SYS(read),
	SCMP_SYS(readv),
	SCMP_SYS(pread64),
	SCMP_SYS(preadv),
	SCMP_SYS(write),
	SCMP_SYS(writev),
	SCMP_SYS(pwrite64),
	SCMP_SYS(pwritev),
	SCMP_SYS(lseek),
	SCMP_SYS(fstat),
	SCMP_SYS(close),
	SCMP_SYS(brk),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	SCMP_SYS(futex),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(time),
	SCMP_SYS(getrandom),
	SCMP_SYS(getpid),
	SCMP_SYS(gettid),
	SCMP_SYS(sched_yield),
	SCMP_SYS(alarm),
	SCMP_SYS(sysinfo),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
};

/* What libraries try and do without: told no, and not killed for it. */
static const struct {
	int call, code;
} refused[] = {
	{SCMP_SYS(open), EACCES},
	{SCMP_SYS(openat), EACCES},
	{SCMP_SYS(access), EACCES},
	{SCMP_SYS(faccessat), EACCES},
	{SCMP_SYS(readlink), EACCES},
	{SCMP_SYS(stat), EACCES},
	{SCMP_SYS(lstat), EACCES},
	{SCMP_SYS(ioctl), ENOTTY},
	{SCMP_SYS(sched_getaffinity), ENOSYS},
};

#if SANITIZED
static const int sanitizer_needs[] = {SCMP_SYS(mmap), SCMP_SYS(mprotect), SCMP_SYS(sigaltstack),
	SCMP_SYS(prctl), SCMP_SYS(getrlimit), SCMP_SYS(sched_getaffinity)};
#endif

/* Calls that are fine with some arguments only. */
static int allow_some(scmp_filter_ctx filter)
{
	int r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 2,
		SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0),
		SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, MAP_ANONYMOUS));
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
			SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	/* fstat() of an fd; glibc asks so. */
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(newfstatat), 1,
			SCMP_A3(SCMP_CMP_EQ, AT_EMPTY_PATH));
	if (r == 0)
		r = seccomp_rule_add(
			filter, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1, SCMP_A1(SCMP_CMP_EQ, F_GETFL));
	if (r == 0)
		r = seccomp_rule_add(
			filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 1, SCMP_A2(SCMP_CMP_EQ, 0));
	/* abort() signals itself, and nobody else. */
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
			SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
	return r;
}

static int enter_seccomp(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	if (!filter)
		return -ENOMEM;
	int r = 0;
	for (size_t i = 0; i < ARRAY_SIZE(allowed) && r == 0; i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
#if SANITIZED
	for (size_t i = 0; i < ARRAY_SIZE(sanitizer_needs) && r == 0; i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, sanitizer_needs[i], 0);
#endif
	if (r == 0)
		r = allow_some(filter);
	for (size_t i = 0; i < ARRAY_SIZE(refused) && r == 0; i++) {
		if (SANITIZED && refused[i].call == SCMP_SYS(sched_getaffinity))
			continue;
		r = seccomp_rule_add(
			filter, SCMP_ACT_ERRNO((uint32_t)refused[i].code), refused[i].call, 0);
	}
	if (r == 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	return r;
}

/* libseccomp (2.5) goes round for ever where it gets no memory: it is given a few seconds. */
enum { CONFINE_SECONDS = 3 };

/* Give away everything. */
static int enter(const struct job *job, struct ramet_error *err)
{
	size_t now = size_now();
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != job->parent ||
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return error_errno(err, errno ? errno : ESRCH, "cannot start a sandbox");
	reset_signals();
	int r = close_others(job);
	if (r < 0)
		return error_errno(err, -r, "cannot close files for a sandbox");
	/* A landlock ruleset is an fd for a moment, so the limit on fds comes after it. */
	r = enter_landlock();
	if (r < 0)
		return error_errno(err, -r, "cannot enter a landlock sandbox");
	r = set_limits(job->limits, now);
	if (r < 0)
		return error_errno(err, -r, "cannot set the limits of a sandbox");
	alarm(CONFINE_SECONDS);
	r = enter_seccomp();
	alarm(0);
	return r < 0 ? error_errno(err, -r, "cannot enter a seccomp sandbox") : 0;
}

static void child(const struct job *job) __attribute__((noreturn));
static void child(const struct job *job)
{
	struct verdict verdict = {0};
	verdict.result = enter(job, &verdict.err);
	if (verdict.result == 0)
		verdict.result = job->work(job->ctx, &verdict.err);
	int r = write_full(job->out, &verdict, sizeof verdict);
	if (r == 0 && verdict.result == 0 && job->answer_size)
		r = write_full(job->out, job->answer, job->answer_size);
	_exit(r < 0);
}

/* Read what the child says: 1 when it said all, 0 when it ended before that. */
static int receive(int fd, struct verdict *verdict, void *answer, size_t answer_size)
{
	ssize_t n = read_full(fd, verdict, sizeof *verdict);
	if (n < 0)
		return (int)n;
	if ((size_t)n < sizeof *verdict)
		return 0;
	if (verdict->result != 0 || answer_size == 0)
		return 1;
	_cleanup_free_ void *copy = malloc(answer_size);
	if (!copy)
		return -ENOMEM;
	n = read_full(fd, copy, answer_size);
	if (n < 0)
		return (int)n;
	if ((size_t)n < answer_size)
		return 0;
	memcpy(answer, copy, answer_size);
	return 1;
}

static int explain(
	const char *what, const struct sandbox_limits *limits, int status, struct ramet_error *err)
{
	int sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	switch (sig) {
	case 0:
		return error_set(err, EUCLEAN,
			"%s cannot be read: its reader ended without an answer", what);
	case SIGINT:
	case SIGTERM:
	case SIGHUP:
	case SIGQUIT:
		return error_set(err, EINTR, "reading %s was interrupted", what);
	case SIGSYS:
		return error_set(err, EUCLEAN,
			"%s cannot be read: its reader tried a system call that is forbidden to it, "
			"and was ended",
			what);
	case SIGALRM:
		return error_set(err, ENOMEM,
			"%s cannot be read: a sandbox was not ready within %d seconds, most likely "
			"for want of memory",
			what, CONFINE_SECONDS);
	case SIGXCPU:
		return error_set(err, EUCLEAN,
			"%s cannot be read: it took more than %u seconds of processor time", what,
			limits->cpu_seconds);
	case SIGKILL:
		return error_set(err, EUCLEAN,
			"%s cannot be read: its reader was killed, by the operator or for the memory "
			"it took",
			what);
	default:
		return error_set(err, EUCLEAN, "%s cannot be read: its reader crashed (%s)", what,
			strsignal(sig));
	}
}

static int wait_for(pid_t pid, int *status)
{
	while (waitpid(pid, status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return 0;
}

int sandbox_run(const char *what, const struct sandbox_limits *limits,
	int (*work)(void *ctx, struct ramet_error *err), void *ctx, const int *fds, size_t fd_count,
	void *answer, size_t answer_size, struct ramet_error *err)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_errno(err, errno, "cannot make a pipe to read %s", what);
	_cleanup_close_ int in = ends[0];
	_cleanup_close_ int out = ends[1];
	struct job job = {.limits = limits,
		.work = work,
		.ctx = ctx,
		.fds = fds,
		.fd_count = fd_count,
		.answer = answer,
		.answer_size = answer_size,
		.out = out,
		.parent = getpid()};
	pid_t pid = fork();
	if (pid < 0)
		return error_errno(err, errno, "cannot start a process to read %s", what);
	if (pid == 0)
		child(&job);
	close(TAKE_FD(out));
	struct verdict verdict;
	int r = receive(in, &verdict, answer, answer_size), status = 0;
	if (r < 0)
		kill(pid, SIGKILL);
	int waited = wait_for(pid, &status);
	if (r < 0)
		return error_errno(err, -r, "cannot hear from the reader of %s", what);
	if (r == 0)
		return waited < 0 ? error_errno(err, -waited, "lost the reader of %s", what)
				  : explain(what, limits, status, err);
	if (verdict.result < 0) {
		/* What comes from a child that was taken over need not even end. */
		verdict.err.message[sizeof verdict.err.message - 1] = '\0';
		text_disarm(verdict.err.message);
		if (err)
			*err = verdict.err;
	}
	return verdict.result;
}
