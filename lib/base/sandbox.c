/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A child that can only think: compute, read and write what was open already, and end. How it gives
 * everything else away is in sandbox_enter.c.
 *
 * The answer goes through a pipe, never through shared memory, and is distrusted: a child that was
 * taken over can lie about what it read, but its sentence cannot move the operator's cursor.
 *
 * The child of a process with threads has the forking one alone; glibc keeps malloc usable there.
 * It must run none of the parent's exit handlers and flush none of its streams, so it ends by
 * _exit.
 */
#include "base/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/sandbox_inside.h"
#include "base/text.h"

/* What the pipe carries: heads, each with its bytes behind it. The verdict comes last, and the answer
 * behind it when its result is 0. */
struct head {
	uint32_t kind, length;
};
enum { VERDICT = UINT16_MAX + 1, ANSWER };

struct verdict {
	int result;
	struct ramet_error err;
};

static int send(int fd, uint32_t kind, const void *bytes, size_t length)
{
	const struct head head = {kind, (uint32_t)length};
	int r = write_full(fd, &head, sizeof head);
	return r < 0 ? r : write_full(fd, bytes, length);
}

int sandbox_say(const struct sandbox_line *line, unsigned kind, const void *bytes, size_t length)
{
	if (length > SANDBOX_MESSAGE_MAX || kind > UINT16_MAX)
		return -EMSGSIZE;
	return send(line->fd, kind, bytes, length);
}

static void child(const struct sandbox_job *job, int out, pid_t parent) __attribute__((noreturn));
static void child(const struct sandbox_job *job, int out, pid_t parent)
{
	struct verdict verdict = {0};
	if (job->line)
		job->line->fd = out;
	verdict.result = sandbox_enter(job, out, parent, &verdict.err);
	if (verdict.result == 0)
		verdict.result = job->work(job->ctx, &verdict.err);
	int r = send(out, VERDICT, &verdict, sizeof verdict);
	if (r == 0 && verdict.result == 0 && job->answer_size)
		r = send(out, ANSWER, job->answer, job->answer_size);
	_exit(r < 0);
}

/* length bytes: 1, or 0 when it ended before that. */
static int receive_bytes(int fd, void *bytes, size_t length)
{
	ssize_t n = read_full(fd, bytes, length);
	return n < 0 ? (int)n : (size_t)n == length;
}

/* The next head, and what is behind it in *bytes, which is made as large as it must be. */
static int receive_message(int fd, struct head *head, struct text *bytes)
{
	int r = receive_bytes(fd, head, sizeof *head);
	if (r != 1)
		return r;
	if (head->length > SANDBOX_MESSAGE_MAX)
		return -EPROTO;
	text_truncate(bytes, 0);
	char piece[4096];
	for (size_t left = head->length; left; left -= MIN(left, sizeof piece)) {
		size_t n = MIN(left, sizeof piece);
		r = receive_bytes(fd, piece, n);
		if (r != 1)
			return r;
		text_append_bytes(bytes, piece, n);
	}
	text_append(bytes, "");
	return bytes->failed ? -ENOMEM : 1;
}

/* Read what the child says: 1 when it said all, 0 when it ended before that. */
static int receive(const struct sandbox_job *job, int fd, struct verdict *verdict)
{
	_cleanup_text_ struct text bytes = {0};
	struct head head;
	int r;
	while ((r = receive_message(fd, &head, &bytes)) == 1 && head.kind < VERDICT)
		if (job->hear)
			job->hear(job->hear_ctx, head.kind, bytes.data, head.length);
	if (r != 1)
		return r;
	if (head.kind != VERDICT || head.length != sizeof *verdict)
		return -EPROTO;
	memcpy(verdict, bytes.data, sizeof *verdict);
	if (verdict->result != 0 || job->answer_size == 0)
		return 1;
	r = receive_message(fd, &head, &bytes);
	if (r != 1)
		return r;
	if (head.kind != ANSWER || head.length != job->answer_size)
		return -EPROTO;
	memcpy(job->answer, bytes.data, job->answer_size);
	return 1;
}

static int explain(const struct sandbox_job *job, int status, struct ramet_error *err)
{
	const char *what = job->what;
	int sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	switch (sig) {
	case 0:
		return error_set(err, EUCLEAN,
			"%s cannot be read: its reader ended without an answer", what);
	case SIGINT:
	case SIGTERM:
	case SIGHUP:
	case SIGQUIT:
		return error_set(err, EINTR, "reading %s was interrupted", what);
	case SIGSYS:
		return error_set(err, EUCLEAN,
			"%s cannot be read: its reader tried a system call that is forbidden to it, "
			"and was ended",
			what);
	case SIGALRM:
		return error_set(err, ENOMEM,
			"%s cannot be read: a sandbox was not ready within %d seconds, most likely "
			"for want of memory",
			what, CONFINE_SECONDS);
	case SIGXCPU:
		return error_set(err, EUCLEAN,
			"%s cannot be read: it took more than %u seconds of processor time", what,
			job->limits.cpu_seconds);
	case SIGKILL:
		return error_set(err, EUCLEAN,
			"%s cannot be read: its reader was killed, by the operator or for the memory "
			"it took",
			what);
	default:
		return error_set(err, EUCLEAN, "%s cannot be read: its reader crashed (%s)", what,
			strsignal(sig));
	}
}

static int wait_for(pid_t pid, int *status)
{
	while (waitpid(pid, status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return 0;
}

int sandbox_run_job(const struct sandbox_job *job, struct ramet_error *err)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_errno(err, errno, "cannot make a pipe to read %s", job->what);
	_cleanup_close_ int in = ends[0];
	_cleanup_close_ int out = ends[1];
	pid_t parent = getpid(), pid = fork();
	if (pid < 0)
		return error_errno(err, errno, "cannot start a process to read %s", job->what);
	if (pid == 0)
		child(job, out, parent);
	close(TAKE_FD(out));
	struct verdict verdict;
	int r = receive(job, in, &verdict), status = 0;
	if (r < 0)
		kill(pid, SIGKILL);
	int waited = wait_for(pid, &status);
	if (r < 0)
		return error_errno(err, -r, "cannot hear from the reader of %s", job->what);
	if (r == 0)
		return waited < 0 ? error_errno(err, -waited, "lost the reader of %s", job->what)
				  : explain(job, status, err);
	if (verdict.result < 0) {
		/* What comes from a child that was taken over need not even end. */
		verdict.err.message[sizeof verdict.err.message - 1] = '\0';
		text_disarm(verdict.err.message);
		if (err)
			*err = verdict.err;
	}
	return verdict.result;
}

int sandbox_run(const char *what, const struct sandbox_limits *limits,
	int (*work)(void *ctx, struct ramet_error *err), void *ctx, const int *fds, size_t fd_count,
	void *answer, size_t answer_size, struct ramet_error *err)
{
	const struct sandbox_job job = {.what = what,
		.limits = *limits,
		.work = work,
		.ctx = ctx,
		.fds = fds,
		.fd_count = fd_count,
		.answer = answer,
		.answer_size = answer_size};
	return sandbox_run_job(&job, err);
}
