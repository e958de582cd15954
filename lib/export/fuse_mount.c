/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Root mounts by mount(2). Anyone else asks fusermount3, which is setuid root: it mounts on a folder
 * that the user may write to and sends the connection through the socket that _FUSE_COMMFD names
 * (fusermount3(1), and libfuse's lib/mount.c for the other side). Options are those of
 * Documentation/filesystems/fuse.rst in the kernel's sources.
 *
 * A mount whose server died answers ENOTCONN to statfs(2), which always asks the server; other calls
 * may be answered from what the kernel remembers.
 */
#include "export/fuse_mount.h"

#include <dirent.h>
#include <fcntl.h>
#include <mntent.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/program.h"
#include "export/fuse.h"

#define FUSE_SOURCE "ramet"
#define FUSE_TYPE   "fuse." FUSE_SOURCE
enum { PROGRAM_TIMEOUT = 20000 };

/* What is mounted on path, last: NOTHING, OURS or OTHER. */
enum mounted { NOTHING, OURS, OTHER };

static enum mounted what_is_mounted(const char *path)
{
	enum mounted answer = NOTHING;
	char line[PATH_MAX * 2];
	struct mntent entry;
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	while (mounts && getmntent_r(mounts, &entry, line, sizeof line))
		if (strcmp(entry.mnt_dir, path) == 0)
			answer = strcmp(entry.mnt_type, FUSE_TYPE) == 0 ? OURS : OTHER;
	if (mounts)
		endmntent(mounts);
	return answer;
}

static bool is_dead(const char *path)
{
	struct statfs statistics;
	return statfs(path, &statistics) < 0 && (errno == ENOTCONN || errno == ECONNABORTED);
}

/* fusermount3 with these arguments; what it says is the failure. */
static int run_fusermount(const char *const *arguments, int socket, struct ramet_error *err)
{
	_cleanup_text_ struct text path = {0}, output = {0};
	const char *argv[8] = {0};
	char variable[32];
	int status;
	if (!program_find("fusermount3", &path))
		return error_set(err, ENOENT,
			"only root mounts without fusermount3, and it is not installed (package fuse3)");
	argv[0] = path.data;
	for (unsigned i = 0; arguments[i]; i++)
		argv[i + 1] = arguments[i];
	snprintf(variable, sizeof variable, "_FUSE_COMMFD=%d", socket);
	const struct program program = {.argv = argv,
		.fds = &socket,
		.fd_count = socket >= 0,
		.timeout_ms = PROGRAM_TIMEOUT,
		.variable = socket >= 0 ? variable : NULL};
	int r = program_run(&program, &output, &status, err);
	if (r < 0)
		return r;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (output.data)
		output.data[strcspn(output.data, "\n")] = '\0';
	return error_set(err, EPERM, "%s",
		output.data && *output.data ? text_disarm(output.data) : "fusermount3 failed");
}

int fuse_unmount(const char *path, struct ramet_error *err)
{
	if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		return 0;
	/* In a sandbox fusermount3 would not get root's rights, and may not even be started. */
	if (errno != EPERM || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 0)
		return error_errno(err, errno, "cannot unmount %s", path);
	int r = run_fusermount((const char *[]){"-u", "-z", "--", path, NULL}, -1, err);
	return r < 0 ? error_prefix(err, r, "cannot unmount %s", path) : 0;
}

int export_fuse_clean(const char *folder, struct ramet_error *err)
{
	_cleanup_free_ char *path = realpath(folder, NULL);
	if (!path)
		return errno == ENOENT
			       ? 0
			       : error_errno(err, errno, "cannot find the folder %s", folder);
	enum mounted mounted = what_is_mounted(path);
	if (mounted == NOTHING)
		return 0;
	if (mounted == OTHER)
		return error_set(err, EINVAL, "%s is a mount point of something else", folder);
	if (!is_dead(path))
		return error_set(err, EBUSY,
			"a server that lives has mounted its disk on %s; detach it", folder);
	return fuse_unmount(path, err);
}

static int check_empty(const char *folder, struct ramet_error *err)
{
	DIR *directory = opendir(folder);
	if (!directory && errno == ENOTDIR)
		return error_set(err, ENOTDIR,
			"%s is not a folder; the disk needs an empty one to be mounted on", folder);
	if (!directory)
		return error_errno(err, errno, "cannot open the folder %s to mount on", folder);
	unsigned names = 0;
	while (names < 3 && readdir(directory))
		names++;
	closedir(directory);
	if (names > 2)
		return error_set(err, ENOTEMPTY,
			"the folder %s is not empty: mounting on it would hide what is in it",
			folder);
	return 0;
}

static int check_folder(const char *folder, char **path, struct ramet_error *err)
{
	*path = realpath(folder, NULL);
	if (!*path)
		return error_errno(err, errno, "cannot find the folder %s to mount on", folder);
	switch (what_is_mounted(*path)) {
	case OTHER:
		return error_set(err, EBUSY, "%s is a mount point already", folder);
	case OURS: {
		int r = export_fuse_clean(*path, err);
		if (r < 0)
			return r;
		break;
	}
	case NOTHING:
		break;
	}
	return check_empty(*path, err);
}

/* Whether /etc/fuse.conf lets users say allow_other. */
static bool others_allowed(void)
{
	char line[256];
	bool allowed = false;
	_cleanup_fclose_ FILE *file = fopen("/etc/fuse.conf", "re");
	while (file && !allowed && fgets(line, sizeof line, file)) {
		char *word = line + strspn(line, " \t");
		word[strcspn(word, " \t\r\n")] = '\0';
		allowed = strcmp(word, "user_allow_other") == 0;
	}
	return allowed;
}

static int mount_as_root(const char *path, bool read_only, bool others, int *out)
{
	_cleanup_close_ int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	char options[160];
	snprintf(options, sizeof options,
		"fd=%d,rootmode=%o,user_id=%u,group_id=%u,default_permissions%s", fd, S_IFDIR,
		geteuid(), getegid(), others ? ",allow_other" : "");
	unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC | (read_only ? MS_RDONLY : 0);
	if (mount(FUSE_SOURCE, path, FUSE_TYPE, flags, options) < 0)
		return -errno;
	*out = TAKE_FD(fd);
	return 0;
}

/* The fd that fusermount3 sent before it ended. */
static int receive_fd(int socket)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec vector = {.iov_base = &byte, .iov_len = 1};
	struct msghdr message = {.msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof control};
	if (recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) <= 0)
		return -1;
	const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	int fd;
	if (!header || header->cmsg_type != SCM_RIGHTS || header->cmsg_len < CMSG_LEN(sizeof fd))
		return -1;
	memcpy(&fd, CMSG_DATA(header), sizeof fd);
	return fd;
}

