/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes as a patch for `git apply`: text as hunks, anything with a NUL byte (or more than 64 MiB)
 * as a "GIT binary patch". Each section names both blobs in full, which git wants for binary
 * ones and can use for three-way merges. A change of type is a deletion and a creation.
 *
 * git knows of files, whether they may be executed, and symlinks. What it does not know (owners,
 * other permissions, attributes, devices, fifos, empty directories), and what it refuses to
 * touch (.git folders: apply.c, verify_path), is counted as omitted.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "changes/blob.h"
#include "changes/forms.h"
#include "changes/names.h"
#include "changes/side.h"
#include "changes/textdiff.h"

/* git apply takes no patch of 1 GiB or more, and no longer paths. */
enum { BLOB_MAX = 1023 << 20, PATH_BYTES_MAX = 4095 };

struct patch {
	size_t prefix; /* bytes of each path that are not part of its name in the patch */
};

/* 0: git has no such thing. */
static unsigned git_mode(const struct change_side *side)
{
	if (side && S_ISLNK(side->stat.mode))
		return 0120000;
	if (side && S_ISREG(side->stat.mode))
		return side->stat.mode & 0100 ? 0100755 : 0100644;
	return 0;
}

/* ".git" in any case, and what Windows would take for it: git refuses them everywhere. */
static bool component_refused(const char *name, size_t length)
{
	size_t rest = 0;
	if (length >= 4 && strncasecmp(name, ".git", 4) == 0)
		rest = 4;
	else if (length >= 5 && strncasecmp(name, "git~1", 5) == 0)
		rest = 5;
	else
		return false;
	while (rest < length && (name[rest] == ' ' || name[rest] == '.'))
		rest++;
	return rest == length || name[rest] == ':';
}

static bool path_refused(const char *path, unsigned mode)
{
	if (!*path || strlen(path) > PATH_BYTES_MAX)
		return true;
	const char *last = path;
	for (const char *p = path; *p;) {
		size_t length = strcspn(p, "/");
		if (component_refused(p, length))
			return true;
		last = p;
		p += length + (p[length] == '/');
	}
	return mode == 0120000 && strncasecmp(last, ".gitmodules", 11) == 0;
}

/* ------------------------------------------------------------------------------------------- */
/* One section.                                                                                 */

static void put_name(struct text *text, const char *prefix, const char *path)
{
	name_show(text, prefix, path);
}

/* "--- a/x": git ends a name with blanks in it by a tab. */
static void put_file_line(struct text *text, const char *sign, const char *prefix, const char *path)
{
	text_append(text, sign);
	put_name(text, prefix, path);
	text_append(text, strchr(path, ' ') && !name_needs_quotes(path) ? "\t\n" : "\n");
}

static void put_modes(struct text *text, unsigned old_mode, unsigned new_mode)
{
	if (!old_mode)
		text_format(text, "new file mode %06o\n", new_mode);
	else if (!new_mode)
		text_format(text, "deleted file mode %06o\n", old_mode);
	else if (old_mode != new_mode)
		text_format(text, "old mode %06o\nnew mode %06o\n", old_mode, new_mode);
}

static int put_text(struct sink *sink, const char *path, const struct blob *old,
	const struct blob *new, const struct lines *a, const struct lines *b,
	struct ramet_error *err)
{
	struct edits edits;
	if (textdiff(a, b, &edits) < 0)
		return error_memory(err);
	_cleanup_text_ struct text head = {0};
	if (old->side)
		put_file_line(&head, "--- ", "a/", path);
	else
		text_append(&head, "--- /dev/null\n");
	if (new->side)
		put_file_line(&head, "+++ ", "b/", path);
	else
		text_append(&head, "+++ /dev/null\n");
	if (!head.failed && edits.count) {
		sink_write(sink, head.data, head.length);
		textdiff_write(sink, a, b, &edits);
	}
	edits_free(&edits);
	return head.failed ? error_memory(err) : 0;
}

static int put_binary(struct sink *sink, const struct blob *new, struct ramet_error *err)
{
	sink_string(sink, "GIT binary patch\n");
	return blob_write_binary(new, sink, err);
}

static int put_content(struct sink *sink, const char *path, const struct blob *old,
	const struct blob *new, struct ramet_error *err)
{
	if (old->binary || new->binary)
		return put_binary(sink, new, err);
	struct lines a = {0}, b = {0};
	int r = lines_split(old->data ? old->data : "", (size_t)old->size, &a);
	if (r == 0)
		r = lines_split(new->data ? new->data : "", (size_t) new->size, &b);
	if (r == 0)
		r = put_text(sink, path, old, new, &a, &b, err);
	else if (r == -EFBIG)
		r = put_binary(sink, new, err);
	else
		r = error_memory(err);
	lines_free(&a);
	lines_free(&b);
	return r;
}

/* What happened to one path, between two things that git knows; NULL: there was none. */
static int put_section(struct form_state *state, const char *path, const struct change_side *old,
	const struct change_side *new, bool content, struct ramet_error *err)
{
	unsigned old_mode = git_mode(old), new_mode = git_mode(new);
	_cleanup_text_ struct text head = {0};
	text_append(&head, "diff --git ");
	put_name(&head, "a/", path);
	text_append(&head, " ");
	put_name(&head, "b/", path);
	text_append(&head, "\n");
	put_modes(&head, old_mode, new_mode);
	_cleanup_blob_ struct blob before = {0};
	_cleanup_blob_ struct blob after = {0};
	if (content) {
		int r = blob_open(&before, old, err);
		if (r == 0)
			r = blob_open(&after, new, err);
		if (r < 0)
			return r;
		text_format(&head, "index %s..%s", before.id, after.id);
		if (old_mode == new_mode)
			text_format(&head, " %06o", new_mode);
		text_append(&head, "\n");
	}
	if (head.failed)
		return error_memory(err);
	sink_write(&state->sink, head.data, head.length);
	return content ? put_content(&state->sink, path, &before, &after, err) : 0;
}

