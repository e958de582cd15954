/* SPDX-License-Identifier: Apache-2.0 */
#include "server/leave.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

enum { FD_MOST = 4096 };

int leave_parent(void)
{
	pid_t pid = fork();
	if (pid > 0)
		_exit(EXIT_SUCCESS);
	return pid < 0 ? -errno : 0;
}

void leave_files(bool (*is_ours)(const void *ctx, int fd), const void *ctx)
{
	struct rlimit limit = {0};
	getrlimit(RLIMIT_NOFILE, &limit);
	int last = STDERR_FILENO;
	for (int fd = last + 1; (rlim_t)fd < MIN(limit.rlim_cur, FD_MOST); fd++)
		if (is_ours(ctx, fd)) {
			if (fd > last + 1)
				close_range((unsigned)last + 1, (unsigned)fd - 1, 0);
			last = fd;
		}
	close_range((unsigned)last + 1, ~0u, 0);
}

int leave_terminal(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
		return -errno;
#if !defined(__SANITIZE_ADDRESS__)
	if (dup2(null, STDERR_FILENO) < 0)
		return -errno;
#endif
	if (null > STDERR_FILENO)
		close(null);
	setsid(); /* fails where it is the first of its session already */
	if (chdir("/") < 0)
		return -errno;
	umask(077);
	signal(SIGPIPE, SIG_IGN);
	return 0;
}
