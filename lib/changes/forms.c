/* SPDX-License-Identifier: Apache-2.0 */
#include "changes/forms.h"

#include <string.h>

static const struct form *const forms[] = {&form_list, &form_json, &form_tar, &form_patch, NULL};

const struct form *form_find(const char *name)
{
	if (!name)
		return &form_list;
	for (size_t i = 0; forms[i]; i++)
		if (strcmp(forms[i]->name, name) == 0)
			return forms[i];
	return NULL;
}

struct writing {
	const struct form *form;
	struct form_state state;
};

static void count_change(struct ramet_diff_result *result, enum change_kind kind)
{
	switch (kind) {
	case CHANGE_ADDED:
		result->added++;
		break;
	case CHANGE_MODIFIED:
		result->modified++;
		break;
	case CHANGE_DELETED:
		result->deleted++;
		break;
	case CHANGE_RETYPED:
		result->retyped++;
		break;
	}
}

static int writing_each(void *ctx, const struct change *change, struct ramet_error *err)
{
	struct writing *w = ctx;
	count_change(w->state.result, change->kind);
	int r = w->form->each(&w->state, change, err);
	return r < 0 ? r : sink_check(&w->state.sink, err);
}

static int writing_emptied(
	void *ctx, const char *directory, bool left_empty, struct ramet_error *err)
{
	struct writing *w = ctx;
	return w->form->emptied ? w->form->emptied(&w->state, directory, left_empty, err) : 0;
}

int form_write(const struct form *form, int fd, const char *fork, const struct changes_view *old,
	const struct changes_view *new, const struct changes_options *options,
	struct ramet_diff_result *result, struct ramet_error *err)
{
	static const struct changes_visitor visitor = {
		.each = writing_each, .emptied = writing_emptied};
	struct writing w = {.form = form,
		.state = {.old = old,
			.new = new,
			.limits = options->limits,
			.fork = fork,
			.result = result}};
	int r = sink_open(&w.state.sink, fd, err);
	if (r < 0)
		return r;
	r = form->begin(&w.state, err);
	/* One view on both sides: nothing was ever written. */
	if (r == 0 && old->fs != new->fs)
		r = changes_walk(old, new, options, &visitor, &w, err);
	if (r == 0)
		r = form->end(&w.state, err);
	if (r == 0)
		r = sink_flush(&w.state.sink, err);
	if (form->release)
		form->release(&w.state);
	sink_free(&w.state.sink);
	return r;
}
