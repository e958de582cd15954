/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file is what the walk saw when it is a regular file of the same inode, size and time of last
 * change, to the nanosecond, and has a name still. That the order is open, compare, read, compare makes
 * sure that what is read in between is right too: a write in between changes the time, once that is
 * older than a tick of the clock that the kernel takes it from (current_time() in fs/inode.c; a jiffy).
 */
#include "image/source_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "source/tree.h"

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif
#ifndef EROFS_SUPER_MAGIC_V1
#define EROFS_SUPER_MAGIC_V1 0xE0F5E1E2
#endif

enum { TRIES = 8, TICK_MS = 20, COARSE_TICK_MS = 2000 };

const char *source_cause_word(enum source_cause cause, int fd, const struct lazy_file *seen)
{
	struct stat st;
	switch (cause) {
	case SOURCE_GONE:
		return "vanished";
	case SOURCE_REPLACED:
		return "was replaced";
	case SOURCE_CHANGED:
		if (fstat(fd, &st) < 0 || (uint64_t)st.st_size == seen->size)
			return "was written to";
		return (uint64_t)st.st_size < seen->size ? "became shorter" : "became longer";
	default:
		return NULL;
	}
}

enum source_cause source_cause_of(int code)
{
	switch (code) {
	case ENOENT:
	case ENOTDIR:
		return SOURCE_GONE;
	case ELOOP:
	case EXDEV:
	case ENXIO:
	case ENODEV:
		return SOURCE_REPLACED;
	case EACCES:
	case EPERM:
		return SOURCE_REFUSED;
	default:
		return SOURCE_UNREACHABLE;
	}
}

/* EAGAIN: names moved while the kernel made sure that the path stays beneath. */
static int open_beneath(int folder, const char *path, uint64_t flags, uint64_t resolve)
{
	const struct open_how how = {.flags = flags | O_CLOEXEC | O_NOFOLLOW,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | resolve};
	long fd = -1;
	for (int i = 0; i < TRIES; i++) {
		fd = syscall(SYS_openat2, folder, path, &how, sizeof how);
		if (fd >= 0 || resolve || (errno != EAGAIN && errno != EINTR))
			break;
	}
	return fd < 0 ? -errno : (int)fd;
}

/* Go down as many folders of a path that is too long as fit into one. */
static int descend(int folder, const char **path)
{
	char part[PATH_MAX];
	size_t length = PATH_MAX - 1;
	while (length && (*path)[length] != '/')
		length--;
	if (!length)
		return -ENAMETOOLONG;
	memcpy(part, *path, length);
	part[length] = '\0';
	*path += length + 1;
	return open_beneath(folder, part, O_PATH | O_DIRECTORY, 0);
}

/* Not on a disk here: another process, or machine, answers for it, or may. An overlay may lie on such
 * a one. */
bool source_is_slow(int fd)
{
	struct statfs fs;
	if (fstatfs(fd, &fs) < 0)
		return true;
	switch ((unsigned long)fs.f_type) {
	case EXT4_SUPER_MAGIC:
	case XFS_SUPER_MAGIC:
	case BTRFS_SUPER_MAGIC:
	case F2FS_SUPER_MAGIC:
	case TMPFS_MAGIC:
	case RAMFS_MAGIC:
	case SQUASHFS_MAGIC:
	case EROFS_SUPER_MAGIC_V1:
	case ISOFS_SUPER_MAGIC:
		return false;
	default:
		return true;
	}
}

static int open_file(int folder, const char *path, uint64_t resolve)
{
	/* A fifo or a terminal put in the file's place must not stop us. */
	const uint64_t flags = O_RDONLY | O_NONBLOCK | O_NOCTTY;
	int fd = open_beneath(folder, path, flags | O_NOATIME, resolve);
	if (fd == -EPERM) /* the file is not ours */
		fd = open_beneath(folder, path, flags, resolve);
	return fd;
}

int source_open_quick(int root, const char *path)
{
	return open_file(root, path, RESOLVE_CACHED | RESOLVE_NO_XDEV);
}

int source_open(int root, const char *path, int *out, bool *slow)
{
	_cleanup_close_ int folder = -1;
	while (strlen(path) >= PATH_MAX) {
		int next = descend(folder < 0 ? root : folder, &path);
		if (next < 0)
			return next;
		cleanup_close(&folder);
		folder = next;
	}
	int fd = open_file(folder < 0 ? root : folder, path, 0);
	if (fd < 0)
		return fd;
	*slow = source_is_slow(fd);
	*out = fd;
	return 0;
}

static enum source_cause compare(const struct statx *is, const struct lazy_file *seen)
{
	if (!S_ISREG(is->stx_mode) || is->stx_ino != seen->inode ||
		!tree_same_birth(tree_birth(is), seen->birth))
		return SOURCE_REPLACED;
	if (is->stx_nlink == 0)
		return SOURCE_GONE;
	bool same = is->stx_size == seen->size && tree_time(is->stx_mtime.tv_sec) == seen->mtime &&
		    is->stx_mtime.tv_nsec == seen->mtime_nsec;
	return same ? SOURCE_RIGHT : SOURCE_CHANGED;
}

enum source_cause source_compare(int fd, bool slow, const struct lazy_file *seen, int *code)
{
	struct statx is;
	int flags = AT_EMPTY_PATH | (slow ? AT_STATX_FORCE_SYNC : AT_STATX_SYNC_AS_STAT);
	if (statx(fd, "", flags, STATX_BASIC_STATS | STATX_BTIME, &is) < 0) {
		*code = errno;
		return source_cause_of(errno);
	}
	return compare(&is, seen);
}

unsigned source_unsettled(const struct lazy_file *seen)
{
	struct timespec now;
	int64_t tick = seen->mtime_nsec ? TICK_MS : COARSE_TICK_MS;
	clock_gettime(CLOCK_REALTIME, &now);
	if (seen->mtime < now.tv_sec - 10 || seen->mtime > now.tv_sec + 10)
		return 0;
	int64_t age = (now.tv_sec - seen->mtime) * 1000 +
		      (now.tv_nsec - (int64_t)seen->mtime_nsec) / 1000000;
	return age >= tick || age < -tick ? 0 : (unsigned)(tick - age);
}

void source_settle(const struct lazy_file *seen)
{
	unsigned wait = source_unsettled(seen);
	const struct timespec time = {wait / 1000, wait % 1000 * 1000000};
	if (wait)
		clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
}
