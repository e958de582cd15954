/* SPDX-License-Identifier: Apache-2.0 */
/* A place in an image in one word: "base.squashfs:/etc/passwd", "base.squashfs+delta.squashfs:/". */
#ifndef CLI_PLACE_H
#define CLI_PLACE_H

#include "base/chain_word.h"
#include "cli/cli.h"

struct cli_place {
	char *text;
	struct chain_word chain;
	struct ramet_place place; /* points into both */
};

/* Whether word names a place: it has ":/" in it, or ends in ':'. */
bool cli_is_place(const char *word);

/*
 * Take a word apart at its first ":/", or at a ':' at its end; before it stand an image or a chain.
 * An image in a folder whose name ends in ':' is named from within that folder. -EINVAL for what is
 * no place, with what to write.
 */
int cli_place_parse(const char *word, struct cli_place *place, struct ramet_error *err);
void cli_place_free(struct cli_place *place);
#define _cleanup_cli_place_ __attribute__((cleanup(cli_place_free)))

/* How a command ends that wrote to standard output and failed with r: when whoever read it has gone,
 * by SIGPIPE and without a word, as any program in a pipe. Otherwise answers r. */
int cli_end_of_pipe(int r);

#endif
