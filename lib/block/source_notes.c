/* SPDX-License-Identifier: Apache-2.0 */
/* A byte for each file remembers the causes that were told. The pages of that table that nobody's
 * trouble stands in cost nothing. */
#include "block/source_notes.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "base/vector.h"

struct stalled_file {
	uint32_t file, root;
	unsigned count; /* reads */
};

struct source_notes {
	const struct lazy *lazy;
	struct block_layout_options options;
	pthread_mutex_t lock; /* of all below */
	uint8_t *told;        /* of each file: a bit for each cause */
	VECTOR(struct stalled_file) stalled;
};

int source_notes_new(const struct lazy *lazy, const struct block_layout_options *options,
	struct source_notes **out)
{
	struct lazy_facts facts;
	lazy_describe(lazy, &facts);
	struct source_notes *notes = calloc(1, sizeof *notes);
	uint8_t *told = calloc((size_t)facts.files + 1, 1);
	if (!notes || !told) {
		free(notes);
		free(told);
		return -ENOMEM;
	}
	notes->lazy = lazy;
	notes->options = *options;
	notes->told = told;
	pthread_mutex_init(&notes->lock, NULL);
	*out = notes;
	return 0;
}

void source_notes_free(struct source_notes *notes)
{
	if (!notes)
		return;
	pthread_mutex_destroy(&notes->lock);
	vector_free(&notes->stalled);
	free(notes->told);
	free(notes);
}

static const char *root_name(const struct source_notes *notes, uint32_t root)
{
	const char *const *names = notes->options.root_names;
	return names ? names[root] : lazy_root(notes->lazy, root);
}

/* The file's full name. Names come from strangers: no control characters get through. */
static void append_name(const struct source_notes *notes, uint32_t file, struct text *text)
{
	struct lazy_file seen;
	lazy_file(notes->lazy, file, &seen);
	const char *root = root_name(notes, seen.root);
	text_append(text, root);
	if (root[strlen(root) - 1] != '/')
		text_append(text, "/");
	if (lazy_file_path(notes->lazy, file, text) < 0)
		text_append(text, "?");
	if (text->data)
		text_disarm(text->data);
}

static void say(const struct source_notes *notes, const struct text *text)
{
	if (!text->failed && notes->options.note)
		notes->options.note(notes->options.note_ctx, text->data);
}

static const char *const sentences[SOURCE_CAUSES] = {
	[SOURCE_GONE] = "is gone since the image was described",
	[SOURCE_CHANGED] = "changed since the image was described",
	[SOURCE_REPLACED] = "was replaced by another since the image was described",
	[SOURCE_REFUSED] = "may not be read by the one who serves it",
	[SOURCE_UNREACHABLE] = "cannot be read",
};
static const char *const advice[SOURCE_CAUSES] = {
	[SOURCE_GONE] = "put it back as it was, or build the image again",
	[SOURCE_CHANGED] = "put it back as it was, or build the image again",
	[SOURCE_REPLACED] = "put the old one back, or build the image again",
	[SOURCE_REFUSED] = "allow it to read the file",
	[SOURCE_UNREACHABLE] = "see to what it is stored on; it is tried again",
};

void source_note_cause(struct source_notes *notes, uint32_t file, enum source_cause cause, int code)
{
	if (cause == SOURCE_RIGHT)
		return;
	pthread_mutex_lock(&notes->lock);
	bool told = notes->told[file] >> cause & 1;
	notes->told[file] |= (uint8_t)(1 << cause);
	pthread_mutex_unlock(&notes->lock);
	if (told)
		return;
	_cleanup_text_ struct text text = {0};
	char reason[128];
	append_name(notes, file, &text);
	text_format(&text, " %s", sentences[cause]);
	if (cause == SOURCE_UNREACHABLE)
		text_format(&text, " (%s)", strerror_r(code, reason, sizeof reason));
	text_format(&text, ": its blocks give I/O errors; %s", advice[cause]);
	say(notes, &text);
}

static struct stalled_file *find_stalled(struct source_notes *notes, uint32_t file)
{
	for (size_t i = 0; i < notes->stalled.count; i++)
		if (notes->stalled.items[i].file == file)
			return &notes->stalled.items[i];
	return NULL;
}

static bool any_of_root(const struct source_notes *notes, uint32_t root)
{
	for (size_t i = 0; i < notes->stalled.count; i++)
		if (notes->stalled.items[i].root == root)
			return true;
	return false;
}

/* Count it. true: it is the first of its root, or was the last. */
static bool count_stalled(struct source_notes *notes, uint32_t file, uint32_t root, bool over)
{
	struct stalled_file *stalled = find_stalled(notes, file);
	if (over) {
		if (!stalled || --stalled->count)
			return false;
		*stalled = notes->stalled.items[--notes->stalled.count];
		return !any_of_root(notes, root);
	}
	if (stalled) {
		stalled->count++;
		return false;
	}
	bool first = !any_of_root(notes, root);
	stalled = vector_push(&notes->stalled);
	if (stalled)
		*stalled = (struct stalled_file){.file = file, .root = root, .count = 1};
	return stalled && first;
}

void source_note_stalled(struct source_notes *notes, uint32_t file, bool over)
{
	struct lazy_file seen;
	lazy_file(notes->lazy, file, &seen);
	pthread_mutex_lock(&notes->lock);
	bool tell = count_stalled(notes, file, seen.root, over);
	pthread_mutex_unlock(&notes->lock);
	if (!tell)
		return;
	_cleanup_text_ struct text text = {0};
	if (over) {
		text_format(&text, "%s answers again", root_name(notes, seen.root));
	} else {
		append_name(notes, file, &text);
		text_format(&text, " stalls: nothing came of it for %u.%u s; reads of it %s",
			notes->options.stall_ms / 1000, notes->options.stall_ms / 100 % 10,
			notes->options.fail_stalled ? "fail until it answers"
						    : "wait until it answers");
	}
	say(notes, &text);
}

bool source_is_stalled(struct source_notes *notes, uint32_t file)
{
	pthread_mutex_lock(&notes->lock);
	bool stalled = notes->stalled.count && find_stalled(notes, file);
	pthread_mutex_unlock(&notes->lock);
	return stalled;
}
