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

bool *source_words_marks(const char *const *given)
{
	size_t count = 0;
	while (given && given[count])
		count++;
	return calloc(count + 1, sizeof(bool));
}

int source_words_load(struct source_words *words, struct ramet_store *store, int64_t image,
	const char *const *given, struct ramet_error *err)
{
	*words = (struct source_words){.given = given, .meant = source_words_marks(given)};
	if (!words->meant)
		return error_memory(err);
	return store ? store_roots_find(store, image, &words->noted, err) : 0;
}

void source_words_free(struct source_words *words)
{
	store_roots_free(&words->noted);
	free(words->meant);
}

int source_words_check(const struct source_words *words, const char *lazy, const char *first,
	size_t count, struct ramet_error *err)
{
	const char *const *given = words->given;
	for (size_t i = 0; given && given[i]; i++)
		if (count != 1 && !strchr(given[i], '='))
			return error_set(err, EINVAL,
				"%s stands on %zu folders, the first of which is %s: write --source "
				"OLD=DIR, or --source 1=DIR, in place of --source %s",
				lazy, count, first, given[i]);
	return 0;
}

/* What it says of the folder; NULL: nothing. */
static const char *read_word(const char *word, const struct source_root *root)
{
	size_t length = strlen(root->path);
	if (strncmp(word, root->path, length) == 0 && word[length] == '=')
		return word + length + 1;
	size_t digits = strspn(word, "0123456789");
	if (digits && word[digits] == '=')
		return strtoull(word, NULL, 10) == root->number ? word + digits + 1 : NULL;
	return root->count == 1 && !strchr(word, '=') ? word : NULL;
}

const char *source_words_given(const struct source_words *words, const struct source_root *root)
{
	const char *place = NULL;
	for (size_t i = 0; words->given && words->given[i] && !place; i++) {
		place = read_word(words->given[i], root);
		words->meant[i] = words->meant[i] || place;
	}
	return place;
}

int source_words_refuse_idle(
	const char *const *given, const bool *meant, const char *whose, struct ramet_error *err)
{
	for (size_t i = 0; given && given[i]; i++)
		if (!meant[i])
			return error_set(err, EINVAL,
				"--source %s means no folder that %s stands on, or one that was "
				"named before; 'ramet inspect' tells those of a lazy image",
				given[i], whose);
	return 0;
}

const char *source_words_place(const struct source_words *words, const struct source_root *root)
{
	const char *given = source_words_given(words, root);
	if (!given && root->number <= words->noted.count)
		given = words->noted.paths[root->number - 1];
	return given;
}

/* Who says it each time may say it once for all. */
static int refuse(const struct source_words *words, const struct source_root *root, int code,
	const char *place, struct ramet_error *err)
{
	if (source_words_given(words, root))
		return error_errno(err, code, "cannot open the folder %s that %s stands on", place,
			root->lazy);
	return error_errno(err, code,
		"cannot open the folder %s that %s stands on; if it was moved, name it with "
		"--source DIR, or once for all with 'ramet verify %s --source %sDIR'",
		place, root->lazy, root->lazy, root->count == 1 ? "" : "N=");
}

int source_words_open(const struct source_words *words, const struct source_root *root,
	const char **path, struct ramet_error *err)
{
	const char *known = source_words_place(words, root);
	if (path)
		*path = known ? known : root->path;
	/* What a lazy file says may be made to move the cursor. */
	_cleanup_free_ char *shown = strdup(known ? known : root->path);
	if (!shown)
		return error_memory(err);
	text_disarm(shown);
	if (!root->made && !known)
		return error_set(err, EPERM,
			"%s was not written by this store, and it names the folder %s; if you want "
			"that read, say so with --source %s",
			root->lazy, shown, shown);
	int fd = open(known ? known : root->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? refuse(words, root, errno, shown, err) : fd;
}
