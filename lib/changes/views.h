/* SPDX-License-Identifier: Apache-2.0 */
/* The two views of a fork: what it was made of, and what it is now. */
#ifndef CHANGES_VIEWS_H
#define CHANGES_VIEWS_H

#include <stdbool.h>

#include "changes/changes.h"
#include "image/stack.h"

struct range_list;

/* What is known of a fork before anything of it is read. Strings and fds are borrowed. */
struct views_source {
	const struct stack_image *images; /* the base, and what stands on it */
	size_t image_count;
	bool clone; /* the volume is a clone of the base, not a layer on it */
	int volume_fd;
	/* clone: where the volume may differ from the base, NULL when nobody knows */
	const struct range_list *differences;
	const char *base_name, *volume_name; /* for messages: "the volume of fork vm-1" */
};

/* Start with {0}. */
struct views {
	struct stack base;
	struct fs *volume, *merged;   /* merged: NULL in clone mode and for an unused volume */
	struct changes_view old, new; /* of those above; the same when nothing was written */
	bool replayed;                /* the volume's journal had to be replayed */
};

int views_open(const struct views_source *source, struct views *views, struct ramet_error *err);
void views_close(struct views *views);
#define _cleanup_views_ __attribute__((cleanup(views_close)))

#endif
