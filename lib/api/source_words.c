/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lazy file names folders of the host. One that this store wrote names those that its user named; one
 * from elsewhere could name any, so its user has to say them again. The same words say where folders
 * are now that were moved.
 */
#include "api/source_words.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"

int source_words_check(const char *const *words, const char *lazy, const char *first, size_t count,
	struct ramet_error *err)
{
	for (size_t i = 0; words && words[i]; i++)
		if (count != 1 && !strchr(words[i], '='))
			return error_set(err, EINVAL,
				"%s stands on %zu folders, the first of which is %s: write --source "
				"OLD=DIR, or --source 1=DIR, in place of --source %s",
				lazy, count, first, words[i]);
	return 0;
}

static const char *find(const char *const *words, const struct source_root *root)
{
	for (size_t i = 0; words && words[i]; i++) {
		const char *word = words[i];
		size_t length = strlen(root->path);
		if (strncmp(word, root->path, length) == 0 && word[length] == '=')
			return word + length + 1;
		size_t digits = strspn(word, "0123456789");
		if (digits && word[digits] == '=') {
			if (strtoull(word, NULL, 10) == root->number)
				return word + digits + 1;
			continue;
		}
		if (root->count == 1 && !strchr(word, '='))
			return word;
	}
	return NULL;
}

int source_words_open(const char *const *words, const struct source_root *root, const char **path,
	struct ramet_error *err)
{
	const char *given = find(words, root);
	if (path)
		*path = given ? given : root->path;
	/* What a lazy file says may be made to move the cursor. */
	_cleanup_free_ char *shown = strdup(root->path);
	if (!shown)
		return error_memory(err);
	text_disarm(shown);
	if (!root->made && !given)
		return error_set(err, EPERM,
			"%s was not written by this store, and it names the folder %s; if you want "
			"that read, say so with --source %s",
			root->lazy, shown, shown);
	int fd = open(given ? given : root->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	return error_errno(err, errno, "cannot open the folder %s that %s stands on%s",
		given ? given : shown, root->lazy,
		given ? "" : "; if it was moved, name it with --source DIR");
}
