/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a command writes, when no person is at the console. Its output is then a pipe and no
 * terminal, as in CI: nothing starts a pager or colours its lines. One pipe is both its standard
 * output and its standard error, which keeps their order. PID 1 copies it to the console, by an
 * open file of its own that does not block: a host that does not read must not keep PID 1 from
 * hearing that it is to end.
 *
 * The signals of PID 1 are blocked and come in through a signalfd, so that one poll() waits for all
 * there is. Where the kernel has none, or there is no console, the command keeps the console
 * itself, as with ramet.tty, and waiting is sigtimedwait().
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "init/pump.h"

/* How long a console that takes nothing is waited for once the VM is asked to end. */
#define STUCK_MS 2000

void pump_none(struct pump *pump, const sigset_t *signals)
{
	pump->signals = *signals;
	pump->events = pump->in = pump->out = -1;
	pump->from = pump->to = 0;
}

int pump_open(struct pump *pump, const sigset_t *signals)
{
	int ends[2];
	pump_none(pump, signals);
	pump->out = open("dev/console", O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	pump->events = signalfd(-1, signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (pump->out >= 0 && pump->events >= 0 && pipe2(ends, O_CLOEXEC) == 0) {
		pump->in = ends[0];
		return ends[1];
	}
	close(pump->out);
	close(pump->events);
	pump_none(pump, signals);
	return -1;
}

static bool holds(const struct pump *pump)
{
	return pump->from < pump->to;
}

/* Only when poll() has said that there is something: this is the only reader. */
static void fill(struct pump *pump)
{
	ssize_t n = read(pump->in, pump->buffer, sizeof pump->buffer);
	if (n < 0 && errno == EINTR)
		return;
	if (n <= 0) {
		/* Everybody has closed it: poll() would say so again and again. */
		close(pump->in);
		pump->in = -1;
		return;
	}
	pump->from = 0;
	pump->to = (size_t)n;
}

static void empty(struct pump *pump)
{
	ssize_t n = write(pump->out, pump->buffer + pump->from, pump->to - pump->from);
	if (n > 0)
		pump->from += (size_t)n;
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		/* A console that is gone must not hold the command. */
		pump->from = pump->to;
}

static int wait_without(const struct pump *pump, int ms)
{
	struct timespec slice = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
	int signal = sigtimedwait(&pump->signals, NULL, ms < 0 ? NULL : &slice);
	return signal > 0 ? signal : errno == EAGAIN ? PUMP_TIME : PUMP_GOES_ON;
}

int pump_wait(struct pump *pump, int ms)
{
	if (pump->events < 0)
		return wait_without(pump, ms);
	struct pollfd fds[] = {
		{.fd = pump->events, .events = POLLIN},
		{.fd = holds(pump) ? pump->out : -1, .events = POLLOUT},
		{.fd = holds(pump) ? -1 : pump->in, .events = POLLIN},
	};
	int n = poll(fds, sizeof fds / sizeof *fds, ms);
	if (n <= 0)
		return n == 0 ? PUMP_TIME : PUMP_GOES_ON;
	if (fds[1].revents)
		empty(pump);
	if (fds[2].revents)
		fill(pump);
	struct signalfd_siginfo info;
	if (fds[0].revents && read(pump->events, &info, sizeof info) == sizeof info)
		return (int)info.ssi_signo;
	return PUMP_GOES_ON;
}

static bool is_dry(const struct pump *pump)
{
	int left = 0;
	return !holds(pump) && (pump->in < 0 || ioctl(pump->in, FIONREAD, &left) < 0 || left == 0);
}

void pump_drain(struct pump *pump, bool patient)
{
	while (!is_dry(pump)) {
		int signal = pump_wait(pump, patient ? -1 : STUCK_MS);
		if (signal == PUMP_TIME)
			return;
		if (signal == SIGINT || signal == SIGTERM)
			patient = false;
	}
}
