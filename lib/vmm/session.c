/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One poll() loop, and nothing in it blocks: output is written only when its fd has room, so that a
 * reader that has stopped (a pager, a terminal after Ctrl-S) holds the guest back but never keeps
 * a request to stop from being seen. Up to OUTPUT_MAX bytes wait for such a reader first; a guest
 * that is to end is not held back, and what is more than that is dropped. Nor does a write raise
 * SIGPIPE: it is blocked in this thread for the length of the loop.
 *
 * The end comes in steps, each with its time: ask the guest (Ctrl-C on its console, and the power
 * button when it has an init of its own), tell the VMM, kill it. A request goes one step further; a
 * guest that has not started its command yet has nothing to lose and is not asked.
 *
 * A server of the drives that ends is waited for again where that makes sense; then the machine is
 * ended, as after a request: its guest would wait for its drives without end.
 *
 * Input waits until the init says that the command runs: before that the guest's serial port would
 * drop it. The end of the input is Ctrl-D (0x04), twice after a line without a newline, as a
 * terminal's line discipline wants it.
 */
#include "vmm/session.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
	ASKED_MS = 5000,   /* for the guest's command to end and its volume to be unmounted */
	ORDERED_MS = 3000, /* for the VMM */
	LINGER_MS = 10000, /* from the init's last line to the VMM's end */
	AGAIN_MS = 5000,   /* from a server's end to the next one */
	AGAIN_STEP_MS = 200,
	SERVERS_MAX = 3, /* what kills more servers than this will kill the next one, too */
	/* What a pipe or a terminal that reports room is sure to take at once. */
	WRITE_AT_ONCE = 512,
	/* How much output waits for a slow reader before the guest is held back. */
	OUTPUT_MAX = 16 << 20,
};

enum {
	WAIT_PROCESS,
	WAIT_GUEST,
	WAIT_STOP,
	WAIT_SERVER,
	WAIT_IN,
	WAIT_TO_GUEST,
	WAIT_OUT,
	WAIT_COUNT
};

static int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void enter(struct session *session, enum session_phase phase, int64_t ms)
{
	session->phase = phase;
	session->phase_ends = now_ms() + ms;
}

/* One step nearer to the end. */
static void push(struct session *session)
{
	const bool nothing_to_lose = session->options->has_command && !session->exitline.ready;
	switch (session->phase) {
	case SESSION_RUNNING:
		if (!nothing_to_lose) {
			(void)!send(session->vm->process.console_in, "\3", 1,
				MSG_NOSIGNAL | MSG_DONTWAIT);
			if (!session->options->has_command)
				session->vmm->ask(session->vm);
			enter(session, SESSION_ASKED, ASKED_MS);
			break;
		}
		/* fall through */
	case SESSION_ASKED:
		session->vmm->stop(session->vm);
		enter(session, SESSION_ORDERED, ORDERED_MS);
		break;
	case SESSION_ORDERED:
	case SESSION_KILLED:
		process_kill(&session->vm->process);
		session->phase = SESSION_KILLED;
		session->phase_ends = INT64_MAX;
		break;
	}
}

static void request_stop(struct session *session)
{
	session->stopped |= !session->timed_out;
	push(session);
}

/* The server has ended: is there a new one, may there be one? false: there will be none. */
static bool server_again(struct session *session)
{
	const struct run_options *options = session->options;
	if (!session->reconnects || !options->server_again || session->servers >= SERVERS_MAX ||
		now_ms() >= session->server_ends)
		return false;
	int fd = options->server_again(options->ctx);
	if (fd >= 0) {
		session->server_fd = fd;
		session->server_ends = INT64_MAX;
		session->servers++;
	}
	return fd != -ECANCELED;
}

static void server_await(struct session *session)
{
	if (server_again(session))
		return;
	session->server_ends = INT64_MAX;
	session->unserved = true;
	/* A guest that has waited all this time for its drives hears nothing. */
	if (session->reconnects && session->phase == SESSION_RUNNING)
		session->phase = SESSION_ASKED;
	if (session->phase <= SESSION_ASKED)
		push(session);
}

