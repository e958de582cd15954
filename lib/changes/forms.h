/* SPDX-License-Identifier: Apache-2.0 */
/* The forms in which changes are written down. A new one is a file and a line in forms.c. */
#ifndef CHANGES_FORMS_H
#define CHANGES_FORMS_H

#include "changes/changes.h"
#include "changes/sink.h"

/* What is common to every form while it is written. */
struct form_state {
	struct sink sink;
	const struct changes_view *old, *new;
	const struct changes_limits *limits;
	const char *fork; /* its name */
	struct ramet_diff_result *result;
	void *own; /* the form's */
};

struct form {
	const char *name;
	int (*begin)(struct form_state *state, struct ramet_error *err);
	/* A change; counted already. */
	int (*each)(struct form_state *state, const struct change *change, struct ramet_error *err);
	/* As changes_visitor.emptied; may be NULL. */
	int (*emptied)(struct form_state *state, const char *directory, bool left_empty,
		struct ramet_error *err);
	int (*end)(struct form_state *state, struct ramet_error *err);
	/* Release own; called after begin, whether or not it went well. May be NULL. */
	void (*release)(struct form_state *state);
};

extern const struct form form_list, form_json, form_tar, form_patch;

/* By name (NULL: "list"), or NULL. */
const struct form *form_find(const char *name);

/* Walk, and write every change to fd in this form. result's counts are filled. */
int form_write(const struct form *form, int fd, const char *fork, const struct changes_view *old,
	const struct changes_view *new, const struct changes_options *options,
	struct ramet_diff_result *result, struct ramet_error *err);

#endif
