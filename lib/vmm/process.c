/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VMM that outlives ramet would go on writing to a volume that nobody watches. So the child asks
 * the kernel to be killed with its parent (prctl(2), PR_SET_PDEATHSIG) and then looks whether the
 * parent was gone already. In the moment between the parent's death and its own the child still
 * holds the fork's lock, which is one of the fds it keeps: nobody else gets the volume meanwhile.
 *
 * The console is two channels and not one: VMMs make their standard input non-blocking, and with a
 * shared description their output would be too, and be dropped when ramet's reader is slow. Input
 * is a socket so that a write to a VMM that has gone is an errno and not a SIGPIPE.
 */
#include "vmm/process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "vmm/tail.h"

enum { CONSOLE_PIPE_SIZE = 1 << 20 };

/* The ends of the console that the child gets, and the pipe that says why exec failed. */
struct child_fds {
	int in, out, failure;
};

static void __attribute__((noreturn)) child_fail(int fd)
{
	int code = errno;
	(void)!write(fd, &code, sizeof code);
	_exit(127);
}

static void child_signals_reset(void)
{
	struct sigaction usual = {.sa_handler = SIG_DFL};
	for (int signal = 1; signal < NSIG; signal++)
		sigaction(signal, &usual, NULL);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void __attribute__((noreturn))
child_run(const struct process_options *options, const struct child_fds *fds, int log, pid_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		child_fail(fds->failure);
	if (getppid() != parent)
		_exit(127);
	child_signals_reset();
	setsid();
	if (fchdir(options->dirfd) < 0 || dup2(fds->in, 0) < 0 || dup2(fds->out, 1) < 0 ||
		dup2(log, 2) < 0)
		child_fail(fds->failure);
	if (close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
		child_fail(fds->failure);
	for (size_t i = 0; i < options->keep_fd_count; i++)
		if (fcntl(options->keep_fds[i], F_SETFD, 0) < 0)
			child_fail(fds->failure);
	execv(options->argv[0], options->argv);
	child_fail(fds->failure);
}

/* Fork, and wait until the child runs the program or says why not. */
static int child_start(const struct process_options *options, struct process *process,
	struct child_fds *fds, int failure, struct ramet_error *err)
{
	pid_t parent = getpid();
	process->pid = fork();
	if (process->pid < 0) {
		process->pid = 0;
		return error_errno(err, errno, "cannot start %s", options->argv[0]);
	}
	if (process->pid == 0)
		child_run(options, fds, process->log, parent);
	cleanup_close(&fds->failure);
	fds->failure = -EBADF;
	process->pidfd = (int)syscall(SYS_pidfd_open, process->pid, 0);
	if (process->pidfd < 0)
		return error_errno(err, errno, "cannot watch over %s", options->argv[0]);
	int code = 0;
	if (read_full(failure, &code, sizeof code) == sizeof code)
		return error_errno(err, code, "cannot start %s", options->argv[0]);
	return 0;
}

int process_start(
	const struct process_options *options, struct process *process, struct ramet_error *err)
{
	*process = (struct process)PROCESS_NONE;
	process->log = openat(options->dirfd, options->log,
		O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (process->log < 0)
		return error_errno(err, errno, "cannot write the VMM's log %s", options->log);
	int in[2], out[2], failure[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in) < 0)
		return error_errno(err, errno, "cannot make a console");
	process->console_in = in[0];
	_cleanup_close_ int child_in = in[1];
	if (pipe2(out, O_CLOEXEC) < 0)
		return error_errno(err, errno, "cannot make a console");
	process->console_out = out[0];
	/* More room for a VMM that drops what does not fit; refused to some users, and only a help. */
	(void)fcntl(out[0], F_SETPIPE_SZ, CONSOLE_PIPE_SIZE);
	_cleanup_close_ int child_out = out[1];
	if (options->hold_console)
		process->console_far = fcntl(child_out, F_DUPFD_CLOEXEC, 3);
	if (pipe2(failure, O_CLOEXEC) < 0)
		return error_errno(err, errno, "cannot start %s", options->argv[0]);
	_cleanup_close_ int failure_read = failure[0];
	struct child_fds fds = {.in = child_in, .out = child_out, .failure = failure[1]};
	int r = child_start(options, process, &fds, failure_read, err);
	cleanup_close(&fds.failure);
	return r;
}

void process_console_let_go(struct process *process)
{
	int flags = fcntl(process->console_far, F_GETFL);
	if (flags >= 0 && (flags & O_NONBLOCK))
		fcntl(process->console_far, F_SETFL, flags & ~O_NONBLOCK);
	cleanup_close(&process->console_far);
	process->console_far = -EBADF;
}

bool process_wait(struct process *process, int timeout_ms)
{
	if (process->reaped || process->pid == 0)
		return true;
	struct pollfd p = {.fd = process->pidfd, .events = POLLIN};
	if (process->pidfd >= 0 && poll(&p, 1, timeout_ms) != 1)
		return false;
	while (waitpid(process->pid, &process->status, 0) < 0)
		if (errno != EINTR)
			break;
	process->reaped = true;
	return true;
}

void process_kill(struct process *process)
{
	if (process->reaped || process->pid == 0)
		return;
	kill(process->pid, SIGKILL);
	while (!process_wait(process, -1))
		;
}

char *process_last_words(const struct process *process, char *buffer, size_t size)
{
	char end[4096];
	struct stat st;
	ssize_t n = 0;
	if (fstat(process->log, &st) == 0) {
		uint64_t length = (uint64_t)st.st_size;
		uint64_t from = length > sizeof end ? length - sizeof end : 0;
		n = pread_full(process->log, end, sizeof end, from);
	}
	struct tail tail = {0};
	if (n > 0)
		tail_add(&tail, end, (size_t)n);
	if (tail_last_line(&tail, buffer, size))
		return buffer;
	if (!process->reaped)
		snprintf(buffer, size, "it said nothing");
	else if (WIFSIGNALED(process->status))
		snprintf(buffer, size, "it was killed by signal %d (%s)", WTERMSIG(process->status),
			strsignal(WTERMSIG(process->status)));
	else
		snprintf(buffer, size, "it ended with status %d and said nothing",
			WEXITSTATUS(process->status));
	return buffer;
}

void process_close(struct process *process)
{
	process_kill(process);
	cleanup_close(&process->pidfd);
	cleanup_close(&process->console_in);
	cleanup_close(&process->console_out);
	cleanup_close(&process->console_far);
	cleanup_close(&process->log);
	*process = (struct process)PROCESS_NONE;
}
