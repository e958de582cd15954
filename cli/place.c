/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/place.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* The ':' that ends the image's name, or NULL. */
static const char *find_colon(const char *word)
{
	const char *colon = strstr(word, ":/");
	size_t length = strlen(word);
	if (!colon && length && word[length - 1] == ':')
		colon = word + length - 1;
	return colon;
}

bool cli_is_place(const char *word)
{
	return find_colon(word) != NULL;
}

int cli_place_parse(const char *word, struct cli_place *place, struct ramet_error *err)
{
	*place = (struct cli_place){.text = strdup(word)};
	if (!place->text)
		return error_memory(err);
	const char *colon = find_colon(word);
	if (!colon)
		return error_set(err, EINVAL,
			"'%s' names no place in an image; write IMAGE:/PATH, '%s:/' for all of it",
			word, word);
	char *end = place->text + (colon - word);
	*end = '\0';
	int r = chain_word_parse(place->text, &place->chain, err);
	place->place = (struct ramet_place){
		.image = place->chain.base, .layers = place->chain.layers, .path = end + 1};
	return r;
}

void cli_place_free(struct cli_place *place)
{
	chain_word_free(&place->chain);
	free(place->text);
	*place = (struct cli_place){0};
}

int cli_end_of_pipe(int r)
{
	/* Who has us ignore the signal wants to hear of it. */
	if (r != -EPIPE || signal(SIGPIPE, SIG_DFL) == SIG_IGN)
		return r;
	raise(SIGPIPE);
	return r;
}
