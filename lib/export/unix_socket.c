/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server that was killed leaves its socket's name behind: connecting to it is refused, which tells
 * it from one that is served. The mode is set on the socket before bind(2) makes the file of it, so
 * there is no moment in which others could connect.
 */
#include "export/unix_socket.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/cleanup.h"

enum { BACKLOG = 16 };

static int make_socket(struct ramet_error *err)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return error_errno(err, errno, "cannot make a socket");
	return fd;
}

static bool is_stale(const struct sockaddr_un *address)
{
	struct stat st;
	if (lstat(address->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return false;
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof *address) < 0 &&
	       errno == ECONNREFUSED;
}

static int bind_name(int fd, const struct sockaddr_un *address)
{
	if (bind(fd, (const struct sockaddr *)address, sizeof *address) == 0)
		return 0;
	if (errno != EADDRINUSE || !is_stale(address))
		return -errno;
	if (unlink(address->sun_path) < 0)
		return -errno;
	return bind(fd, (const struct sockaddr *)address, sizeof *address) < 0 ? -errno : 0;
}

static int refuse(const struct sockaddr_un *address, int code, struct ramet_error *err)
{
	struct stat st;
	if (code != EADDRINUSE)
		return error_errno(err, code, "cannot listen at %s", address->sun_path);
	if (lstat(address->sun_path, &st) == 0 && !S_ISSOCK(st.st_mode))
		return error_set(err, code,
			"cannot listen at %s: there is a file of that name, and it is no socket",
			address->sun_path);
	return error_set(
		err, code, "cannot listen at %s: another program does already", address->sun_path);
}

/* The file at path, which is the socket just bound. Whoever may write to its folder (a jailed VMM in
 * its own) could have put another file there meanwhile: what is given away has one name, is a socket and
 * is ours. */
static int take_name(struct unix_socket *listener, const char *path,
	const struct export_user *owner, struct ramet_error *err)
{
	struct stat st;
	_cleanup_close_ int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_errno(err, errno, "cannot listen at %s", path);
	if (!S_ISSOCK(st.st_mode) || st.st_nlink != 1 || st.st_uid != geteuid())
		return error_set(err, EPERM,
			"cannot listen at %s: somebody has put another file there", path);
	listener->device = st.st_dev;
	listener->inode = st.st_ino;
	if (owner && fchownat(fd, "", owner->uid, owner->gid, AT_EMPTY_PATH) < 0)
		return error_errno(err, errno, "cannot give the socket %s to user %u", path,
			(unsigned)owner->uid);
	return 0;
}

/* Another server may have taken the name meanwhile, after somebody removed it. A socket keeps its
 * inode, so the number has not been given to another. */
static bool is_ours(const struct unix_socket *listener, const char *path)
{
	struct stat st;
	return lstat(path, &st) == 0 && st.st_dev == listener->device &&
	       st.st_ino == listener->inode;
}

int unix_socket_listen(struct unix_socket *listener, const char *path,
	const struct export_user *owner, struct ramet_error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof address.sun_path)
		return error_set(err, ENAMETOOLONG,
			"cannot listen at %s: the path of a socket has at most %zu bytes; "
			"a relative one may be shorter",
			path, sizeof address.sun_path - 1);
	memcpy(address.sun_path, path, strlen(path) + 1);
	_cleanup_close_ int fd = make_socket(err);
	if (fd < 0)
		return fd;
	int r = fchmod(fd, 0600) < 0 ? -errno : bind_name(fd, &address);
	if (r < 0)
		return refuse(&address, -r, err);
	_cleanup_free_ char *copy = strdup(path);
	if (!copy || listen(fd, BACKLOG) < 0)
		r = error_errno(err, errno, "cannot listen at %s", path);
	else
		r = take_name(listener, path, owner, err);
	if (r < 0 && is_ours(listener, path))
		unlink(path);
	if (r < 0)
		return r;
	listener->fd = TAKE_FD(fd);
	listener->path = TAKE_PTR(copy);
	return 0;
}

void unix_socket_close(struct unix_socket *listener)
{
	if (listener->fd >= 0 && is_ours(listener, listener->path))
		unlink(listener->path);
	cleanup_close(&listener->fd);
	free(listener->path);
	*listener = (struct unix_socket)UNIX_SOCKET_NONE;
}
