/* SPDX-License-Identifier: Apache-2.0 */
/* Takes the guest init's own lines out of the console's stream (init/names.h says what it is). */
#ifndef VMM_EXITLINE_H
#define VMM_EXITLINE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

enum exitline_kind { EXITLINE_NONE, EXITLINE_EXIT, EXITLINE_FAIL, EXITLINE_READY };

/* Start with {.nonce = ...}. */
struct exitline {
	const char *nonce; /* borrowed */
	/* A person reads the stream: newlines go out at once, also the one that turns out to belong
	 * to the exit line. Without it the command's output is kept to the byte. */
	bool eager;
	/* What comes after the last line is shown too: the kernel's words on its reboot. */
	bool show_rest;

	bool ready;              /* the command has been started */
	enum exitline_kind kind; /* how it ended: EXITLINE_EXIT, EXITLINE_FAIL, or not yet */
	int status;              /* EXITLINE_EXIT: 0 to 255 */
	char sentence[512];      /* EXITLINE_FAIL: cleaned for quoting */

	/* Its own. */
	char held[160]; /* bytes that may yet become an exit line */
	size_t held_length;
	enum exitline_kind reading; /* the mark is complete, the rest of its line is read */
	char rest[512];
	size_t rest_length;
	bool at_start; /* eager: the newline that goes before the mark has gone out */
};

/* What of these bytes is the guest's own is added to out. */
void exitline_feed(struct exitline *exitline, const char *bytes, size_t length, struct text *out);
/* The stream is over: what was held goes out. */
void exitline_end(struct exitline *exitline, struct text *out);

#endif
