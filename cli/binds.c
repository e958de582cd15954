/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/binds.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* "SRC:DST[:ro]": DST begins at the last ":/", so SRC may have colons in it. */
static int parse_bind(char *word, struct ramet_bind *bind)
{
	size_t length = strlen(word);
	bind->read_only = length > 3 && strcmp(word + length - 3, ":ro") == 0;
	if (bind->read_only)
		word[length - 3] = '\0';
	char *target = NULL;
	for (char *at = word; (at = strstr(at, ":/")); at++)
		target = at;
	if (!target || target == word)
		return -EINVAL;
	*target = '\0';
	bind->source = word;
	bind->target = target + 1;
	return 0;
}

int binds_parse(
	const struct invocation *invocation, const struct string_list *list, struct binds *binds)
{
	*binds = (struct binds){
		.items = calloc(list->count + 1, sizeof *binds->items),
		.words = calloc(list->count + 1, sizeof *binds->words),
	};
	if (!binds->items || !binds->words)
		return cli_memory(invocation);
	for (; binds->count < list->count; binds->count++) {
		const char *word = list->items[binds->count];
		char *copy = binds->words[binds->count] = strdup(word);
		if (!copy)
			return cli_memory(invocation);
		if (parse_bind(copy, &binds->items[binds->count]) < 0)
			return cli_usage(invocation,
				"--bind takes SRC:DST[:ro] with an absolute DST, not '%s'", word);
	}
	return 0;
}

void binds_free(struct binds *binds)
{
	for (char **word = binds->words; word && *word; word++)
		free(*word);
	free(binds->words);
	free(binds->items);
}
