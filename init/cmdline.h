/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel command line asks of the init. Pure: no system call, no allocation. */
#ifndef INIT_CMDLINE_H
#define INIT_CMDLINE_H

#include <stdbool.h>
#include <stddef.h>

#include "init/names.h"

#define CMDLINE_MAX_ARGUMENTS 512
#define CMDLINE_MAX_RO        64
#define CMDLINE_MAX_ENV       1024
#define CMDLINE_MAX_GROUPS    64

struct cmdline {
	/* All strings point into the text that was parsed. NULL: not given. */
	const char *volume; /* a name in /dev; NULL: changes stay in memory */
	const char *layers[INIT_MAX_LAYERS];
	size_t layer_count;                    /* at least 1 */
	char *exec[CMDLINE_MAX_ARGUMENTS + 1]; /* NULL-terminated */
	size_t exec_count;                     /* 0: run the image's init */
	char *ro[CMDLINE_MAX_RO];
	size_t ro_count;
	char *env[CMDLINE_MAX_ENV]; /* each with a "=" that is not its first byte */
	size_t env_count;
	char *user[CMDLINE_MAX_GROUPS + 1]; /* USER[:GROUP], then further groups */
	size_t user_count;                  /* 0: root */
	const char *cwd, *nonce, *hostname, *init, *handover;
	bool clone, read_only, verbose, tty;
	unsigned short rows, columns;
	char error[256]; /* a sentence when cmdline_parse answered false */
};

/*
 * Parse text, a command line without its newline, in place; it must live as long as cmdline does.
 * False, and a sentence in error, when it asks for something that is not understood; the nonce is
 * found even then.
 */
bool cmdline_parse(struct cmdline *cmdline, char *text);
/* The same for two texts, of which the second counts more; before may be NULL. */
bool cmdline_parse_both(struct cmdline *cmdline, char *before, char *text);

#endif
