/* SPDX-License-Identifier: Apache-2.0 */
#include "server/leave.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"

int leave_parent(void)
{
	pid_t pid = fork();
	if (pid > 0)
		_exit(EXIT_SUCCESS);
	return pid < 0 ? -errno : 0;
}

/* Which there are only /proc tells: their numbers may be any, and far more than a loop should try. */
int leave_files(bool (*is_ours)(const void *ctx, int fd), const void *ctx)
{
	DIR *open_files = opendir("/proc/self/fd");
	if (!open_files)
		return -errno;
	for (const struct dirent *entry; (entry = readdir(open_files));) {
		uint64_t fd;
		if (text_parse_uint(entry->d_name, INT32_MAX, &fd) == 0 && fd > STDERR_FILENO &&
			(int)fd != dirfd(open_files) && !is_ours(ctx, (int)fd))
			close((int)fd);
	}
	closedir(open_files);
	return 0;
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
