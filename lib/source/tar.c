/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tar archive as a source: what tar would unpack, as a tree. Names that begin with ".wh." are names
 * like others, as they are for tar: an archive of a whole tree (docker export, tar of a folder) has
 * no lower layers to hide. Laid over something (--layer) it is a layer as container images and
 * "ramet diff --tar" have it, and they are whiteouts.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "source/source.h"
#include "source/stream.h"

struct tar_source {
	struct source source;
	struct archive_library lib;
	struct reel reel;
	struct stream *stream;
	bool layer;
};

static int tar_walk(struct source *source, struct tree *tree, const struct source_options *options,
	struct ramet_error *err)
{
	struct tar_source *tar = (struct tar_source *)source;
	const struct stream_options stream_options = {.whiteouts = tar->layer};
	_cleanup_layers_ struct layers *layers = NULL;
	int r = layers_new(&layers, tree, err);
	return r < 0 ? r : stream_apply(tar->stream, layers, &stream_options, options, err);
}

static void tar_close(struct source *source)
{
	struct tar_source *tar = (struct tar_source *)source;
	stream_free(tar->stream);
	archive_unload(&tar->lib);
	source_release(source);
	free(tar);
}

static const struct source_ops tar_ops = {
	.name = "tar archive",
	.hostile = true,
	.walk = tar_walk,
	.close = tar_close,
};

static int open_reel(
	struct tar_source *tar, const struct source_request *request, struct ramet_error *err)
{
	int *fd = vector_push(&tar->source.fds);
	if (!fd)
		return error_memory(err);
	*fd = -1;
	return reel_open(&tar->reel, tar->source.place, request, fd, err);
}

bool source_is_tar(int fd)
{
	struct reel reel;
	bool is_tar;
	return reel_of_file(&reel, fd, "", NULL) == 0 && stream_probe(&reel, &is_tar, NULL) == 0 &&
	       is_tar;
}

int source_open_tar(const char *place, const struct source_request *request, struct source **out,
	struct ramet_error *err)
{
	struct tar_source *tar = calloc(1, sizeof *tar);
	if (!tar)
		return error_memory(err);
	source_init(&tar->source, &tar_ops);
	tar->layer = request->layer;
	_cleanup_source_ struct source *source = &tar->source;
	source->place = strdup(place);
	if (!source->place)
		return error_memory(err);
	int r = archive_load(&tar->lib, err);
	if (r == 0)
		r = open_reel(tar, request, err);
	if (r == 0 && !source_is_tar(tar->reel.fd))
		r = error_set(err, EMEDIUMTYPE, "%s is no tar archive, compressed or not",
			tar->reel.name);
	if (r == 0)
		r = stream_new(&tar->stream, &tar->reel, &tar->lib, err);
	if (r == 0)
		*out = TAKE_PTR(source);
	return r;
}