/* Time has passed: whatever was due happens. Answers how long to sleep. */
static int timers_run(struct session *session)
{
	if (session->server_ends != INT64_MAX)
		server_await(session);
	int64_t now = now_ms();
	if (session->phase == SESSION_RUNNING && now >= session->timeout_ends) {
		session->timed_out = true;
		push(session);
	} else if (now >= session->phase_ends) {
		push(session);
	}
	int64_t due = session->phase_ends;
	if (session->phase == SESSION_RUNNING && session->timeout_ends < due)
		due = session->timeout_ends;
	if (session->server_ends != INT64_MAX && due > now + AGAIN_STEP_MS)
		due = now + AGAIN_STEP_MS;
	if (due == INT64_MAX)
		return -1;
	int64_t left = due - now_ms();
	return left < 0 ? 0 : left > 60000 ? 60000 : (int)left;
}

static void output_lost(struct session *session)
{
	if (session->output_gone)
		return;
	session->output_gone = true;
	text_truncate(&session->output, 0);
	session->output_done = 0;
	if (session->phase == SESSION_RUNNING)
		request_stop(session);
}

static bool output_pending(const struct session *session)
{
	return session->output_done < session->output.length;
}

static void output_write(struct session *session)
{
	size_t left = session->output.length - session->output_done;
	ssize_t n = write(session->options->console_out,
		session->output.data + session->output_done,
		left < WRITE_AT_ONCE ? left : WRITE_AT_ONCE);
	if (n < 0) {
		if (errno != EINTR && errno != EAGAIN)
			output_lost(session);
		return;
	}
	session->output_done += (size_t)n;
	/* What has gone out makes room, at a cost that is small against what was written. */
	left -= (size_t)n;
	if (left <= session->output_done / 2) {
		memmove(session->output.data, session->output.data + session->output_done, left);
		text_truncate(&session->output, left);
		session->output_done = 0;
	}
}

static void guest_read(struct session *session)
{
	char buffer[16384];
	ssize_t n = read(session->vm->process.console_out, buffer, sizeof buffer);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	bool ended_before = session->exitline.kind != EXITLINE_NONE;
	size_t held = session->output.length;
	if (n <= 0) {
		session->console_over = true;
		exitline_end(&session->exitline, &session->output);
	} else {
		tail_add(&session->tail, buffer, (size_t)n);
		exitline_feed(&session->exitline, buffer, (size_t)n, &session->output);
	}
	if (!ended_before && session->exitline.kind != EXITLINE_NONE &&
		session->phase <= SESSION_ASKED)
		session->phase_ends = now_ms() + LINGER_MS;
	if (session->output_gone || session->options->console_out < 0)
		text_truncate(&session->output, 0);
	else if (held - session->output_done >= OUTPUT_MAX)
		text_truncate(&session->output, held);
}

static void stop_read(struct session *session)
{
	char record[128]; /* one signalfd_siginfo, or an eventfd's number */
	ssize_t n = read(session->stop_fd, record, sizeof record);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0)
		session->stop_fd = -1;
	request_stop(session);
}

static void server_ended(struct session *session)
{
	session->server_fd = -1;
	session->server_ends = now_ms() + AGAIN_MS;
}

/* The input is over: the guest's command reads an end of file. */
static void input_end(struct session *session)
{
	bool terminal = isatty(session->input_fd);
	session->input_fd = -1;
	if (terminal) {
		/* A terminal has no end, except that it is gone. */
		if (session->phase == SESSION_RUNNING)
			request_stop(session);
		return;
	}
	session->input_length = session->input_last && session->input_last != '\n' ? 2 : 1;
	session->input_done = 0;
	memset(session->input, 4, session->input_length);
}

/* The way out for a person whose guest hears nothing: the key three times within a second. */
static void escapes_count(struct session *session, size_t length)
{
	const char escape = 0x1d; /* Ctrl-] */
	for (size_t i = 0; i < length; i++) {
		if (session->input[i] != escape) {
			session->escapes = 0;
			continue;
		}
		if (session->escapes == 0 || now_ms() > session->escapes_end) {
			session->escapes = 0;
			session->escapes_end = now_ms() + 1000;
		}
		if (++session->escapes == 3) {
			session->escapes = 0;
			request_stop(session);
		}
	}
}

static void input_read(struct session *session)
{
	ssize_t n = read(session->input_fd, session->input, sizeof session->input);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		input_end(session);
		return;
	}
	session->input_length = (size_t)n;
	session->input_done = 0;
	session->input_last = session->input[n - 1];
	if (session->options->person)
		escapes_count(session, (size_t)n);
}

static bool input_pending(const struct session *session)
{
	return session->input_done < session->input_length;
}

static void input_write(struct session *session)
{
	ssize_t n = send(session->vm->process.console_in, session->input + session->input_done,
		session->input_length - session->input_done, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n >= 0)
		session->input_done += (size_t)n;
	else if (errno != EINTR && errno != EAGAIN)
		session->input_length = session->input_done = 0;
}

