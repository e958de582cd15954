/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fork's lock: ROOT/forks/NAME/lock (base/file_lock.h). It passes to children, and a listing, which
 * only asks who has it, can never make a `run` fail.
 *
 * The file names the holders' pids, one a line. It is only read while the lock is held, so what a
 * killed holder left in it harms nobody.
 *
 * A fork can be removed, and made again under its name, between the look into the catalogue and the
 * lock. So the catalogue is asked once more under the lock: the same id is there only when this is
 * still the same fork, and removing one needs the lock.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/file_lock.h"
#include "store/batch.h"
#include "store/catalogue.h"

enum { HOLDERS_MAX = 256 };

static bool is_alive(pid_t pid)
{
	return kill(pid, 0) == 0 || errno == EPERM;
}

/* The first pid in the file that is alive; -1 when none is (or it is about to be written). */
static pid_t read_holder(int fd)
{
	char text[HOLDERS_MAX + 1];
	ssize_t length = pread_full(fd, text, HOLDERS_MAX, 0);
	if (length < 0)
		return -1;
	text[length] = '\0';
	for (char *next = text; isdigit((unsigned char)*next);) {
		long pid = strtol(next, &next, 10);
		if (pid > 0 && pid <= INT32_MAX && is_alive((pid_t)pid))
			return (pid_t)pid;
		next += *next == '\n';
	}
	return -1;
}

/* Whether it is held by a server of its drives (api/attachment.h). */
static bool is_attached(struct ramet_store *store, const char *name)
{
	char path[STORE_NAME_SIZE + 32];
	int length = snprintf(path, sizeof path, "%s/export/attachment", name);
	return length < (int)sizeof path && faccessat(store->forks_fd, path, F_OK, 0) == 0;
}

static int refuse(struct ramet_store *store, const char *name, int fd, struct ramet_error *err)
{
	pid_t pid = read_holder(fd);
	if (is_attached(store, name))
		return error_set(err, EBUSY,
			"fork %s is attached, and process %d serves it; 'ramet detach %s' gives it "
			"free",
			name, (int)pid, name);
	if (pid < 0)
		return error_set(err, EBUSY, "fork %s is in use by another process", name);
	return error_set(err, EBUSY, "fork %s is in use by process %d", name, (int)pid);
}

static int open_lock(struct ramet_store *store, const char *name, struct ramet_error *err)
{
	_cleanup_close_ int folder = openat(
		store->forks_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int fd = folder < 0
			 ? -1
			 : openat(folder, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_errno(err, errno, "cannot open the lock of fork %s", name);
	return fd;
}

static int record_self(int fd)
{
	if (ftruncate(fd, 0) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	return store_lock_add_holder(&(struct store_lock){.fd = fd}, getpid());
}

int store_fork_lock(struct ramet_store *store, const char *name, struct store_lock *lock,
	struct ramet_error *err)
{
	*lock = (struct store_lock)STORE_LOCK_NONE;
	_cleanup_fork_ struct store_fork before = {0}, after = {0};
	int r = store_fork_find(store, name, &before, err);
	if (r < 0)
		return r;
	_cleanup_close_ int fd = open_lock(store, name, err);
	if (fd < 0)
		return fd;
	r = file_lock(fd);
	if (r < 0)
		return r == -EBUSY ? refuse(store, name, fd, err)
				   : error_errno(err, -r, "cannot lock fork %s", name);
	r = store_fork_find(store, name, &after, err);
	if (r < 0)
		return r;
	if (after.id != before.id)
		return error_set(err, ENOENT,
			"fork %s was removed and made anew by another process just now", name);
	/* On a full disk the holder goes without a name: a fork must be removable there. */
	r = record_self(fd);
	if (r < 0 && r != -ENOSPC && r != -EDQUOT)
		return error_errno(err, -r, "cannot lock fork %s", name);
	lock->fd = TAKE_FD(fd);
	return 0;
}

int store_lock_add_holder(const struct store_lock *lock, pid_t pid)
{
	char line[16];
	int length = snprintf(line, sizeof line, "%d\n", (int)pid);
	return write_full(lock->fd, line, (size_t)length);
}

void store_lock_release(struct store_lock *lock)
{
	cleanup_close(&lock->fd);
	lock->fd = -1;
}

pid_t store_fork_holder(struct ramet_store *store, const char *name)
{
	_cleanup_close_ int folder = openat(
		store->forks_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_close_ int fd = folder < 0 ? -1
					    : openat(folder, "lock",
						      O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	return fd >= 0 && file_is_locked(fd) ? read_holder(fd) : 0;
}
