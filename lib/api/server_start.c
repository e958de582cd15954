/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration goes through a file in memory, the answer comes through a pipe, whose end says that
 * the server died without one. The process that is started forks the server and ends, so that it is no
 * zombie of a program that uses the library.
 *
 * The program is looked for where it belongs to this very library: in $RAMET_LIBEXEC, then in the
 * folder of a build that ramet runs from, then where it was installed to.
 */
#include "api/server_start.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"

#define PROGRAM     "ramet-server"
#define ANSWER_MOST ((size_t)1 << 20)

extern char **environ;

static bool is_there(const struct text *path)
{
	return !path->failed && access(path->data, X_OK) == 0;
}

/* Beside the program that runs: of a build tree, or of an installation that was moved. */
static bool find_beside(const char *from, struct text *path)
{
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	if (n <= 0)
		return false;
	self[n] = '\0';
	char *slash = strrchr(self, '/');
	*(slash ? slash : self) = '\0';
	text_truncate(path, 0);
	text_format(path, "%s/%s/" PROGRAM, self, from);
	return is_there(path);
}

int server_find(struct text *path, struct ramet_error *err)
{
	const char *folder = getenv("RAMET_LIBEXEC");
	if (folder && *folder)
		text_format(path, "%s/" PROGRAM, folder);
	if (folder && *folder && !is_there(path))
		return error_errno(err, errno, "cannot run %s, which RAMET_LIBEXEC names",
			path->data ? path->data : PROGRAM);
	if (path->length || find_beside("../server", path) || find_beside("../libexec/ramet", path))
		return 0;
	text_truncate(path, 0);
	text_append(path, RAMET_LIBEXECDIR "/" PROGRAM);
	return is_there(path) ? 0
			      : error_errno(err, ENOENT,
					"cannot find the program that serves, %s; install it, or "
					"name its folder with RAMET_LIBEXEC",
					path->data ? path->data : PROGRAM);
}

/* The fd, at its beginning. */
static int put_config(const struct server_config *config, struct ramet_error *err)
{
	_cleanup_text_ struct text bytes = {0};
	server_config_write(config, &bytes);
	if (bytes.failed)
		return error_memory(err);
	_cleanup_close_ int fd = memfd_create("ramet-server", MFD_CLOEXEC);
	int r = fd < 0 ? -errno : pwrite_full(fd, bytes.data, bytes.length, 0);
	return r < 0 ? error_errno(err, -r, "cannot configure a server") : TAKE_FD(fd);
}

/* POSIX: duplicating an fd onto itself takes the close-on-exec flag away. */
static int keep(posix_spawn_file_actions_t *actions, const int *fds, size_t count)
{
	int r = 0;
	for (size_t i = 0; i < count && r == 0; i++)
		r = posix_spawn_file_actions_adddup2(actions, fds[i], fds[i]);
	return r;
}

static int spawn(const char *path, int config, int answer, const int *fds, size_t fd_count)
{
	char numbers[2][16];
	snprintf(numbers[0], sizeof numbers[0], "%d", config);
	snprintf(numbers[1], sizeof numbers[1], "%d", answer);
	char *const argv[] = {(char *)(uintptr_t)path, numbers[0], numbers[1], NULL};
	const int own[] = {config, answer};
	posix_spawn_file_actions_t actions;
	if (posix_spawn_file_actions_init(&actions) != 0)
		return -ENOMEM;
	pid_t pid;
	int r = keep(&actions, own, 2);
	if (r == 0)
		r = keep(&actions, fds, fd_count);
	if (r == 0)
		r = posix_spawn(&pid, path, &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	while (r == 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return -r;
}

static int read_answer(int fd, struct server_answer *answer, struct ramet_error *err)
{
	_cleanup_text_ struct text bytes = {0};
	char piece[4096];
	ssize_t n;
	while ((n = read_full(fd, piece, sizeof piece)) > 0 && bytes.length < ANSWER_MOST)
		text_append_bytes(&bytes, piece, (size_t)n);
	if (n < 0)
		return error_errno(err, (int)-n, "cannot hear from the server");
	if (bytes.failed)
		return error_memory(err);
	return server_answer_read(bytes.data ? bytes.data : "", bytes.length, answer, err);
}

int server_start(const struct server_config *config, const int *fds, size_t fd_count,
	struct server_answer *answer, struct ramet_error *err)
{
	_cleanup_text_ struct text path = {0};
	int r = server_find(&path, err);
	if (r < 0)
		return r;
	_cleanup_close_ int given = put_config(config, err);
	if (given < 0)
		return given;
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_errno(err, errno, "cannot make a pipe to a server");
	_cleanup_close_ int in = ends[0];
	_cleanup_close_ int out = ends[1];
	r = spawn(path.data, given, out, fds, fd_count);
	if (r < 0)
		return error_errno(err, -r, "cannot start %s", path.data);
	close(TAKE_FD(out));
	return read_answer(in, answer, err);
}
