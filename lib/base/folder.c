/* SPDX-License-Identifier: Apache-2.0 */
#include "base/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"

static void cleanup_closedir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static bool is_self_or_parent(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static int remove_entries(int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	_cleanup_(cleanup_closedir) DIR *dir = fdopendir(fd);
	if (!dir) {
		int code = errno;
		close(fd);
		return -code;
	}
	int r = 0;
	struct dirent *entry;
	while (r == 0 && (errno = 0, entry = readdir(dir))) {
		if (is_self_or_parent(entry->d_name) || unlinkat(fd, entry->d_name, 0) == 0 ||
			errno == ENOENT)
			continue;
		r = errno == EISDIR || errno == EPERM ? folder_remove(fd, entry->d_name) : -errno;
	}
	return r < 0 ? r : -errno;
}

int folder_remove(int dirfd, const char *name)
{
	int r = remove_entries(dirfd, name);
	if (r == 0 && unlinkat(dirfd, name, AT_REMOVEDIR) < 0)
		r = -errno;
	return r == -ENOENT ? 0 : r;
}