/* What the loop waits for now; an fd of -1 is passed over by poll(). */
static void poll_fill(const struct session *session, struct pollfd fds[static WAIT_COUNT])
{
	const struct process *process = &session->vm->process;
	const bool may_type = !session->options->has_command || session->exitline.ready ||
			      session->options->person;
	const bool out = output_pending(session), in = input_pending(session);
	const bool watched = session->output_watched && !session->output_gone;
	/* A guest that waits for its reader cannot end. */
	const bool held = session->phase == SESSION_RUNNING &&
			  session->output.length - session->output_done >= OUTPUT_MAX;
	const int values[WAIT_COUNT] = {
		[WAIT_PROCESS] = session->console_over ? process->pidfd : -1,
		[WAIT_GUEST] = session->console_over || held ? -1 : process->console_out,
		[WAIT_STOP] = session->stop_fd,
		[WAIT_SERVER] = session->server_fd,
		[WAIT_IN] = may_type && !in ? session->input_fd : -1,
		[WAIT_TO_GUEST] = in ? process->console_in : -1,
		[WAIT_OUT] = out || watched ? session->options->console_out : -1,
	};
	for (int i = 0; i < WAIT_COUNT; i++)
		fds[i] = (struct pollfd){.fd = values[i], .events = POLLIN};
	fds[WAIT_TO_GUEST].events = POLLOUT;
	/* That its reader has gone is told in any case. */
	fds[WAIT_OUT].events = out ? POLLOUT : 0;
}

static void poll_handle(struct session *session, const struct pollfd fds[static WAIT_COUNT])
{
	if (fds[WAIT_STOP].revents)
		stop_read(session);
	if (fds[WAIT_SERVER].revents)
		server_ended(session);
	if (fds[WAIT_OUT].revents && output_pending(session))
		output_write(session);
	else if (fds[WAIT_OUT].revents)
		output_lost(session);
	if (fds[WAIT_TO_GUEST].revents)
		input_write(session);
	if (fds[WAIT_IN].revents)
		input_read(session);
	if (fds[WAIT_GUEST].revents)
		guest_read(session);
}

/* Whether the VMM has ended and all it said is passed on, or nobody is left to pass it to. */
static bool is_over(const struct session *session)
{
	if (!session->console_over || !session->vm->process.reaped)
		return false;
	return !output_pending(session) || session->phase > SESSION_ASKED;
}

static void loop(struct session *session)
{
	while (!is_over(session)) {
		int sleep = timers_run(session);
		struct pollfd fds[WAIT_COUNT];
		poll_fill(session, fds);
		if (session->vm->process.reaped)
			fds[WAIT_PROCESS].fd = -1;
		if (poll(fds, WAIT_COUNT, sleep) < 0)
			continue;
		poll_handle(session, fds);
		if (session->console_over)
			process_wait(&session->vm->process, 0);
	}
}

/* It may have taken the VMM with it (a file that was mapped), before it was looked at. */
static bool server_is_over(const struct session *session)
{
	struct pollfd fd = {.fd = session->server_fd, .events = POLLIN};
	return session->server_ends != INT64_MAX || (poll(&fd, 1, 0) > 0 && fd.revents);
}

void session_run(struct session *session, const struct vmm *vmm, struct vm *vm, bool reconnects,
	const struct run_options *options)
{
	*session = (struct session){
		.vmm = vmm,
		.vm = vm,
		.options = options,
		.phase_ends = INT64_MAX,
		.timeout_ends = options->timeout ? now_ms() + (int64_t)options->timeout * 1000
						 : INT64_MAX,
		.exitline = {.nonce = options->nonce,
			.eager = options->person,
			.show_rest = options->verbose},
		.output_watched = fcntl(options->console_out, F_GETFD) >= 0,
		.input_fd = options->console_in,
		.stop_fd = options->stop_fd,
		.server_fd = options->server_fd,
		.server_ends = INT64_MAX,
		.reconnects = reconnects,
	};
	sigset_t pipe, before, pending;
	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	sigpending(&pending);
	pthread_sigmask(SIG_BLOCK, &pipe, &before);
	loop(session);
	session->unserved |= session->exitline.kind != EXITLINE_EXIT && server_is_over(session);
	if (!sigismember(&pending, SIGPIPE))
		while (sigtimedwait(&pipe, NULL, &(struct timespec){0}) > 0)
			;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void session_free(struct session *session)
{
	text_free(&session->output);
}
