/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plus sign may be part of a file's name (g++.squashfs), so one word can have two readings. A file
 * that is there by the whole word is what is meant, unless all images of the chain are there as well:
 * nobody can tell then, and both readings have a spelling of their own ("a\+b", and "a+./b").
 */
#include "base/chain_word.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"

void chain_word_free(struct chain_word *chain)
{
	free(chain->text);
	free(chain->layers);
	*chain = (struct chain_word){0};
}

/* Cut text at each plain '+', and undo "\+" in place. Answers how many pieces there are; parts has
 * room for one more than there are plus signs. */
static size_t split(char *text, const char **parts)
{
	size_t count = 0;
	char *to = text;
	parts[count++] = to;
	for (const char *from = text; *from; from++) {
		if (*from == '+') {
			*to++ = '\0';
			parts[count++] = to;
			continue;
		}
		if (from[0] == '\\' && from[1] == '+')
			from++;
		*to++ = *from;
	}
	*to = '\0';
	return count;
}

static bool all_there(const char *const *parts, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (access(parts[i], F_OK) < 0)
			return false;
	return true;
}

static int refuse_ambiguous(const char *word, const char *last, struct ramet_error *err)
{
	int before = (int)(strlen(word) - strlen(last));
	if (*last == '/')
		return error_set(err, EINVAL,
			"'%s' is a file, and a chain of images that are all there; write '\\+' for "
			"the plus signs of the file's name, or rename one",
			word);
	return error_set(err, EINVAL,
		"'%s' is a file, and a chain of images that are all there; write '\\+' for the plus "
		"signs of the file's name, or, for the chain, '%.*s./%s'",
		word, before, word, last);
}

int chain_word_parse(const char *word, struct chain_word *chain, struct ramet_error *err)
{
	*chain = (struct chain_word){.text = strdup(word)};
	size_t plus = 0;
	for (const char *c = word; *c; c++)
		plus += *c == '+';
	/* The base first, and room for a NULL at the end. */
	const char **parts = chain->layers = calloc(plus + 2, sizeof *parts);
	if (!chain->text || !parts)
		return error_memory(err);
	size_t count = split(chain->text, parts);
	bool is_file = plus && access(word, F_OK) == 0;
	if (is_file && count > 1 && all_there(parts, count))
		return refuse_ambiguous(word, parts[count - 1], err);
	if (is_file) {
		memcpy(chain->text, word, strlen(word) + 1);
		parts[0] = chain->text;
		count = 1;
	}
	for (size_t i = 0; i < count; i++)
		if (!*parts[i])
			return error_set(err, EINVAL, "'%s' names no image %s", word,
				i ? "after a '+'" : "before the first '+'");
	chain->base = parts[0];
	memmove(parts, parts + 1, plus * sizeof *parts + sizeof *parts);
	chain->layer_count = count - 1;
	parts[chain->layer_count] = NULL;
	return 0;
}

static const char *file_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash && slash[1] ? slash + 1 : path;
}

void chain_word_name(const char *base, const char *const *layers, char *buffer, size_t size)
{
	enum { SHOWN = 3 };
	size_t count = 0;
	while (layers && layers[count])
		count++;
	int used = snprintf(buffer, size, "%s", file_name(base));
	if (count > SHOWN && used >= 0 && (size_t)used < size)
		snprintf(buffer + used, size - (size_t)used, " and %zu layers", count);
	for (size_t i = 0; count <= SHOWN && i < count; i++) {
		if (used < 0 || (size_t)used >= size)
			return;
		used += snprintf(buffer + used, size - (size_t)used, "+%s", file_name(layers[i]));
	}
}
