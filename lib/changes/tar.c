/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes as a layer of an OCI image (image-spec, layer.md, "Representing Changes"): what was added
 * or changed stands in it whole, what was deleted as an empty file ".wh.NAME", and a directory that
 * was emptied has ".wh..wh..opq" in it, written before anything else of it. An entry of
 * another type replaces what was there, so a change of type needs no whiteout; and what was
 * below a deleted directory needs none of its own.
 *
 * Not to be said in a layer, and counted as omitted: sockets, and names that begin with ".wh.",
 * which whoever applies the layer would take for whiteouts.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "changes/forms.h"
#include "changes/pax.h"
#include "changes/tar_entry.h"

#define WHITEOUT ".wh."
#define OPAQUE   ".wh..wh..opq"

static int tar_begin(struct form_state *state, struct ramet_error *err)
{
	struct tar_writer *writer = calloc(1, sizeof *writer);
	if (!writer)
		return error_memory(err);
	state->own = writer;
	return tar_writer_open(writer, &state->sink, err);
}

static bool has_whiteout_name(const char *path)
{
	return strstr(path, "/" WHITEOUT) != NULL;
}

/* "/etc/hosts" and prefix: "etc/PREFIXhosts". */
static void whiteout_name(struct text *name, const char *path)
{
	const char *base = strrchr(path, '/') + 1;
	text_append_bytes(name, path + 1, (size_t)(base - path - 1));
	text_append(name, WHITEOUT);
	text_append(name, base);
}

static int put_whiteout(struct form_state *state, const char *name, struct ramet_error *err)
{
	_cleanup_text_ struct text records = {0};
	struct pax_entry entry = {.name = name, .type = PAX_FILE, .mode = 0644};
	return pax_header(&state->sink, &entry, &records, err);
}

static int tar_emptied(
	struct form_state *state, const char *directory, bool left_empty, struct ramet_error *err)
{
	if (has_whiteout_name(directory)) {
		state->result->omitted++;
		return 0;
	}
	_cleanup_text_ struct text name = {0};
	text_append(&name, directory + 1);
	text_append(&name, name.length ? "/" OPAQUE : OPAQUE);
	return name.failed ? error_memory(err) : put_whiteout(state, name.data, err);
}

static int tar_deleted(
	struct form_state *state, const struct change *change, struct ramet_error *err)
{
	if (change->implied)
		return 0;
	if (has_whiteout_name(change->path)) {
		state->result->omitted++;
		return 0;
	}
	_cleanup_text_ struct text name = {0};
	whiteout_name(&name, change->path);
	return name.failed ? error_memory(err) : put_whiteout(state, name.data, err);
}

static int tar_each(struct form_state *state, const struct change *change, struct ramet_error *err)
{
	struct tar_writer *writer = state->own;
	if (change->kind == CHANGE_DELETED)
		return tar_deleted(state, change, err);
	if (has_whiteout_name(change->path)) {
		state->result->omitted++;
		return 0;
	}
	const char *name = change->path[1] ? change->path + 1 : ".";
	uint64_t before = writer->omitted;
	int r = tar_writer_put(writer, change->new, name, err);
	state->result->omitted += writer->omitted - before;
	return r;
}

static int tar_end(struct form_state *state, struct ramet_error *err)
{
	pax_end(&state->sink);
	return 0;
}

static void tar_release(struct form_state *state)
{
	if (state->own)
		tar_writer_free(state->own);
	free(state->own);
}

const struct form form_tar = {
	.name = "tar",
	.begin = tar_begin,
	.each = tar_each,
	.emptied = tar_emptied,
	.end = tar_end,
	.release = tar_release,
};
