/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The signals are blocked and read from an fd before the terminal is touched, so every way out but
 * SIGKILL comes by terminal_restore().
 *
 * Output processing stays on: the guest ends lines with a bare newline, and a VM's messages and
 * ramet's own mix on one screen.
 */
#include "cli/terminal.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* tcsetattr() from a background job would stop it (SIGTTOU). */
static int set_quietly(const struct termios *settings)
{
	sigset_t ttou, before;
	sigemptyset(&ttou);
	sigaddset(&ttou, SIGTTOU);
	sigprocmask(SIG_BLOCK, &ttou, &before);
	int r = tcsetattr(STDIN_FILENO, TCSADRAIN, settings);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return r;
}

bool terminal_raw(struct terminal *terminal)
{
	if (tcgetattr(STDIN_FILENO, &terminal->before) < 0)
		return false;
	struct termios raw = terminal->before;
	cfmakeraw(&raw);
	raw.c_oflag = terminal->before.c_oflag;
	terminal->raw = set_quietly(&raw) == 0;
	return terminal->raw;
}

void terminal_restore(struct terminal *terminal)
{
	if (terminal->raw)
		set_quietly(&terminal->before);
	terminal->raw = false;
}

int stop_signals_open(void)
{
	static const int wanted[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	sigset_t set;
	sigemptyset(&set);
	for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
		struct sigaction now;
		if (sigaction(wanted[i], NULL, &now) == 0 && now.sa_handler != SIG_IGN)
			sigaddset(&set, wanted[i]);
	}
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}
