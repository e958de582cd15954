/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answer comes through a pipe, whose end says that the program died without one. The process that is
 * started forks the one that stays and ends (server/leave.h), so that it is no zombie of a program that
 * uses the library.
 *
 * The program is looked for where it belongs to this very library: in $RAMET_LIBEXEC, then in the
 * folder of a build that ramet runs from, then where it was installed to.
 */
#include "api/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/vector.h"

#define ANSWER_MOST ((size_t)1 << 20)

extern char **environ;

static bool is_there(const struct text *path)
{
	return !path->failed && access(path->data, X_OK) == 0;
}

/* Beside the program that runs: of a build tree, or of an installation that was moved. */
static bool find_beside(const char *from, const char *program, struct text *path)
{
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	if (n <= 0)
		return false;
	self[n] = '\0';
	char *slash = strrchr(self, '/');
	*(slash ? slash : self) = '\0';
	text_truncate(path, 0);
	text_format(path, "%s/%s/%s", self, from, program);
	return is_there(path);
}

int helper_find(const char *program, struct text *path, struct ramet_error *err)
{
	const char *folder = getenv("RAMET_LIBEXEC");
	if (folder && *folder)
		text_format(path, "%s/%s", folder, program);
	if (folder && *folder && !is_there(path))
		return error_errno(err, errno, "cannot run %s, which RAMET_LIBEXEC names",
			path->data ? path->data : program);
	if (path->length || find_beside("../server", program, path) ||
		find_beside("../libexec/ramet", program, path))
		return 0;
	text_truncate(path, 0);
	text_format(path, RAMET_LIBEXECDIR "/%s", program);
	return is_there(path) ? 0
			      : error_errno(err, ENOENT,
					"cannot find the program %s; install it, or "
					"name its folder with RAMET_LIBEXEC",
					path->data ? path->data : program);
}

/* POSIX: duplicating an fd onto itself takes the close-on-exec flag away. */
static int keep(posix_spawn_file_actions_t *actions, const int *fds, size_t count)
{
	int r = 0;
	for (size_t i = 0; i < count && r == 0; i++)
		r = posix_spawn_file_actions_adddup2(actions, fds[i], fds[i]);
	return r;
}

static int spawn(char *const *argv, int answer, const int *fds, size_t fd_count)
{
	posix_spawn_file_actions_t actions;
	if (posix_spawn_file_actions_init(&actions) != 0)
		return -ENOMEM;
	pid_t pid;
	int r = keep(&actions, &answer, 1);
	if (r == 0)
		r = keep(&actions, fds, fd_count);
	if (r == 0)
		r = posix_spawn(&pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	while (r == 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return -r;
}

/* PROGRAM ANSWER ARGUMENT... */
static int spawn_with(
	const char *path, const char *const *arguments, int answer, const int *fds, size_t fd_count)
{
	char number[16];
	size_t count = 0;
	while (arguments[count])
		count++;
	char **argv = calloc(count + 3, sizeof *argv);
	if (!argv)
		return -ENOMEM;
	snprintf(number, sizeof number, "%d", answer);
	argv[0] = (char *)(uintptr_t)path;
	argv[1] = number;
	memcpy(argv + 2, arguments, count * sizeof *argv);
	int r = spawn(argv, answer, fds, fd_count);
	free(argv);
	return r;
}

static int hear(int fd, const char *program, struct text *answer, struct ramet_error *err)
{
	char piece[4096];
	ssize_t n;
	while ((n = read_full(fd, piece, sizeof piece)) > 0 && answer->length < ANSWER_MOST)
		text_append_bytes(answer, piece, (size_t)n);
	if (n < 0)
		return error_errno(err, (int)-n, "cannot hear from %s", program);
	text_append(answer, "");
	return answer->failed ? error_memory(err) : 0;
}

int helper_start(const char *program, const char *const *arguments, const int *fds, size_t fd_count,
	struct text *answer, struct ramet_error *err)
{
	_cleanup_text_ struct text path = {0};
	int ends[2];
	int r = helper_find(program, &path, err);
	if (r < 0)
		return r;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_errno(err, errno, "cannot make a pipe to %s", program);
	_cleanup_close_ int in = ends[0];
	_cleanup_close_ int out = ends[1];
	r = spawn_with(path.data, arguments, out, fds, fd_count);
	if (r < 0)
		return error_errno(err, -r, "cannot start %s", path.data);
	close(TAKE_FD(out));
	return hear(in, program, answer, err);
}
