/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "changes/changes.h"

/* "/a//b/" becomes "/a/b", "/" becomes "". */
static int limit_parse(const char *path, char **out, struct ramet_error *err)
{
	if (path[0] != '/')
		return error_set(err, EINVAL,
			"the path '%s' is not absolute; say it as the guest sees it, from '/'",
			path);
	_cleanup_text_ struct text plain = {0};
	text_append(&plain, "");
	for (const char *p = path; *p;) {
		while (*p == '/')
			p++;
		size_t length = strcspn(p, "/");
		if ((length == 1 && p[0] == '.') || (length == 2 && p[0] == '.' && p[1] == '.'))
			return error_set(err, EINVAL,
				"the path '%s' has '.' or '..' in it; say it without", path);
		if (length) {
			text_append(&plain, "/");
			text_append_bytes(&plain, p, length);
		}
		p += length;
	}
	if (plain.failed)
		return error_memory(err);
	*out = TAKE_PTR(plain.data);
	return 0;
}

int changes_limits_parse(
	const char *const *paths, struct changes_limits *limits, struct ramet_error *err)
{
	*limits = (struct changes_limits){0};
	size_t count = 0;
	while (paths && paths[count])
		count++;
	if (count == 0)
		return 0;
	limits->paths = calloc(count, sizeof *limits->paths);
	if (!limits->paths)
		return error_memory(err);
	limits->count = count;
	for (size_t i = 0; i < count; i++) {
		int r = limit_parse(paths[i], &limits->paths[i], err);
		if (r < 0) {
			changes_limits_free(limits);
			return r;
		}
	}
	return 0;
}

void changes_limits_free(struct changes_limits *limits)
{
	for (size_t i = 0; i < limits->count; i++)
		free(limits->paths[i]);
	free(limits->paths);
	*limits = (struct changes_limits){0};
}

enum changes_place changes_limits_place(const struct changes_limits *limits, const char *path)
{
	if (!limits || limits->count == 0)
		return CHANGES_INSIDE;
	if (strcmp(path, "/") == 0)
		path = "";
	enum changes_place place = CHANGES_OUTSIDE;
	size_t length = strlen(path);
	for (size_t i = 0; i < limits->count; i++) {
		const char *limit = limits->paths[i];
		size_t common = strlen(limit);
		if (common <= length && memcmp(path, limit, common) == 0 &&
			(path[common] == '/' || path[common] == '\0'))
			return CHANGES_INSIDE;
		if (common > length && memcmp(path, limit, length) == 0 && limit[length] == '/')
			place = CHANGES_TOWARDS;
	}
	return place;
}
