/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One JSON object, written as the changes come: a library would hold all of them in memory first.
 * A change has its kind and path, and what is there now ("type", "mode", ...; of what was there
 * when it was deleted). Names need not be UTF-8 and JSON must be: such a path has U+FFFD
 * where its bytes are none, and the true bytes in "path_base64".
 */
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "changes/forms.h"
#include "changes/names.h"
#include "changes/object.h"
#include "changes/side.h"

static void put_what(struct text *text, unsigned what)
{
	static const struct {
		unsigned bit;
		const char *name;
	} names[] = {{CHANGE_CONTENT, "content"}, {CHANGE_MODE, "mode"}, {CHANGE_OWNER, "owner"},
		{CHANGE_XATTRS, "xattrs"}};
	const char *separator = "";
	text_append(text, ", \"what\": [");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (what & names[i].bit) {
			text_format(text, "%s\"%s\"", separator, names[i].name);
			separator = ", ";
		}
	text_append(text, "]");
}

static int json_begin(struct form_state *state, struct ramet_error *err)
{
	_cleanup_text_ struct text head = {0};
	bool lossy = false;
	text_append(&head, "{\"fork\": ");
	name_json(&head, state->fork, &lossy);
	text_append(&head, ", \"changes\": [");
	if (head.failed)
		return error_memory(err);
	sink_write(&state->sink, head.data, head.length);
	return 0;
}

static uint64_t count_all(const struct ramet_diff_result *result)
{
	return result->added + result->modified + result->deleted + result->retyped;
}

static int json_each(struct form_state *state, const struct change *change, struct ramet_error *err)
{
	const struct change_side *side = change->new ? change->new : change->old;
	_cleanup_text_ struct text text = {0};
	text_format(&text, "%s\n  {\"kind\": \"%c\"", count_all(state->result) > 1 ? "," : "",
		change->kind);
	text_append(&text, ", ");
	object_json_bytes(&text, "path", change->path);
	text_append(&text, ", ");
	object_json_stat(&text, &side->stat);
	if (change->kind == CHANGE_RETYPED)
		text_format(&text, ", \"old_type\": \"%s\"", object_type(change->old->stat.mode));
	if (S_ISLNK(side->stat.mode)) {
		_cleanup_free_ char *target = NULL;
		int r = side_readlink(side, &target, err);
		if (r < 0)
			return r;
		text_append(&text, ", ");
		object_json_bytes(&text, "target", target);
	}
	if (change->kind == CHANGE_MODIFIED)
		put_what(&text, change->what);
	text_append(&text, "}");
	if (text.failed)
		return error_memory(err);
	sink_write(&state->sink, text.data, text.length);
	return 0;
}

static int json_end(struct form_state *state, struct ramet_error *err)
{
	const struct ramet_diff_result *r = state->result;
	sink_format(&state->sink,
		"%s], \"summary\": {\"added\": %" PRIu64 ", \"modified\": %" PRIu64
		", \"deleted\": %" PRIu64 ", \"retyped\": %" PRIu64
		"}, \"journal_replayed\": %s}\n",
		count_all(r) ? "\n" : "", r->added, r->modified, r->deleted, r->retyped,
		r->journal_replayed ? "true" : "false");
	return 0;
}

const struct form form_json = {
	.name = "json", .begin = json_begin, .each = json_each, .end = json_end};
