/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One command instead of an init. This program stays PID 1 and outside: the command gets a mount
 * namespace of its own in which the merged root is /, so that whatever it mounts is gone when its
 * last process is, and the volume can be unmounted.
 *
 * A request to stop comes as SIGINT to PID 1: that is what the kernel makes of Ctrl-Alt-Del
 * (Firecracker's SendCtrlAltDel) once it has been told not to reboot by itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "init/machine.h"

#define GRACE_SECONDS 2
#define DEFAULT_PATH  "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

enum { NOT_EXECUTABLE = 126, NOT_FOUND = 127 };

static bool names(const char *entry, const char *name)
{
	size_t length = strlen(name);
	return strncmp(entry, name, length) == 0 && entry[length] == '=';
}

/* What the kernel handed on from its command line (TERM=..., FOO=...), and what a login has. */
static char **environment_make(char **given)
{
	static char *environment[96];
	struct stat info;
	size_t count = 0;
	bool path = false;
	for (; *given && count < 80; given++) {
		if (names(*given, "HOME") || names(*given, INIT_ARG_OVERLAY_ROOT))
			continue;
		path = path || names(*given, "PATH");
		environment[count++] = *given;
	}
	if (!path)
		environment[count++] = (char *)DEFAULT_PATH;
	environment[count++] = (char *)(stat("/root", &info) == 0 ? "HOME=/root" : "HOME=/");
	environment[count++] = (char *)"USER=root";
	environment[count++] = (char *)"LOGNAME=root";
	environment[count++] = (char *)"SHELL=/bin/sh";
	environment[count] = NULL;
	return environment;
}

/* Look the command up in PATH as a shell does, and execute it. Returns on failure with the errno
 * that says most: a file that may not be executed counts more than one that is not there. */
static void execute(char **argv, char **environment)
{
	char file[4200];
	const char *path = DEFAULT_PATH;
	int worst = ENOENT;
	if (strchr(argv[0], '/')) {
		execve(argv[0], argv, environment);
		return;
	}
	for (char **entry = environment; *entry; entry++) {
		if (names(*entry, "PATH"))
			path = *entry;
	}
	for (path += strlen("PATH="); *path;) {
		size_t length = strcspn(path, ":");
		char folder[2048];
		join(folder, length < sizeof folder ? length + 1 : sizeof folder, path, NULL);
		join(file, sizeof file, *folder ? folder : ".", "/", argv[0], NULL);
		execve(file, argv, environment);
		if (errno != ENOENT && errno != ENOTDIR)
			worst = errno;
		path += length + (path[length] == ':');
	}
	errno = worst;
}

/* The child's way to the command. What keeps it from getting there goes to the parent. */
static _Noreturn void child(struct machine *machine, int report)
{
	sigset_t none;
	const char *wrong = NULL;
	char sentence[512];
	if (setsid() < 0 || unshare(CLONE_NEWNS) < 0)
		wrong = why();
	/* Without a terminal as console there is no Ctrl-C; the command runs all the same. */
	ioctl(0, TIOCSCTTY, 1);
	if (!wrong)
		wrong = root_enter(machine, true);
	if (!wrong && machine->asked.cwd && chdir(machine->asked.cwd) < 0) {
		join(sentence, sizeof sentence, "the command cannot start in ", machine->asked.cwd,
			": ", why(), NULL);
		wrong = sentence;
	}
	if (wrong) {
		ssize_t ignored = write(report, wrong, strlen(wrong));
		(void)ignored;
		_exit(1);
	}
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	say_step(machine, "the command is next");
	say_ready(machine);
	execute(machine->asked.exec, environment_make(machine->environment));
	bool missing = errno == ENOENT || errno == ENOTDIR;
	say(machine, machine->asked.exec[0], missing ? " was not found" : " cannot be executed",
		missing ? "" : ": ", missing ? "" : why(), NULL);
	_exit(missing ? NOT_FOUND : NOT_EXECUTABLE);
}

static pid_t command_start(struct machine *machine)
{
	static char sentence[512];
	int pipe_fds[2];
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		fail(machine, "the command could not be started: ", why(), NULL);
	pid_t pid = fork();
	if (pid < 0)
		fail(machine, "the command could not be started: ", why(), NULL);
	if (pid == 0) {
		close(pipe_fds[0]);
		child(machine, pipe_fds[1]);
	}
	close(pipe_fds[1]);
	ssize_t n = read(pipe_fds[0], sentence, sizeof sentence - 1);
	close(pipe_fds[0]);
	if (n > 0) {
		waitpid(pid, NULL, 0);
		fail_with(machine, sentence);
	}
	return pid;
}

/* Reap whoever has ended. True when nobody is left; *status is set when the command was one. */
static bool reap(pid_t command, int *status)
{
	int state;
	for (;;) {
		pid_t pid = waitpid(-1, &state, WNOHANG);
		if (pid == 0)
			return false;
		if (pid < 0)
			return errno != EINTR;
		if (pid == command)
			*status = WIFSIGNALED(state) ? 128 + WTERMSIG(state) : WEXITSTATUS(state);
	}
}

/* End everybody else: ask, wait a little, insist. */
static void everybody_end(const sigset_t *signals, pid_t command, int *status)
{
	struct timespec slice = {.tv_nsec = 50000000};
	kill(-1, SIGTERM);
	kill(-1, SIGCONT);
	for (uint64_t end = microseconds() + GRACE_SECONDS * 1000000; microseconds() < end;) {
		if (reap(command, status))
			return;
		sigtimedwait(signals, NULL, &slice);
	}
	kill(-1, SIGKILL);
	/* One that the kernel does not let go of must not keep the VM from ending. */
	for (uint64_t end = microseconds() + GRACE_SECONDS * 1000000; microseconds() < end;) {
		if (reap(command, status))
			return;
		sigtimedwait(signals, NULL, &slice);
	}
}

void command_run(struct machine *machine)
{
	sigset_t signals;
	int status = -1;
	sigemptyset(&signals);
	sigaddset(&signals, SIGCHLD);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	reboot(RB_DISABLE_CAD);
	pid_t command = command_start(machine);
	while (status < 0) {
		int signal = sigwaitinfo(&signals, NULL);
		if (signal == SIGINT || signal == SIGTERM)
			break;
		reap(command, &status);
	}
	everybody_end(&signals, command, &status);
	finish(machine, status < 0 ? 128 + SIGKILL : status);
}
