/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A prefix says what a source is. Without one a folder is a directory, and a file is what its
 * content says it is; a folder whose name begins like a prefix is written "./oci:x".
 */
#include "api/sources.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "source/bundle.h"

const struct source_kind source_kinds[] = {
	{"dir", "a folder of the host (also without the prefix)", source_open_directory},
	{"bundle", "an OCI runtime bundle: a folder with config.json and a root",
		source_open_bundle},
	{0},
};

static const struct source_kind *find_prefix(const char *word, const char **place)
{
	const char *colon = strchr(word, ':');
	for (const struct source_kind *kind = source_kinds; colon && kind->prefix; kind++)
		if (strlen(kind->prefix) == (size_t)(colon - word) &&
			strncmp(kind->prefix, word, (size_t)(colon - word)) == 0) {
			*place = colon + 1;
			return kind;
		}
	return NULL;
}

int sources_open(const char *word, const struct source_request *request, struct source **source,
	struct ramet_error *err)
{
	const char *place = word;
	const struct source_kind *kind = find_prefix(word, &place);
	if (kind)
		return kind->open(place, request, source, err);
	struct stat st;
	if (stat(word, &st) < 0)
		return error_errno(err, errno, "cannot open %s", word);
	if (S_ISDIR(st.st_mode))
		return source_open_directory(word, request, source, err);
	return error_set(err, ENOTDIR, "%s is not a folder", word);
}
