/* SPDX-License-Identifier: Apache-2.0 */
/* The command's output on its way to the console, and waiting for signals meanwhile. */
#ifndef INIT_PUMP_H
#define INIT_PUMP_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

struct pump {
	sigset_t signals;
	int events;  /* a signalfd; -1: nothing is pumped, signals are waited for without it */
	int in, out; /* the pipe's end to read, -1 when it is over; the console */
	size_t from, to;
	char buffer[16384];
};

/* What pump_wait() answers but for signals. */
enum { PUMP_TIME = -1, PUMP_GOES_ON = 0 };

/* Both of these make a pump that can wait for signals, which are blocked. The first answers the
 * end of the pipe that is to be the command's output (close-on-exec), or -1 when it is to have the
 * console itself; the workshop is the current directory. The second is for that without trying. */
int pump_open(struct pump *pump, const sigset_t *signals);
void pump_none(struct pump *pump, const sigset_t *signals);
/* Wait up to ms milliseconds (-1: for ever) for a signal, and answer it; or copy something on. */
int pump_wait(struct pump *pump, int ms);
/* Copy what is left, when nobody writes any more. An impatient one gives up when the console takes
 * nothing for two seconds; SIGINT or SIGTERM make a patient one so. */
void pump_drain(struct pump *pump, bool patient);

#endif
