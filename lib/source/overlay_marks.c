/* SPDX-License-Identifier: Apache-2.0 */
#include "source/overlay_marks.h"

#include <string.h>

#include "source/overlay_names.h"

/* What follows the prefix of an attribute of overlayfs's, or NULL. */
static const char *after_prefix(const char *name)
{
	if (strncmp(name, OVERLAY_TRUSTED, strlen(OVERLAY_TRUSTED)) == 0)
		return name + strlen(OVERLAY_TRUSTED);
	if (strncmp(name, OVERLAY_USER, strlen(OVERLAY_USER)) == 0)
		return name + strlen(OVERLAY_USER);
	return NULL;
}

static bool says(const struct tree_xattr *xattr, char what)
{
	return xattr->size == 1 && *(const char *)xattr->value == what;
}

struct overlay_marks overlay_marks(const struct tree_node *node)
{
	struct overlay_marks marks = {0};
	for (const struct tree_xattr *x = node->xattrs; x; x = x->next) {
		const char *name = after_prefix(x->name);
		if (!name)
			continue;
		if (strcmp(name, OVERLAY_OPAQUE) == 0) {
			marks.opaque = marks.opaque || says(x, 'y');
			marks.has_whiteouts = marks.has_whiteouts || says(x, 'x');
		} else if (strcmp(name, OVERLAY_WHITEOUT) == 0) {
			marks.whiteout = true;
		} else if (strcmp(name, OVERLAY_METACOPY) == 0) {
			marks.metacopy = true;
		} else if (strcmp(name, OVERLAY_REDIRECT) == 0 && !marks.redirect) {
			marks.redirect = x;
		}
	}
	return marks;
}

/* Taking one piece out of all names that begin alike leaves the list sorted. */
int overlay_marks_clean(struct tree *tree, struct tree_node *node, struct ramet_error *err)
{
	const size_t escape = strlen(OVERLAY_ESCAPE);
	for (struct tree_xattr **place = &node->xattrs; *place;) {
		struct tree_xattr *x = *place;
		const char *rest = after_prefix(x->name);
		if (rest && strncmp(rest, OVERLAY_ESCAPE, escape) != 0) {
			*place = x->next;
			continue;
		}
		place = &x->next;
		if (!rest)
			continue;
		char *name = arena_copy(&tree->arena, x->name, strlen(x->name) - escape);
		if (!name)
			return error_memory(err);
		strcpy(name + (rest - x->name), rest + escape);
		x->name = name;
	}
	return 0;
}
