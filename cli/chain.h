/* SPDX-License-Identifier: Apache-2.0 */
/* A chain of images in one word: "base.squashfs+delta.squashfs". */
#ifndef CLI_CHAIN_H
#define CLI_CHAIN_H

#include "cli/cli.h"

/* base and layers (NULL-terminated) point into text. */
struct cli_chain {
	char *text;
	const char *base;
	const char **layers;
	size_t layer_count;
};

/*
 * Take a word apart: images with '+' between, the bottom one first. "\+" is a plus that belongs to a
 * name. A word that, as it stands, is the name of something that is there is one image; where it
 * could be read as a chain of images that are there too, it is refused (-EINVAL). -EINVAL, too, for
 * an empty name.
 */
int cli_chain_parse(const char *word, struct cli_chain *chain, struct ramet_error *err);
void cli_chain_free(struct cli_chain *chain);
#define _cleanup_cli_chain_ __attribute__((cleanup(cli_chain_free)))

/* The names without their folders, as a message has them: "a.squashfs+b.squashfs", or, of a long
 * chain, "a.squashfs and 17 layers". */
void cli_chain_name(const struct cli_chain *chain, char *buffer, size_t size);

#endif
