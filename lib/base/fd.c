/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

ssize_t read_full(int fd, void *buffer, size_t length)
{
	size_t done = 0;
	while (done < length) {
		ssize_t n = read(fd, (char *)buffer + done, length - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

ssize_t pread_full(int fd, void *buffer, size_t length, uint64_t offset)
{
	size_t done = 0;
	while (done < length) {
		ssize_t n = pread(fd, (char *)buffer + done, length - done, (off_t)(offset + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

int write_full(int fd, const void *buffer, size_t length)
{
	size_t done = 0;
	while (done < length) {
		ssize_t n = write(fd, (const char *)buffer + done, length - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	return 0;
}

int pwrite_full(int fd, const void *buffer, size_t length, uint64_t offset)
{
	size_t done = 0;
	while (done < length) {
		ssize_t n = pwrite(
			fd, (const char *)buffer + done, length - done, (off_t)(offset + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	return 0;
}

#define WRITEBACK_PIECE ((uint64_t)8 * 1024 * 1024)

void writeback_advance(struct writeback *writeback, uint64_t end)
{
	if (end < writeback->begun + WRITEBACK_PIECE)
		return;
	/* Only a hint: fsync says whether the bytes arrived. */
	(void)sync_file_range(writeback->fd, (off_t)writeback->begun,
		(off_t)(end - writeback->begun), SYNC_FILE_RANGE_WRITE);
	writeback->begun = end;
}

int read_file(int dirfd, const char *path, size_t max, char **data, size_t *length)
{
	_cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	_cleanup_free_ char *buffer = NULL;
	size_t capacity = 0, used = 0;
	for (;;) {
		if (used + 1 >= capacity) {
			capacity = capacity ? capacity * 2 : 4096;
			char *grown = realloc(buffer, capacity);
			if (!grown)
				return -ENOMEM;
			buffer = grown;
		}
		ssize_t n = read_full(fd, buffer + used, capacity - used - 1);
		if (n < 0)
			return (int)n;
		used += (size_t)n;
		if (used > max)
			return -EFBIG;
		if (used + 1 < capacity)
			break;
	}
	buffer[used] = '\0';
	*data = TAKE_PTR(buffer);
	if (length)
		*length = used;
	return 0;
}

/* The name that a file is written under where O_TMPFILE is not to be had. One name per target, and
 * a lock on it: whoever finds it unlocked knows that its writer is dead. */
static int open_hidden(struct outfile *out, struct ramet_error *err)
{
	if (asprintf(&out->temp, ".%s.ramet-new", out->name) < 0) {
		out->temp = NULL;
		return error_memory(err);
	}
	out->fd = openat(out->dirfd, out->temp, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
	if (out->fd < 0) {
		int code = errno;
		free(TAKE_PTR(out->temp));
		return error_errno(err, code, "cannot create %s", out->path);
	}
	if (flock(out->fd, LOCK_EX | LOCK_NB) < 0) {
		free(TAKE_PTR(out->temp));
		return error_set(err, EBUSY,
			"another process is writing %s; wait for it or choose another name",
			out->path);
	}
	if (ftruncate(out->fd, 0) < 0)
		return error_errno(err, errno, "cannot empty the unfinished %s", out->path);
	return 0;
}

int outfile_open(struct outfile *out, const char *path, struct ramet_error *err)
{
	*out = (struct outfile)OUTFILE_NONE;
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	_cleanup_free_ char *folder = slash ? strndup(path, (size_t)(slash - path) + 1)
					    : strdup(".");
	out->path = strdup(path);
	out->name = strdup(name);
	if (!folder || !out->path || !out->name) {
		outfile_close(out);
		return error_memory(err);
	}
	int r = 0;
	struct stat st;
	out->dirfd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (!*name)
		r = error_set(err, EISDIR, "cannot write %s: it names a folder, not a file", path);
	else if (out->dirfd < 0)
		r = error_errno(err, errno, "cannot write %s: the folder %s cannot be opened", path,
			folder);
	else if (fstatat(out->dirfd, name, &st, 0) == 0 && !S_ISREG(st.st_mode))
		r = error_set(err, EEXIST,
			"cannot write %s: something that is not a file stands there", path);
	if (r == 0) {
		out->fd = openat(out->dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
		if (out->fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT ||
					   errno == EINVAL))
			r = open_hidden(out, err);
		else if (out->fd < 0)
			r = error_errno(err, errno, "cannot create %s", path);
	}
	if (r < 0)
		outfile_close(out);
	return r;
}

/* linkat() does not replace, so a file that replaces another goes through a hidden name for the
 * length of one rename. */
static int outfile_link(struct outfile *out)
{
	char self[64];
	snprintf(self, sizeof self, "/proc/self/fd/%d", out->fd);
	if (linkat(AT_FDCWD, self, out->dirfd, out->name, AT_SYMLINK_FOLLOW) == 0)
		return 0;
	if (errno != EEXIST)
		return -errno;
	_cleanup_free_ char *hidden = NULL;
	if (asprintf(&hidden, ".%s.ramet-new", out->name) < 0)
		return -ENOMEM;
	unlinkat(out->dirfd, hidden, 0);
	if (linkat(AT_FDCWD, self, out->dirfd, hidden, AT_SYMLINK_FOLLOW) < 0)
		return -errno;
	if (renameat(out->dirfd, hidden, out->dirfd, out->name) < 0) {
		int code = errno;
		unlinkat(out->dirfd, hidden, 0);
		return -code;
	}
	return 0;
}

int outfile_publish(struct outfile *out, struct ramet_error *err)
{
	if (fsync(out->fd) < 0)
		return error_errno(err, errno, "cannot write %s to its disk", out->path);
	int r = 0;
	if (out->temp) {
		if (renameat(out->dirfd, out->temp, out->dirfd, out->name) < 0)
			r = -errno;
		else
			free(TAKE_PTR(out->temp));
	} else {
		r = outfile_link(out);
	}
	if (r < 0)
		return error_errno(err, -r, "cannot give %s its name", out->path);
	if (fsync(out->dirfd) < 0)
		return error_errno(
			err, errno, "cannot write the folder of %s to its disk", out->path);
	return 0;
}

void outfile_close(struct outfile *out)
{
	if (out->temp)
		unlinkat(out->dirfd, out->temp, 0);
	free(TAKE_PTR(out->temp));
	cleanup_close(&out->fd);
	cleanup_close(&out->dirfd);
	out->fd = out->dirfd = -1;
	free(TAKE_PTR(out->name));
	free(TAKE_PTR(out->path));
}