static int mount_as_user(
	const char *path, bool read_only, bool others, int *fd, struct ramet_error *err)
{
	if (others && !others_allowed())
		return error_set(err, EPERM,
			"other users may use the disk only when the line user_allow_other is in "
			"/etc/fuse.conf; put it there, or attach as root");
	char options[160];
	snprintf(options, sizeof options,
		"%s,nosuid,nodev,noexec,default_permissions,fsname=" FUSE_SOURCE
		",subtype=" FUSE_SOURCE "%s",
		read_only ? "ro" : "rw", others ? ",allow_other" : "");
	int ends[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return error_errno(err, errno, "cannot make a socket");
	int r = run_fusermount((const char *[]){"-o", options, "--", path, NULL}, ends[1], err);
	if (r == 0) {
		*fd = receive_fd(ends[0]);
		if (*fd < 0 || fcntl(*fd, F_SETFL, O_NONBLOCK) < 0)
			r = error_set(err, EIO, "fusermount3 did not hand its mount over");
	}
	close(ends[0]);
	close(ends[1]);
	return r;
}

int fuse_mount(const char *folder, bool read_only, bool others, char **path, int *fd,
	struct ramet_error *err)
{
	int r = check_folder(folder, path, err);
	if (r < 0)
		return r;
	r = mount_as_root(*path, read_only, others, fd);
	if (r == -ENOENT || r == -ENODEV || r == -ENXIO)
		return error_set(
			err, ENODEV, "this kernel has no FUSE (/dev/fuse): load its module, fuse");
	if (r == -EPERM || r == -EACCES)
		r = mount_as_user(*path, read_only, others, fd, err);
	else if (r < 0)
		error_errno(err, -r, "the kernel refused");
	return r < 0 ? error_prefix(err, r, "cannot mount the disk on %s", folder) : 0;
}
