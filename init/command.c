/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One command instead of an init. This program stays PID 1 and outside: the command gets a mount
 * namespace of its own in which the merged root is /, so that whatever it mounts is gone when its
 * last process is, and the volume can be unmounted.
 *
 * When a person is at the console the command has it all, with a session of its own. Otherwise its
 * output is a pipe (pump.c), and PID 1 leads the session: the kernel hangs a terminal up when the
 * leader of its session ends, and throws away what the console has not sent yet (tty_ldisc_hangup()
 * in drivers/tty/tty_ldisc.c). The command leads the group in the foreground, which Ctrl-C goes to.
 * As a child of PID 1 that group counts as orphaned, so Ctrl-Z does not stop it.
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
#include <unistd.h>

#include "init/machine.h"
#include "init/pump.h"

enum { NOT_EXECUTABLE = 126, NOT_FOUND = 127 };
enum { GRACE_MS = 2000, SLICE_MS = 50 };

/* Look the command up in PATH as a shell does, and execute it. Returns on failure with the errno
 * that says most: a file that may not be executed counts more than one that is not there. */
static void execute(char **argv, char **environment)
{
	char file[4200];
	const char *path = "";
	int worst = ENOENT;
	if (strchr(argv[0], '/')) {
		execve(argv[0], argv, environment);
		return;
	}
	for (char **entry = environment; *entry; entry++) {
		if (environment_names(*entry, "PATH"))
			path = *entry + strlen("PATH=");
	}
	while (*path) {
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

/* Take the console as a session's own. Without a terminal as console there is no Ctrl-C; the
 * command runs all the same. */
static void session_lead(void)
{
	setsid();
	ioctl(0, TIOCSCTTY, 1);
}

/* SIGTTOU is blocked, or the kernel would not let a group in the background do this. */
static void foreground_take(void)
{
	pid_t group = getpid();
	setpgid(0, 0);
	ioctl(0, TIOCSPGRP, &group);
}

/* The folder to start in, made as runtimes of containers make it. Root makes it and goes there, so
 * that the user need not be let through what is above. */
static bool cwd_enter(const char *cwd)
{
	char path[4200];
	if (chdir(cwd) == 0)
		return true;
	if (errno != ENOENT || strlen(cwd) >= sizeof path)
		return false;
	join(path, sizeof path, cwd, NULL);
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(path, 0755);
		*slash = '/';
	}
	mkdir(path, 0755);
	return chdir(path) == 0;
}

/* What the command needs before it is the only thing to do; NULL, or what went wrong. */
static const char *surroundings_enter(struct machine *machine, struct user *user)
{
	static char sentence[512];
	const char *cwd = machine->asked.cwd;
	if (unshare(CLONE_NEWNS) < 0)
		return why();
	const char *wrong = root_enter(machine, true);
	if (!wrong)
		wrong = user_find(machine, user);
	if (!wrong && cwd && !cwd_enter(cwd)) {
		join(sentence, sizeof sentence, "the command cannot start in ", cwd, ": ", why(),
			NULL);
		wrong = sentence;
	}
	if (!wrong)
		wrong = root_protect(machine);
	/* What became a mount now lies over where the process stands. */
	if (!wrong && cwd && chdir(cwd) < 0)
		wrong = why();
	return wrong;
}

/* The child's way to the command. What keeps it from getting there goes to the parent. */
static _Noreturn void child(struct machine *machine, int output, int report)
{
	static struct user user;
	sigset_t none;
	if (output < 0)
		session_lead();
	else
		foreground_take();
	const char *wrong = surroundings_enter(machine, &user);
	if (wrong) {
		ssize_t ignored = write(report, wrong, strlen(wrong));
		(void)ignored;
		_exit(1);
	}
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	say_step(machine, "the command is next");
	say_ready(machine);
	if (output >= 0) {
		dup2(output, 1);
		dup2(output, 2);
	}
	wrong = user_become(&user);
	if (wrong) {
		say(machine, wrong, NULL);
		_exit(NOT_EXECUTABLE);
	}
	execute(machine->asked.exec, environment_make(machine, &user));
	bool missing = errno == ENOENT || errno == ENOTDIR;
	say(machine, machine->asked.exec[0], missing ? " was not found" : " cannot be executed",
		missing ? "" : ": ", missing ? "" : why(), NULL);
	_exit(missing ? NOT_FOUND : NOT_EXECUTABLE);
}

/* output: what is to be its standard output and error; -1: the console. */
static pid_t command_start(struct machine *machine, int output)
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
		child(machine, output, pipe_fds[1]);
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

/* Reap until nobody is left, GRACE_MS at the most. */
static bool everybody_await(struct pump *pump, pid_t command, int *status)
{
	for (uint64_t end = microseconds() + GRACE_MS * 1000; microseconds() < end;) {
		if (reap(command, status))
			return true;
		pump_wait(pump, SLICE_MS);
	}
	return false;
}

/* End everybody else: ask, wait a little, insist. */
static void everybody_end(struct pump *pump, pid_t command, int *status)
{
	kill(-1, SIGTERM);
	kill(-1, SIGCONT);
	if (everybody_await(pump, command, status))
		return;
	kill(-1, SIGKILL);
	/* One that the kernel does not let go of must not keep the VM from ending. */
	everybody_await(pump, command, status);
}

/* Let the command run. True when it has ended by itself, false when the VM is asked to end. */
static bool command_await(struct pump *pump, pid_t command, int *status)
{
	while (*status < 0) {
		int signal = pump_wait(pump, -1);
		if (signal == SIGINT || signal == SIGTERM)
			return false;
		if (signal == SIGCHLD)
			reap(command, status);
	}
	return true;
}

void command_run(struct machine *machine)
{
	static const int heard[] = {SIGCHLD, SIGINT, SIGTERM, SIGTTOU};
	struct pump pump;
	sigset_t signals;
	int status = -1, output = -1;
	sigemptyset(&signals);
	for (size_t i = 0; i < sizeof heard / sizeof *heard; i++)
		sigaddset(&signals, heard[i]);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	reboot(RB_DISABLE_CAD);
	if (machine->asked.tty)
		pump_none(&pump, &signals);
	else
		output = pump_open(&pump, &signals);
	if (output >= 0)
		session_lead();
	pid_t command = command_start(machine, output);
	close(output);
	bool patient = command_await(&pump, command, &status);
	everybody_end(&pump, command, &status);
	pump_drain(&pump, patient);
	finish(machine, status < 0 ? 128 + SIGKILL : status);
}
