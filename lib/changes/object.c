/* SPDX-License-Identifier: Apache-2.0 */
#include "changes/object.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "changes/names.h"

const char *object_type(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return "file";
	case S_IFDIR:
		return "directory";
	case S_IFLNK:
		return "symlink";
	case S_IFCHR:
		return "character device";
	case S_IFBLK:
		return "block device";
	case S_IFIFO:
		return "fifo";
	case S_IFSOCK:
		return "socket";
	default:
		return "unknown";
	}
}

void object_json_bytes(struct text *text, const char *key, const char *string)
{
	bool lossy = false;
	text_format(text, "\"%s\": ", key);
	name_json(text, string, &lossy);
	if (lossy) {
		text_format(text, ", \"%s_base64\": \"", key);
		text_base64(text, string, strlen(string));
		text_append(text, "\"");
	}
}

void object_json_stat(struct text *text, const struct fs_stat *stat)
{
	text_format(text,
		"\"type\": \"%s\", \"mode\": \"%04o\", \"uid\": %" PRIu32 ", \"gid\": %" PRIu32
		", \"size\": %" PRIu64 ", \"mtime\": %" PRId64 ", \"mtime_nsec\": %" PRIu32,
		object_type(stat->mode), stat->mode & 07777, stat->uid, stat->gid,
		S_ISREG(stat->mode) || S_ISLNK(stat->mode) ? stat->size : 0, stat->mtime,
		stat->mtime_nsec);
	if (S_ISCHR(stat->mode) || S_ISBLK(stat->mode))
		text_format(text, ", \"device\": [%" PRIu32 ", %" PRIu32 "]", stat->rdev_major,
			stat->rdev_minor);
}
