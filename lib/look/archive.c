/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A directory as a tar: what `docker cp CONTAINER:/dir -` gives. Nothing has a meaning for an
 * overlay here: a whiteout is the device that it is, and a name is a name.
 */
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "changes/pax.h"
#include "changes/tar_entry.h"
#include "look/look.h"
#include "look/walk.h"

struct archive {
	struct sink sink;
	struct tar_writer writer;
	size_t above; /* bytes of a path before the directory's own '/' or end */
	const char *prefix;
};

/* "/usr/lib/x", of the directory "/usr/lib" and prefix "lib": "lib/x". */
static int put_object(
	void *ctx, const struct change_side *object, unsigned depth, struct ramet_error *err)
{
	struct archive *archive = ctx;
	_cleanup_text_ struct text name = {0};
	const char *below = depth ? object->path + archive->above : "";
	text_append(&name, archive->prefix);
	text_append(&name, name.length || !*below ? below : below + 1);
	if (!name.length)
		text_append(&name, ".");
	if (name.failed)
		return error_memory(err);
	int r = tar_writer_put(&archive->writer, object, name.data, err);
	return r < 0 ? r : sink_check(&archive->sink, err);
}

int look_archive(const struct change_side *directory, const char *prefix, int fd, uint64_t *omitted,
	struct ramet_error *err)
{
	static const struct walk_visitor visitor = {.each = put_object};
	struct archive archive = {.prefix = prefix};
	archive.above = directory->path[1] ? strlen(directory->path) : 0;
	int r = sink_open(&archive.sink, fd, err);
	if (r == 0)
		r = tar_writer_open(&archive.writer, &archive.sink, err);
	if (r == 0)
		r = look_walk(
			directory->view, directory->ref, directory->path, &visitor, &archive, err);
	if (r == 0) {
		pax_end(&archive.sink);
		r = sink_flush(&archive.sink, err);
	}
	*omitted = archive.writer.omitted;
	tar_writer_free(&archive.writer);
	sink_free(&archive.sink);
	return r;
}
