/* SPDX-License-Identifier: Apache-2.0 */
/* Programs in PATH, and what they say of themselves. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "api/doctor.h"
#include "base/cleanup.h"

extern char **environ;

enum { ANSWER_MAX = 256, ANSWER_MS = 10000 };

static bool find_program(const char *name, struct text *path)
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

static int spawn_version(const char *path, int output, pid_t *pid)
{
	char *const argv[] = {(char *)(uintptr_t)path, (char *)(uintptr_t) "--version", NULL};
	posix_spawn_file_actions_t actions;
	if (posix_spawn_file_actions_init(&actions) != 0)
		return -ENOMEM;
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
	posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	int r = posix_spawn(pid, path, &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	return -r;
}

static long milliseconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* What comes through fd until its end, the buffer's or the time's. */
static void read_answer(int fd, char answer[static ANSWER_MAX])
{
	size_t used = 0;
	long end = milliseconds() + ANSWER_MS, left;
	while (used < ANSWER_MAX - 1 && (left = end - milliseconds()) > 0) {
		struct pollfd ready = {.fd = fd, .events = POLLIN};
		if (poll(&ready, 1, (int)left) <= 0)
			continue;
		ssize_t n = read(fd, answer + used, ANSWER_MAX - 1 - used);
		if (n <= 0)
			break;
		used += (size_t)n;
	}
	answer[used] = '\0';
	answer[strcspn(answer, "\n")] = '\0';
}

/* The first line of `PATH --version`; "" when there is none. A program that hangs is killed. */
static void ask_version(const char *path, char answer[static ANSWER_MAX])
{
	*answer = '\0';
	int ends[2];
	pid_t pid;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return;
	int r = spawn_version(path, ends[1], &pid);
	close(ends[1]);
	if (r == 0) {
		read_answer(ends[0], answer);
		kill(pid, SIGKILL);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	close(ends[0]);
}

static bool find_versioned(
	const char *name, const char *what_to_do, struct text *detail, struct text *advice)
{
	_cleanup_text_ struct text path = {0};
	text_append(advice, what_to_do);
	if (!find_program(name, &path)) {
		text_format(detail, "%s is not in PATH", name);
		return false;
	}
	char answer[ANSWER_MAX];
	ask_version(path.data, answer);
	text_format(
		detail, "%s, %s", path.data, *answer ? answer : "which does not tell its version");
	return *answer != '\0';
}

bool doctor_find_firecracker(struct ramet_store *store, struct text *detail, struct text *advice)
{
	return find_versioned("firecracker",
		"put a firecracker binary of its project's releases into PATH; QEMU serves until then",
		detail, advice);
}

bool doctor_find_qemu(struct ramet_store *store, struct text *detail, struct text *advice)
{
	return find_versioned(
		"qemu-system-x86_64", "install the package qemu-system-x86", detail, advice);
}

bool doctor_find_fuse(struct ramet_store *store, struct text *detail, struct text *advice)
{
	_cleanup_close_ int device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (device < 0) {
		char text[128];
		text_format(detail, "/dev/fuse: %s", strerror_r(errno, text, sizeof text));
		text_append(advice, "modprobe fuse, or give the container the device");
		return false;
	}
	_cleanup_text_ struct text helper = {0};
	bool has_helper = find_program("fusermount3", &helper);
	text_append(detail, "/dev/fuse opens");
	if (has_helper)
		text_format(detail, ", %s is there", helper.data);
	else
		text_append(detail, ", fusermount3 is not in PATH");
	/* Root mounts without the helper. */
	text_append(advice, "install the package fuse3");
	return has_helper || geteuid() == 0;
}
