/* SPDX-License-Identifier: Apache-2.0 */
#include "image/overlay_inside.h"

#include <errno.h>
#include <string.h>

#include "image/fs_inside.h"
#include "source/overlay_names.h"

#define ESCAPED OVERLAY_TRUSTED OVERLAY_ESCAPE

char overlay_opaque(const struct fs_xattrs *xattrs)
{
	const struct fs_xattr *opaque = fs_xattrs_find(xattrs, OVERLAY_TRUSTED OVERLAY_OPAQUE);
	char value = opaque && opaque->size == 1 ? *(const char *)opaque->value : 0;
	return value == 'y' || value == 'x' ? value : 0;
}

int overlay_check_redirect(
	const struct fs_xattr *redirect, const char *name, struct ramet_error *err)
{
	if (!redirect)
		return 0;
	const char *path = redirect->value;
	size_t length = strlen(path);
	bool sane = length > 0 && length == redirect->size;
	if (path[0] == '/')
		sane = sane && path[length - 1] != '/' && !strstr(path, "//");
	else
		sane = sane && !strchr(path, '/');
	return sane ? 0
		    : error_set(err, EUCLEAN,
			      "the overlay is damaged: the redirect of \"%s\" is no path", name);
}

int overlay_show_xattrs(
	const struct fs_xattrs *all, struct fs_xattrs *shown, struct ramet_error *err)
{
	_cleanup_xattr_list_ fs_xattr_list list = {0};
	int r = 0;
	for (size_t i = 0; i < all->count && r == 0; i++) {
		const struct fs_xattr *x = &all->items[i];
		bool escaped = strncmp(x->name, ESCAPED, strlen(ESCAPED)) == 0;
		if (!escaped && strncmp(x->name, OVERLAY_TRUSTED, strlen(OVERLAY_TRUSTED)) == 0)
			continue;
		const char *rest = escaped ? x->name + strlen(ESCAPED) : x->name;
		r = fs_xattr_add(&list, escaped ? OVERLAY_TRUSTED : "", rest, strlen(rest),
			x->value, x->size);
	}
	const char *twice;
	/* Taking a piece out of names that differ leaves them different. */
	if (r < 0 || fs_xattrs_take(&list, shown, &twice) < 0)
		return error_memory(err);
	return 0;
}
