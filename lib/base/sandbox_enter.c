/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The child's half of the sandbox: it gives away all that it will not need.
 *
 * The order matters. Fds are closed and limits set while that is still allowed; landlock (no right
 * to any path but those named) and then seccomp (confine.h) come last, since each takes away what the
 * step before needed. See prctl(2) PR_SET_PDEATHSIG.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/confine.h"
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
	const struct confine confine = {.threads = job->threads,
		.maps = job->maps,
		.files = job->files,
		.folders = job->folders,
		.folder_count = job->folder_count};
	/* A landlock ruleset is an fd for a moment, so the limit on fds comes after it. */
	r = confine_paths(&confine);
	if (r < 0)
		return error_errno(err, -r, "cannot enter a landlock sandbox");
	close_folders(job);
	r = set_limits(job, now, highest_fd(job, out));
	if (r < 0)
		return error_errno(err, -r, "cannot set the limits of a sandbox");
	alarm(CONFINE_SECONDS);
	r = confine_calls(&confine);
	alarm(0);
	return r < 0 ? error_errno(err, -r, "cannot enter a seccomp sandbox") : 0;
}
