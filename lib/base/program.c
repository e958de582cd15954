/* SPDX-License-Identifier: Apache-2.0 */
#include "base/program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"

extern char **environ;

bool program_find(const char *name, struct text *path)
{
	const char *folders = getenv("PATH");
	if (!folders || !*folders)
		folders = "/usr/local/bin:/usr/bin:/bin";
	while (*folders) {
		size_t length = strcspn(folders, ":");
		struct stat st;
		text_truncate(path, 0);
		text_append_bytes(path, length ? folders : ".", length ? length : 1);
		text_format(path, "/%s", name);
		if (!path->failed && access(path->data, X_OK) == 0 && stat(path->data, &st) == 0 &&
			S_ISREG(st.st_mode))
			return true;
		folders += length + (folders[length] == ':');
	}
	return false;
}

/* Our environment, with one variable set; the caller frees the array. */
static char **environment_with(const char *variable)
{
	size_t count = 0, kept = 0, length = variable ? strcspn(variable, "=") + 1 : 0;
	while (environ[count])
		count++;
	char **environment = calloc(count + 2, sizeof *environment);
	for (size_t i = 0; environment && i < count; i++)
		if (!variable || strncmp(environ[i], variable, length) != 0)
			environment[kept++] = environ[i];
	if (environment && variable)
		environment[kept] = (char *)(uintptr_t)variable;
	return environment;
}

static int direct(posix_spawn_file_actions_t *actions, int fd, bool drop, int output)
{
	return drop ? posix_spawn_file_actions_addopen(actions, fd, "/dev/null", O_WRONLY, 0)
		    : posix_spawn_file_actions_adddup2(actions, output, fd);
}

static int start(const struct program *program, int output, pid_t *pid)
{
	_cleanup_free_ char **environment = environment_with(program->variable);
	posix_spawn_file_actions_t actions;
	if (!environment || posix_spawn_file_actions_init(&actions) != 0)
		return -ENOMEM;
	int r = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (r == 0)
		r = direct(&actions, STDOUT_FILENO, program->drop_output, output);
	if (r == 0)
		r = direct(&actions, STDERR_FILENO, program->drop_errors, output);
	/* POSIX: onto itself takes the close-on-exec flag away. */
	for (size_t i = 0; i < program->fd_count && r == 0; i++)
		r = posix_spawn_file_actions_adddup2(&actions, program->fds[i], program->fds[i]);
	if (r == 0)
		r = posix_spawn(pid, program->argv[0], &actions, NULL,
			(char *const *)(uintptr_t)program->argv, environment);
	posix_spawn_file_actions_destroy(&actions);
	return -r;
}

static int64_t milliseconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Until fd can be read; false when the time is over. end: of milliseconds(), 0: never. */
static bool await(int fd, int64_t end)
{
	for (;;) {
		int64_t left = end - milliseconds();
		if (end && left <= 0)
			return false;
		struct pollfd ready = {.fd = fd, .events = POLLIN};
		if (poll(&ready, 1, end ? (int)left : -1) > 0)
			return true;
	}
}

/* What comes through fd until its end, or the time's. Whether its end was reached. */
static bool read_output(int fd, int64_t end, struct text *output)
{
	char piece[4096];
	for (;;) {
		if (!await(fd, end))
			return false;
		ssize_t n = read(fd, piece, sizeof piece);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return true;
		text_append_bytes(output, piece, (size_t)n);
		if (output->length > PROGRAM_OUTPUT && !output->failed) {
			size_t over = output->length - PROGRAM_OUTPUT;
			memmove(output->data, output->data + over, PROGRAM_OUTPUT);
			text_truncate(output, PROGRAM_OUTPUT);
		}
	}
}

/* It may let go of its output and run on. */
static bool ends_in_time(pid_t pid, int64_t end)
{
	if (!end)
		return true;
	_cleanup_close_ int pidfd = pidfd_open(pid, 0);
	return pidfd >= 0 && await(pidfd, end);
}

int program_run(
	const struct program *program, struct text *output, int *status, struct ramet_error *err)
{
	int ends[2];
	pid_t pid;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_errno(err, errno, "cannot make a pipe");
	int r = start(program, ends[1], &pid);
	close(ends[1]);
	if (r == 0) {
		int64_t end = program->timeout_ms ? milliseconds() + program->timeout_ms : 0;
		if (!read_output(ends[0], end, output) || !ends_in_time(pid, end))
			kill(pid, SIGKILL);
		while (waitpid(pid, status, 0) < 0 && errno == EINTR)
			;
	}
	close(ends[0]);
	if (r < 0)
		return error_errno(err, -r, "cannot run %s", program->argv[0]);
	return output->failed ? error_memory(err) : 0;
}
