/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A prefix says what a source is. Without one a folder is a directory, and a file is what its
 * content says it is; a folder whose name begins like a prefix is written "./oci:x".
 */
#include "api/sources.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "api/image_source.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "source/bundle.h"
#include "source/oci.h"
#include "source/reel.h"

const struct source_kind source_kinds[] = {
	{"dir", "a folder of the host, also without the prefix", source_open_directory, NULL},
	{"bundle", "an OCI runtime bundle: a folder with config.json and a root",
		source_open_bundle, NULL},
	{"oci", "an OCI image layout: DIR[:REF]", source_open_oci, NULL},
	{"docker-archive", "an archive of docker save: FILE[:REF], also without the prefix",
		source_open_docker, source_is_docker},
	{"image", "an image, or a chain of them: BASE+LAYER, also without the prefix",
		image_source_open, image_source_is},
	{"tar", "a tar archive, plain or compressed; - is standard input; also without the prefix",
		source_open_tar, source_is_tar},
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

static int refuse(const char *word, struct ramet_error *err)
{
	_cleanup_text_ struct text kinds = {0};
	for (const struct source_kind *kind = source_kinds; kind->prefix; kind++)
		text_format(&kinds, "%s%s:", kind == source_kinds ? "" : ", ", kind->prefix);
	if (kinds.failed)
		return error_memory(err);
	return error_set(err, EMEDIUMTYPE,
		"%s is not a folder, an archive or an image that a tree could be made of; a prefix "
		"says what a source is: %s",
		word, kinds.data);
}

/* A file, or standard input: its content tells the kind, which gets it as it is open here. */
static int open_by_content(const char *word, const struct source_request *request,
	struct source **source, struct ramet_error *err)
{
	struct reel reel;
	_cleanup_close_ int fd = -1;
	int r = reel_open(&reel, word, request, &fd, err);
	if (r < 0)
		return r;
	struct source_request opened = *request;
	opened.opened = &fd;
	for (const struct source_kind *kind = source_kinds; kind->prefix; kind++)
		if (kind->recognise && kind->recognise(fd))
			return kind->open(word, &opened, source, err);
	return refuse(strcmp(word, "-") == 0 ? "standard input" : word, err);
}

int sources_open(const char *word, const struct source_request *request, struct source **source,
	struct ramet_error *err)
{
	const char *place = word;
	const struct source_kind *kind = find_prefix(word, &place);
	if (kind)
		return kind->open(place, request, source, err);
	struct stat st;
	if (strcmp(word, "-") == 0)
		return open_by_content(word, request, source, err);
	/* The word of a long chain is too long for a name. */
	if (stat(word, &st) < 0 && (errno == ENOENT || errno == ENAMETOOLONG) && strchr(word, '+'))
		return image_source_open(word, request, source, err);
	if (stat(word, &st) < 0)
		return error_errno(err, errno, "cannot open %s", word);
	if (S_ISDIR(st.st_mode))
		return source_open_directory(word, request, source, err);
	return open_by_content(word, request, source, err);
}
