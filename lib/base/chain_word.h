/* SPDX-License-Identifier: Apache-2.0 */
/* A chain of images in one word: "base.squashfs+delta.squashfs". */
#ifndef BASE_CHAIN_WORD_H
#define BASE_CHAIN_WORD_H

#include "base/error.h"

/* base and layers (NULL-terminated) point into text. */
struct chain_word {
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
int chain_word_parse(const char *word, struct chain_word *chain, struct ramet_error *err);
void chain_word_free(struct chain_word *chain);
#define _cleanup_chain_word_ __attribute__((cleanup(chain_word_free)))

/* The names without their folders, as a message has them: "a.squashfs+b.squashfs", or, of a long
 * chain, "a.squashfs and 17 layers". */
void chain_word_name(const char *base, const char *const *layers, char *buffer, size_t size);

#endif