/* ------------------------------------------------------------------------------------------- */
/* What can be said of a change.                                                                */

/* Answers 1 for a directory with nothing in it, 0 for one with something. */
static int directory_is_empty(const struct change_side *side, struct ramet_error *err)
{
	_cleanup_entries_ struct fs_entries entries = {0};
	int r = side_list(side, &entries, err);
	return r < 0 ? r : entries.count == 0;
}

/* Whether git leaves out something of a new file that is more than the usual. */
static int has_more(const struct change_side *side, struct ramet_error *err)
{
	if (side->stat.mode & 07000 && !S_ISLNK(side->stat.mode))
		return 1;
	_cleanup_xattrs_ struct fs_xattrs xattrs = {0};
	int r = side_xattrs(side, &xattrs, err);
	return r < 0 ? r : xattrs.count != 0;
}

static bool too_large(const struct change_side *side)
{
	return side && S_ISREG(side->stat.mode) && side->stat.size > BLOB_MAX;
}

/* One end of a change that creates or deletes. Answers 1 when something is left unsaid. */
static int say_end(struct form_state *state, const char *path, const struct change_side *old,
	const struct change_side *new, struct ramet_error *err)
{
	const struct change_side *side = new ? new : old;
	unsigned mode = git_mode(side);
	if (S_ISDIR(side->stat.mode))
		return directory_is_empty(side, err);
	if (!mode || path_refused(path, mode) || too_large(side))
		return 1;
	int r = put_section(state, path, old, new, true, err);
	return r < 0 || !new ? r : has_more(new, err);
}

static int say_modified(struct form_state *state, const char *path, const struct change *change,
	struct ramet_error *err)
{
	unsigned old_mode = git_mode(change->old), new_mode = git_mode(change->new);
	bool content = change->what & CHANGE_CONTENT;
	if (!new_mode || path_refused(path, new_mode) || too_large(change->old) ||
		too_large(change->new))
		return 1;
	if (content || old_mode != new_mode) {
		int r = put_section(state, path, change->old, change->new, content, err);
		if (r < 0)
			return r;
	}
	unsigned permissions = change->new->stat.mode & 07777;
	bool mode_said = old_mode != new_mode && (permissions == 0644 || permissions == 0755);
	return (change->what & (CHANGE_OWNER | CHANGE_XATTRS)) ||
	       ((change->what & CHANGE_MODE) && !mode_said);
}

static int patch_each(
	struct form_state *state, const struct change *change, struct ramet_error *err)
{
	const struct patch *patch = state->own;
	const char *path = change->path + patch->prefix;
	path += *path == '/';
	int r = 0;
	if (change->kind == CHANGE_MODIFIED) {
		r = say_modified(state, path, change, err);
	} else {
		bool unsaid = false;
		if (change->old && (change->kind == CHANGE_DELETED || git_mode(change->old))) {
			r = say_end(state, path, change->old, NULL, err);
			unsaid = r > 0;
		}
		if (r >= 0 && change->new) {
			r = say_end(state, path, NULL, change->new, err);
			unsaid = unsaid || r > 0;
		}
		if (r >= 0)
			r = unsaid;
	}
	if (r < 0)
		return r;
	state->result->omitted += r > 0;
	return 0;
}

/* git removes a folder with its last file. */
static int patch_emptied(
	struct form_state *state, const char *directory, bool left_empty, struct ramet_error *err)
{
	state->result->omitted += left_empty;
	return 0;
}

/* ------------------------------------------------------------------------------------------- */

/* Whether path is a directory in the view; -ENOENT when it is not there. */
static int view_is_directory(const struct changes_view *view, const char *path, bool *is)
{
	struct ramet_error ignored;
	struct change_side side = {.view = view, .path = path};
	int r = fs_lookup(view->fs, path, &side.ref, &ignored);
	if (r == 0)
		r = side_stat(&side, &ignored);
	if (r == 0)
		*is = S_ISDIR(side.stat.mode);
	return r;
}

/* With one path the patch is relative to it, or to the folder that the file is in. */
static size_t find_prefix(const struct form_state *state)
{
	if (!state->limits || state->limits->count != 1 || !*state->limits->paths[0])
		return 0;
	const char *path = state->limits->paths[0];
	bool is_directory = true;
	if (view_is_directory(state->new, path, &is_directory) < 0)
		view_is_directory(state->old, path, &is_directory);
	return is_directory ? strlen(path) : (size_t)(strrchr(path, '/') - path);
}

static int patch_begin(struct form_state *state, struct ramet_error *err)
{
	struct patch *patch = calloc(1, sizeof *patch);
	if (!patch)
		return error_memory(err);
	state->own = patch;
	patch->prefix = find_prefix(state);
	return 0;
}

static int patch_end(struct form_state *state, struct ramet_error *err)
{
	return 0;
}

static void patch_release(struct form_state *state)
{
	free(state->own);
}

const struct form form_patch = {
	.name = "patch",
	.begin = patch_begin,
	.each = patch_each,
	.emptied = patch_emptied,
	.end = patch_end,
	.release = patch_release,
};
