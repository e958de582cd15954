/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bundle is a folder of the host and grafts: its root is walked as any folder is, and the bind
 * mounts are what --bind would be. Like the runtime that it is made for, this goes wherever
 * config.json says: whoever writes that file names folders of the host that get into the image.
 */
#include "source/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fd.h"

struct bundle {
	struct source source;
	char *root; /* the path on the host */
};

static int bundle_walk(struct source *source, struct tree *tree,
	const struct source_options *options, struct ramet_error *err)
{
	const struct bundle *bundle = (const struct bundle *)source;
	if (tree->root)
		return error_set(err, EINVAL,
			"the bundle %s is whole, and cannot be laid over another source",
			source->place);
	return source_walk(tree, bundle->root, options, err);
}

static void bundle_close(struct source *source)
{
	struct bundle *bundle = (struct bundle *)source;
	free(bundle->root);
	source_release(source);
	free(bundle);
}

static const struct source_ops bundle_ops = {
	.name = "runtime bundle",
	.walk = bundle_walk,
	.close = bundle_close,
};

/* A path of config.json: from the bundle's folder on, unless it is absolute. */
static char *from_bundle(const char *place, const char *path)
{
	char *joined;
	if (*path == '/')
		return strdup(path);
	return asprintf(&joined, "%s/%s", place, path) < 0 ? NULL : joined;
}

static void say(const struct source_request *request, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static void say(const struct source_request *request, const char *format, ...)
{
	char sentence[1024];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(sentence, sizeof sentence, format, arguments);
	va_end(arguments);
	if (request->note)
		request->note(request->note_ctx, text_disarm(sentence));
}

static const char *kind_of(mode_t mode)
{
	return S_ISSOCK(mode) ? "a socket" : S_ISFIFO(mode) ? "a pipe" : "a device";
}

static int add_bind(struct bundle *bundle, const struct bundle_mount *mount,
	const struct source_request *request, struct ramet_error *err)
{
	const char *place = bundle->source.place;
	_cleanup_free_ char *from = from_bundle(place, mount->source);
	_cleanup_free_ char *to = NULL;
	if (asprintf(&to, "%s%s", *mount->destination == '/' ? "" : "/", mount->destination) < 0)
		to = NULL;
	if (!from || !to)
		return error_memory(err);
	struct stat st;
	if (stat(from, &st) < 0)
		return error_errno(err, errno, "the source %s of the bundle's mount %s", from, to);
	if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode)) {
		say(request, "the bundle's mount %s is left out: %s is %s", to, from,
			kind_of(st.st_mode));
		return 0;
	}
	struct source_bind *bind = vector_push(&bundle->source.binds);
	if (!bind)
		return error_memory(err);
	*bind = (struct source_bind){TAKE_PTR(from), TAKE_PTR(to), mount->read_only};
	return 0;
}

static int add_mounts(struct bundle *bundle, const struct bundle_config *config,
	const struct source_request *request, struct ramet_error *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < config->mounts.count; i++) {
		const struct bundle_mount *mount = &config->mounts.items[i];
		if (mount->bind)
			r = add_bind(bundle, mount, request, err);
		else
			say(request, "the bundle's mount %.300s is left out: its type is %.100s",
				mount->destination, mount->type ? mount->type : "not given");
	}
	return r;
}

static int read_config(
	struct bundle *bundle, const struct source_request *request, struct ramet_error *err)
{
	_cleanup_bundle_config_ struct bundle_config config = {0};
	_cleanup_free_ char *text = NULL, *name = NULL;
	size_t length;
	if (asprintf(&name, "%s/config.json", bundle->source.place) < 0) {
		name = NULL;
		return error_memory(err);
	}
	int r = read_file(AT_FDCWD, name, DOCUMENT_BYTES_MAX, &text, &length);
	if (r == -EFBIG)
		return error_set(err, E2BIG, "%s has more than %zu bytes; a description has fewer",
			name, DOCUMENT_BYTES_MAX);
	if (r < 0)
		return error_errno(err, -r, "cannot read %s", name);
	r = bundle_config_parse(&config, name, text, length, err);
	if (r < 0)
		return r;
	bundle->root = from_bundle(bundle->source.place, config.root);
	if (!bundle->root)
		return error_memory(err);
	r = source_add_folder(&bundle->source, bundle->root, err);
	if (r < 0)
		return r;
	bundle->source.read_only = config.read_only;
	bundle->source.process = TAKE_PTR(config.process);
	return add_mounts(bundle, &config, request, err);
}

int source_open_bundle(const char *place, const struct source_request *request, struct source **out,
	struct ramet_error *err)
{
	struct bundle *bundle = calloc(1, sizeof *bundle);
	if (!bundle)
		return error_memory(err);
	source_init(&bundle->source, &bundle_ops);
	bundle->source.place = strdup(place);
	int r = bundle->source.place ? read_config(bundle, request, err) : error_memory(err);
	if (r < 0)
		bundle_close(&bundle->source);
	else
		*out = &bundle->source;
	return r;
}
