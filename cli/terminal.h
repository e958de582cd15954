/* SPDX-License-Identifier: Apache-2.0 */
/* The user's terminal while a guest has it, and the signals that end a run. */
#ifndef CLI_TERMINAL_H
#define CLI_TERMINAL_H

#include <stdbool.h>
#include <termios.h>

struct terminal {
	bool raw;
	struct termios before;
};

/* Every key goes to whoever reads standard input. false: it is not a terminal. */
bool terminal_raw(struct terminal *terminal);
void terminal_restore(struct terminal *terminal);

/* A signalfd for the signals that ask a program to end, which are blocked from now on; those that
 * the caller of ramet has chosen to ignore stay ignored. A negative errno on failure. */
int stop_signals_open(void);

#endif
