/* SPDX-License-Identifier: Apache-2.0 */
/* "M /etc/hosts": a line for each change. */
#include "changes/forms.h"
#include "changes/names.h"

static int list_begin(struct form_state *state, struct ramet_error *err)
{
	return 0;
}

static int list_each(struct form_state *state, const struct change *change, struct ramet_error *err)
{
	char kind[3] = {(char)change->kind, ' ', '\0'};
	sink_string(&state->sink, kind);
	if (!name_needs_quotes(change->path)) {
		sink_string(&state->sink, change->path);
	} else {
		_cleanup_text_ struct text shown = {0};
		name_show(&shown, "", change->path);
		if (shown.failed)
			return error_memory(err);
		sink_string(&state->sink, shown.data);
	}
	sink_write(&state->sink, "\n", 1);
	return 0;
}

static int list_end(struct form_state *state, struct ramet_error *err)
{
	return 0;
}

const struct form form_list = {
	.name = "list", .begin = list_begin, .each = list_each, .end = list_end};
