/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The child's half of the sandbox: it gives away all that it will not need.
 *
 * The order matters. Fds are closed and limits set while that is still allowed; landlock (no right
 * to any path but those named) and then seccomp come last, since each takes away what the step
 * before needed. See seccomp(2), landlock(7), prctl(2) PR_SET_PDEATHSIG.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sandbox_inside.h"

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

static bool is_among(const int *fds, size_t count, int fd)
{
	for (size_t i = 0; i < count; i++)
		if (fds[i] == fd)
			return true;
	return false;
}

static int highest_fd(const struct sandbox_job *job, int out)
{
	int highest = out;
	for (size_t i = 0; i < job->fd_count; i++)
		highest = MAX(highest, job->fds[i]);
	for (size_t i = 0; i < job->folder_count; i++)
		highest = MAX(highest, job->folders[i]);
	return highest;
}

/* Close all but what is kept, range by range. Folders are kept until landlock has seen them. */
static int close_others(const struct sandbox_job *job, int out)
{
	int highest = highest_fd(job, out);
	for (int fd = 0; fd <= highest; fd++)
		if (fd != out && !(SANITIZED && fd == STDERR_FILENO) &&
			!is_among(job->fds, job->fd_count, fd) &&
			!is_among(job->folders, job->folder_count, fd))
			close(fd);
	return close_range((unsigned)highest + 1, ~0u, 0) < 0 && errno != ENOSYS ? -errno : 0;
}

/* Fds at once, of folders and files that are read: a tree keeps some 60 open (tree.h). */
enum { OPEN_MOST = 256 };

/* How much the process has now: of address space, or of what it may write to (proc(5), statm). */
static size_t size_now(bool data)
{
	unsigned long pages = 0, written = 0;
	_cleanup_fclose_ FILE *statm = fopen("/proc/self/statm", "re");
	if (!statm || fscanf(statm, "%lu %*u %*u %*u %*u %lu", &pages, &written) != 2)
		return 0;
	return (data ? written : pages) * (size_t)sysconf(_SC_PAGESIZE);
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

/* Each thread reserves a stack and a heap of many MiB that it hardly uses, so with threads only what
 * can be written to is counted. */
static int set_limits(const struct sandbox_job *job, size_t now, int highest)
{
	const struct sandbox_limits *limits = &job->limits;
	rlim_t fds = job->folder_count ? (rlim_t)highest + OPEN_MOST : 0;
	int r = limit(RLIMIT_CORE, 0, 0);
	if (r == 0)
		r = limit(RLIMIT_NOFILE, fds, fds);
	if (r == 0 && limits->cpu_seconds)
		r = limit(RLIMIT_CPU, limits->cpu_seconds, (rlim_t)limits->cpu_seconds + 1);
	/* The address sanitizer reserves terabytes. */
	if (r == 0 && limits->memory && now && !SANITIZED)
		r = limit(job->threads ? RLIMIT_DATA : RLIMIT_AS, now + limits->memory,
			now + limits->memory);
	return r;
}

static int allow_folder(int ruleset, int folder)
{
	struct stat st;
	if (fstat(folder, &st) < 0)
		return -errno;
	const struct landlock_path_beneath_attr attr = {
		.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE |
				  (S_ISDIR(st.st_mode) ? LANDLOCK_ACCESS_FS_READ_DIR : 0),
		.parent_fd = folder,
	};
	return syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &attr, 0) < 0
		       ? -errno
		       : 0;
}

/* No path at all but those named, where the kernel has landlock. */
static int enter_landlock(const struct sandbox_job *job)
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
	int r = 0;
	for (size_t i = 0; i < job->folder_count && r == 0; i++)
		r = allow_folder((int)fd, job->folders[i]);
	if (r == 0 && syscall(SYS_landlock_restrict_self, (int)fd, 0) < 0)
		r = -errno;
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
	{SCMP_SYS(clone3), ENOSYS},
	{SCMP_SYS(prctl), EINVAL},
};

/* What is allowed besides, where the job asks for it. */
static const int for_threads[] = {
	SCMP_SYS(set_robust_list),
	SCMP_SYS(rseq),
	SCMP_SYS(sched_getaffinity),
};
static const int for_files[] = {
	SCMP_SYS(ftruncate),
	SCMP_SYS(fallocate),
	SCMP_SYS(fsync),
	SCMP_SYS(fdatasync),
	SCMP_SYS(sync_file_range),
};
/* Looking at a path is not what landlock can forbid: names, sizes and attributes can be learnt
 * anywhere, but no content. */
