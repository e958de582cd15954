/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proc_pid_mountinfo(5): "ID PARENT MAJOR:MINOR ROOT MOUNTPOINT OPTIONS [TAG]... - TYPE SOURCE ...".
 * A mount is found by its ID (statx, Linux 5.8): st_dev does not name it on btrfs, where each
 * subvolume has a number of its own.
 */
#include "volume/mounts.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"

/* Fills buffer when the line is about the mount. */
static int describe_line(const char *line, uint64_t id, char *buffer, size_t size)
{
	uint64_t number;
	char *point = NULL, *type = NULL;
	int found = 0;
	const char *dash = strstr(line, " - ");
	if (dash && sscanf(line, "%" SCNu64 " %*s %*s %*s %ms", &number, &point) == 2 &&
		number == id && sscanf(dash + 3, "%ms", &type) == 1) {
		snprintf(buffer, size, "%s (%s)", point, type);
		found = 1;
	}
	free(point);
	free(type);
	return found;
}

char *mount_describe(int fd, char *buffer, size_t size)
{
	snprintf(buffer, size, "an unknown mount");
	struct statx stx;
	_cleanup_fclose_ FILE *mounts = fopen("/proc/self/mountinfo", "re");
	if (!mounts || statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &stx) < 0 ||
		!(stx.stx_mask & STATX_MNT_ID))
		return buffer;
	_cleanup_free_ char *line = NULL;
	size_t capacity = 0;
	while (getline(&line, &capacity, mounts) > 0)
		if (describe_line(line, stx.stx_mnt_id, buffer, size))
			break;
	return buffer;
}
