/* SPDX-License-Identifier: Apache-2.0 */
/* What the kinds of sources share, and the simplest of them: a folder of the host. */
#include "source/source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

void source_init(struct source *source, const struct source_ops *ops)
{
	*source = (struct source){.ops = ops};
}

void source_release(struct source *source)
{
	for (size_t i = 0; i < source->fds.count; i++)
		cleanup_close(&source->fds.items[i]);
	for (size_t i = 0; i < source->binds.count; i++) {
		free(source->binds.items[i].source);
		free(source->binds.items[i].target);
	}
	for (size_t i = 0; i < source->folders.count; i++)
		free(source->folders.items[i]);
	vector_free(&source->fds);
	vector_free(&source->folders);
	vector_free(&source->binds);
	free(source->place);
	free(source->read_only_paths);
	free(source->process);
}

int source_add_folder(struct source *source, const char *path, struct ramet_error *err)
{
	char *copy = strdup(path);
	char **place = copy ? vector_push(&source->folders) : NULL;
	if (!place) {
		free(copy);
		return error_memory(err);
	}
	*place = copy;
	return 0;
}

void source_close(struct source *source)
{
	if (source)
		source->ops->close(source);
}

static int directory_walk(struct source *source, struct tree *tree,
	const struct source_options *options, struct ramet_error *err)
{
	if (tree->root)
		return error_set(err, EINVAL,
			"the folder %s is whole, and cannot be laid over another source; give it "
			"with --layer",
			source->place);
	return source_walk(tree, source->place, options, err);
}

void source_free(struct source *source)
{
	source_release(source);
	free(source);
}

static const struct source_ops directory_ops = {
	.name = "directory",
	.walk = directory_walk,
	.close = source_free,
};

int source_open_directory(const char *place, const struct source_request *request,
	struct source **out, struct ramet_error *err)
{
	struct source *source = malloc(sizeof *source);
	if (!source)
		return error_memory(err);
	source_init(source, request->layer ? &source_lowerdir_ops : &directory_ops);
	source->place = strdup(place);
	int r = source->place ? source_add_folder(source, place, err) : error_memory(err);
	if (r < 0)
		source_free(source);
	else
		*out = source;
	return r;
}