static const int for_folders[] = {
	SCMP_SYS(newfstatat),
	SCMP_SYS(getdents64),
	SCMP_SYS(readlink),
	SCMP_SYS(readlinkat),
	SCMP_SYS(listxattr),
	SCMP_SYS(llistxattr),
	SCMP_SYS(flistxattr),
	SCMP_SYS(getxattr),
	SCMP_SYS(lgetxattr),
	SCMP_SYS(fgetxattr),
	SCMP_SYS(getcwd),
};
/* What pthread_create() asks of clone(2): a thread, and nothing else. */
#define THREAD_FLAGS \
	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | \
		CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)
/* With none of these a file is opened to be read. */
#define WRITE_FLAGS (O_ACCMODE | O_CREAT | O_TRUNC | O_APPEND | (O_TMPFILE & ~O_DIRECTORY))

#if SANITIZED
static const int sanitizer_needs[] = {SCMP_SYS(mmap), SCMP_SYS(mprotect), SCMP_SYS(sigaltstack),
	SCMP_SYS(prctl), SCMP_SYS(getrlimit), SCMP_SYS(sched_getaffinity)};
#endif

/* Calls that are fine with some arguments only. */
static int allow_some(const struct sandbox_job *job, scmp_filter_ctx filter)
{
	int r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 2,
		SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0),
		SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, MAP_ANONYMOUS));
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
			SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	/* fstat() of an fd; glibc asks so. */
	if (r == 0 && !job->folder_count)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(newfstatat), 1,
			SCMP_A3(SCMP_CMP_EQ, AT_EMPTY_PATH));
	if (r == 0 && job->folder_count)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
			SCMP_A2(SCMP_CMP_MASKED_EQ, WRITE_FLAGS, 0));
	if (r == 0 && job->threads)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
			SCMP_A0(SCMP_CMP_EQ, THREAD_FLAGS));
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

static int allow(scmp_filter_ctx filter, const int *calls, size_t count)
{
	int r = 0;
	for (size_t i = 0; i < count && r == 0; i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
	return r;
}

static bool is_in(const int *calls, size_t count, int call)
{
	return is_among(calls, count, call);
}

/* What is allowed, always or with some arguments, cannot be refused too. */
static bool is_refused(const struct sandbox_job *job, int call)
{
	bool needed = (job->threads && is_in(for_threads, ARRAY_SIZE(for_threads), call)) ||
		      (job->folder_count &&
			      (call == SCMP_SYS(openat) ||
				      is_in(for_folders, ARRAY_SIZE(for_folders), call)));
#if SANITIZED
	needed = needed || is_in(sanitizer_needs, ARRAY_SIZE(sanitizer_needs), call);
#endif
	return !needed;
}

static int enter_seccomp(const struct sandbox_job *job)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	if (!filter)
		return -ENOMEM;
	int r = allow(filter, allowed, ARRAY_SIZE(allowed));
#if SANITIZED
	if (r == 0)
		r = allow(filter, sanitizer_needs, ARRAY_SIZE(sanitizer_needs));
#endif
	if (r == 0 && job->threads)
		r = allow(filter, for_threads, ARRAY_SIZE(for_threads));
	if (r == 0 && job->files)
		r = allow(filter, for_files, ARRAY_SIZE(for_files));
	if (r == 0 && job->folder_count)
		r = allow(filter, for_folders, ARRAY_SIZE(for_folders));
	if (r == 0)
		r = allow_some(job, filter);
	for (size_t i = 0; i < ARRAY_SIZE(refused) && r == 0; i++)
		if (is_refused(job, refused[i].call))
			r = seccomp_rule_add(filter, SCMP_ACT_ERRNO((uint32_t)refused[i].code),
				refused[i].call, 0);
	if (r == 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	return r;
}

/* Fds that were kept for landlock alone. */
static void close_folders(const struct sandbox_job *job)
{
	for (size_t i = 0; i < job->folder_count; i++)
		if (!is_among(job->fds, job->fd_count, job->folders[i]))
			close(job->folders[i]);
}

int sandbox_enter(const struct sandbox_job *job, int out, pid_t parent, struct ramet_error *err)
{
	size_t now = size_now(job->threads);
	errno = 0;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent ||
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return error_errno(err, errno ? errno : ESRCH, "cannot start a sandbox");
	reset_signals();
	int r = close_others(job, out);
	if (r < 0)
		return error_errno(err, -r, "cannot close files for a sandbox");
	/* A landlock ruleset is an fd for a moment, so the limit on fds comes after it. */
	r = enter_landlock(job);
	if (r < 0)
		return error_errno(err, -r, "cannot enter a landlock sandbox");
	close_folders(job);
	r = set_limits(job, now, highest_fd(job, out));
	if (r < 0)
		return error_errno(err, -r, "cannot set the limits of a sandbox");
	alarm(CONFINE_SECONDS);
	r = enter_seccomp(job);
	alarm(0);
	return r < 0 ? error_errno(err, -r, "cannot enter a seccomp sandbox") : 0;
}
