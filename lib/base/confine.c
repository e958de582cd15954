/* SPDX-License-Identifier: Apache-2.0 */
/*
 * landlock(7) forbids paths, seccomp(2) forbids calls. What a process may do is a list of calls; some
 * of them with some arguments only. A call that is not on the list ends the process, but for those
 * that libraries try and can do without.
 */
#include "base/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sandbox_inside.h"
#include "base/xattr_at.h"

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

static long landlock_version(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

bool confine_has_paths(void)
{
	return landlock_version() >= 1;
}

int confine_paths(const struct confine *confine)
{
	long abi = landlock_version();
	if (abi < 1)
		return 0;
	/* Rights came with versions: 13 at first, then refer and truncate. */
	unsigned rights = abi >= 3 ? 15 : abi == 2 ? 14 : 13;
	struct landlock_ruleset_attr attr = {.handled_access_fs = (1ULL << rights) - 1};
	long fd = syscall(SYS_landlock_create_ruleset, &attr, sizeof attr.handled_access_fs, 0);
	if (fd < 0)
		return -errno;
	int r = 0;
	for (size_t i = 0; i < confine->folder_count && r == 0; i++)
		r = allow_folder((int)fd, confine->folders[i]);
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
	SCMP_SYS(clock_nanosleep),
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

/* What is allowed besides, where it is asked for it. */
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
	SCMP_SYS(statx),
	SCMP_SYS(getdents64),
	SCMP_SYS(readlink),
	SCMP_SYS(readlinkat),
	SCMP_SYS(listxattr),
	SCMP_SYS(llistxattr),
	SCMP_SYS(flistxattr),
	CALL_LISTXATTRAT,
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

static bool is_in(const int *calls, size_t count, int call)
{
	for (size_t i = 0; i < count; i++)
		if (calls[i] == call)
			return true;
	return false;
}

static int allow(scmp_filter_ctx filter, const int *calls, size_t count)
{
	int r = 0;
	for (size_t i = 0; i < count && r == 0; i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
	return r;
}

/* A call that is fine with some arguments only. */
struct some {
	int call;
	unsigned count;
	struct scmp_arg_cmp arguments[2];
};

static int allow_these(const struct confine *confine, scmp_filter_ctx filter,
	const struct some *some, size_t count)
{
	int r = 0;
	for (size_t i = 0; i < count && r == 0; i++)
		if (!is_in(confine->calls, confine->call_count, some[i].call))
			r = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, some[i].call,
				some[i].count, some[i].arguments);
	return r;
}

/* Memory that can be executed is never had. */
static int allow_asked(const struct confine *confine, scmp_filter_ctx filter)
{
	int r = 0;
	for (size_t i = 0; i < confine->call_count && r == 0; i++) {
		int call = confine->calls[i];
		bool makes_memory = call == SCMP_SYS(mmap) || call == SCMP_SYS(mprotect);
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, makes_memory,
			SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	}
	return r;
}

static int allow_some(const struct confine *confine, scmp_filter_ctx filter)
{
	const struct some always[] = {
		{SCMP_SYS(mmap), 2,
			{SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0),
				SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, MAP_ANONYMOUS)}},
		{SCMP_SYS(mprotect), 1, {SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)}},
		{SCMP_SYS(fcntl), 1, {SCMP_A1(SCMP_CMP_EQ, F_GETFL)}},
		{SCMP_SYS(prlimit64), 1, {SCMP_A2(SCMP_CMP_EQ, 0)}},
		/* abort() signals itself, and nobody else. */
		{SCMP_SYS(tgkill), 1, {SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid())}},
	};
	/* fstat() of an fd; glibc asks so. */
	const struct some stat = {SCMP_SYS(newfstatat), 1, {SCMP_A3(SCMP_CMP_EQ, AT_EMPTY_PATH)}};
	const struct some open = {
		SCMP_SYS(openat), 1, {SCMP_A2(SCMP_CMP_MASKED_EQ, WRITE_FLAGS, 0)}};
	const struct some map = {
		SCMP_SYS(mmap), 1, {SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC | PROT_WRITE, 0)}};
	const struct some thread = {SCMP_SYS(clone), 1, {SCMP_A0(SCMP_CMP_EQ, THREAD_FLAGS)}};
	int r = allow_these(confine, filter, always, ARRAY_SIZE(always));
	if (r == 0)
		r = allow_these(confine, filter, confine->folder_count ? &open : &stat, 1);
	if (r == 0 && confine->maps)
		r = allow_these(confine, filter, &map, 1);
	if (r == 0 && confine->threads)
		r = allow_these(confine, filter, &thread, 1);
	return r;
}

/* What is allowed, always or with some arguments, cannot be refused too. */
static bool is_needed(const struct confine *confine, int call)
{
	bool needed = (confine->threads &&
			      (call == SCMP_SYS(clone) ||
				      is_in(for_threads, ARRAY_SIZE(for_threads), call))) ||
		      (confine->folder_count &&
			      (call == SCMP_SYS(openat) ||
				      is_in(for_folders, ARRAY_SIZE(for_folders), call))) ||
		      is_in(confine->calls, confine->call_count, call);
#if SANITIZED
	needed = needed || is_in(sanitizer_needs, ARRAY_SIZE(sanitizer_needs), call);
#endif
	return needed;
}

static int refuse(const struct confine *confine, scmp_filter_ctx filter)
{
	int r = 0;
	for (size_t i = 0; i < ARRAY_SIZE(refused) && r == 0; i++)
		if (!is_needed(confine, refused[i].call))
			r = seccomp_rule_add(filter, SCMP_ACT_ERRNO((uint32_t)refused[i].code),
				refused[i].call, 0);
	/* A process of its own is refused by this, and a thread is not. */
	if (r == 0 && confine->threads &&
		is_in(confine->refused, confine->refused_count, SCMP_SYS(clone)))
		r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
			SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
	for (size_t i = 0; i < confine->refused_count && r == 0; i++)
		if (!is_needed(confine, confine->refused[i]))
			r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), confine->refused[i], 0);
	return r;
}

int confine_calls(const struct confine *confine)
{
	scmp_filter_ctx filter = seccomp_init(
		confine->trapped ? SCMP_ACT_TRAP : SCMP_ACT_KILL_PROCESS);
	if (!filter)
		return -ENOMEM;
	int r = allow(filter, allowed, ARRAY_SIZE(allowed));
#if SANITIZED
	if (r == 0)
		r = allow(filter, sanitizer_needs, ARRAY_SIZE(sanitizer_needs));
#endif
	if (r == 0 && confine->threads)
		r = allow(filter, for_threads, ARRAY_SIZE(for_threads));
	if (r == 0 && confine->files)
		r = allow(filter, for_files, ARRAY_SIZE(for_files));
	if (r == 0 && confine->folder_count)
		r = allow(filter, for_folders, ARRAY_SIZE(for_folders));
	if (r == 0)
		r = allow_some(confine, filter);
	if (r == 0)
		r = allow_asked(confine, filter);
	if (r == 0)
		r = refuse(confine, filter);
	if (r == 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	return r;
}
