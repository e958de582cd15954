/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mark is a newline, one of the words below, the nonce and a colon; then comes the
 * value up to the next newline. The console may turn each newline into "\r\n". Bytes are held as
 * long as they are the beginning of a mark; when the next one does not fit, the first held byte
 * goes out and the rest is looked at again, so that "\n\nramet-exit:" is found too.
 */
#include "vmm/exitline.h"

#include <stdint.h>
#include <string.h>

#include "init/names.h"
#include "vmm/tail.h"

/* How far a text of up to length bytes at held fits the mark: the whole of it (1), its beginning
 * (0), or not (-1). */
static int mark_match(const struct exitline *exitline, const char *mark)
{
	const char *held = exitline->held, *end = held + exitline->held_length;
	if (!exitline->at_start) {
		if (held < end && *held == '\r')
			held++;
		if (held < end && *held++ != '\n')
			return -1;
	}
	const char *const parts[] = {mark, exitline->nonce, ":"};
	for (size_t i = 0; i < 3; i++) {
		size_t length = strlen(parts[i]), there = (size_t)(end - held);
		size_t n = there < length ? there : length;
		if (memcmp(held, parts[i], n) != 0)
			return -1;
		if (n < length)
			return 0;
		held += n;
	}
	return 1;
}

/* What the held bytes are: EXITLINE_NONE with *open when they may still become a mark. */
static enum exitline_kind held_kind(const struct exitline *exitline, bool *open)
{
	static const char *const marks[] = {
		[EXITLINE_EXIT] = INIT_LINE_EXIT,
		[EXITLINE_FAIL] = INIT_LINE_FAIL,
		[EXITLINE_READY] = INIT_LINE_READY,
	};
	*open = false;
	for (enum exitline_kind kind = EXITLINE_EXIT; kind <= EXITLINE_READY; kind++) {
		int match = mark_match(exitline, marks[kind]);
		if (match == 1)
			return kind;
		*open |= match == 0;
	}
	return EXITLINE_NONE;
}

/* Let go of the first held byte. */
static void held_release(struct exitline *exitline, struct text *out)
{
	text_append_bytes(out, exitline->held, 1);
	exitline->at_start = exitline->eager && exitline->held[0] == '\n';
	exitline->held_length--;
	memmove(exitline->held, exitline->held + 1, exitline->held_length);
}

/* The line after a mark is whole. */
static void value_take(struct exitline *exitline)
{
	enum exitline_kind kind = exitline->reading;
	exitline->reading = EXITLINE_NONE;
	if (exitline->rest_length && exitline->rest[exitline->rest_length - 1] == '\r')
		exitline->rest_length--;
	exitline->rest[exitline->rest_length] = '\0';
	uint64_t status;
	if (kind == EXITLINE_READY) {
		exitline->ready = true;
	} else if (exitline->kind != EXITLINE_NONE) {
		return;
	} else if (kind == EXITLINE_FAIL) {
		tail_clean(exitline->rest, exitline->rest_length, exitline->sentence,
			sizeof exitline->sentence);
		exitline->kind = EXITLINE_FAIL;
	} else if (text_parse_uint(exitline->rest, 255, &status) == 0) {
		exitline->status = (int)status;
		exitline->kind = EXITLINE_EXIT;
	}
}

static void value_feed(struct exitline *exitline, char c)
{
	if (c == '\n')
		value_take(exitline);
	else if (exitline->rest_length < sizeof exitline->rest - 1)
		exitline->rest[exitline->rest_length++] = c;
}

static bool is_newline(const struct exitline *exitline)
{
	size_t n = exitline->held_length;
	return exitline->held[n - 1] == '\n' && (n == 1 || (n == 2 && exitline->held[0] == '\r'));
}

static void held_feed(struct exitline *exitline, char c, struct text *out)
{
	exitline->held[exitline->held_length++] = c;
	while (exitline->held_length) {
		/* A person waits for this newline; the mark may follow all the same. */
		if (exitline->eager && is_newline(exitline)) {
			while (exitline->held_length)
				held_release(exitline, out);
			return;
		}
		bool open = false;
		enum exitline_kind kind = held_kind(exitline, &open);
		if (kind != EXITLINE_NONE) {
			exitline->reading = kind;
			exitline->held_length = exitline->rest_length = 0;
			exitline->at_start = false;
			return;
		}
		if (open && exitline->held_length < sizeof exitline->held)
			return;
		held_release(exitline, out);
	}
}

void exitline_feed(struct exitline *exitline, const char *bytes, size_t length, struct text *out)
{
	const char *end = bytes + length;
	while (bytes < end) {
		if (exitline->kind != EXITLINE_NONE && !exitline->show_rest)
			return;
		if (exitline->reading != EXITLINE_NONE) {
			value_feed(exitline, *bytes++);
			continue;
		}
		if (exitline->held_length == 0 && !exitline->at_start) {
			/* Only these two begin a mark: all before them goes out at once. */
			const char *stop = bytes;
			while (stop < end && *stop != '\n' && *stop != '\r')
				stop++;
			text_append_bytes(out, bytes, (size_t)(stop - bytes));
			bytes = stop;
			if (bytes == end)
				break;
		}
		held_feed(exitline, *bytes++, out);
	}
}

void exitline_end(struct exitline *exitline, struct text *out)
{
	text_append_bytes(out, exitline->held, exitline->held_length);
	exitline->held_length = 0;
	/* A sentence that was cut short still says more than none; a cut number says another one. */
	if (exitline->reading == EXITLINE_FAIL)
		value_take(exitline);
}
