/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One JSON object, written as the changes come: a library would hold all of them in memory first.
 * A change has its kind and path, and what is there now ("type", "mode", ...; of what was there
 * when it was deleted). Names need not be UTF-8 and JSON must be: such a path has U+FFFD
 * where its bytes are none, and the true bytes in "path_base64".
 */
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "changes/forms.h"
#include "changes/names.h"
#include "changes/side.h"

static const char *type_name(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return "file";
	case S_IFDIR:
		return "directory";
	case S_IFLNK:
		return "symlink";
	case S_IFCHR:
		return "character device";
	case S_IFBLK:
		return "block device";
	case S_IFIFO:
		return "fifo";
	case S_IFSOCK:
		return "socket";
	default:
		return "unknown";
	}
}

/* "KEY": "STRING", and "KEY_base64" when the string is not UTF-8. */
static void put_bytes(struct text *text, const char *key, const char *string)
{
	bool lossy = false;
	text_format(text, ", \"%s\": ", key);
	name_json(text, string, &lossy);
	if (lossy) {
		text_format(text, ", \"%s_base64\": \"", key);
		text_base64(text, string, strlen(string));
		text_append(text, "\"");
	}
}

static void put_stat(struct text *text, const struct fs_stat *stat)
{
	text_format(text,
		", \"type\": \"%s\", \"mode\": \"%04o\", \"uid\": %" PRIu32 ", \"gid\": %" PRIu32
		", \"size\": %" PRIu64 ", \"mtime\": %" PRId64 ", \"mtime_nsec\": %" PRIu32,
		type_name(stat->mode), stat->mode & 07777, stat->uid, stat->gid,
		S_ISREG(stat->mode) || S_ISLNK(stat->mode) ? stat->size : 0, stat->mtime,
		stat->mtime_nsec);
	if (S_ISCHR(stat->mode) || S_ISBLK(stat->mode))
		text_format(text, ", \"device\": [%" PRIu32 ", %" PRIu32 "]", stat->rdev_major,
			stat->rdev_minor);
}

static void put_what(struct text *text, unsigned what)
{
	static const struct {
		unsigned bit;
		const char *name;
	} names[] = {{CHANGE_CONTENT, "content"}, {CHANGE_MODE, "mode"}, {CHANGE_OWNER, "owner"},
		{CHANGE_XATTRS, "xattrs"}};
	const char *separator = "";
	text_append(text, ", \"what\": [");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (what & names[i].bit) {
			text_format(text, "%s\"%s\"", separator, names[i].name);
			separator = ", ";
		}
	text_append(text, "]");
}

static int json_begin(struct form_state *state, struct ramet_error *err)
{
	_cleanup_text_ struct text head = {0};
	bool lossy = false;
	text_append(&head, "{\"fork\": ");
	name_json(&head, state->fork, &lossy);
	text_append(&head, ", \"changes\": [");
	if (head.failed)
		return error_memory(err);
	sink_write(&state->sink, head.data, head.length);
	return 0;
}

static uint64_t count_all(const struct ramet_diff_result *result)
{
	return result->added + result->modified + result->deleted + result->retyped;
}

static int json_each(struct form_state *state, const struct change *change, struct ramet_error *err)
{
	const struct change_side *side = change->new ? change->new : change->old;
	_cleanup_text_ struct text text = {0};
	text_format(&text, "%s\n  {\"kind\": \"%c\"", count_all(state->result) > 1 ? "," : "",
		change->kind);
	put_bytes(&text, "path", change->path);
	put_stat(&text, &side->stat);
	if (change->kind == CHANGE_RETYPED)
		text_format(&text, ", \"old_type\": \"%s\"", type_name(change->old->stat.mode));
	if (S_ISLNK(side->stat.mode)) {
		_cleanup_free_ char *target = NULL;
		int r = side_readlink(side, &target, err);
		if (r < 0)
			return r;
		put_bytes(&text, "target", target);
	}
	if (change->kind == CHANGE_MODIFIED)
		put_what(&text, change->what);
	text_append(&text, "}");
	if (text.failed)
		return error_memory(err);
	sink_write(&state->sink, text.data, text.length);
	return 0;
}

static int json_end(struct form_state *state, struct ramet_error *err)
{
	const struct ramet_diff_result *r = state->result;
	sink_format(&state->sink,
		"%s], \"summary\": {\"added\": %" PRIu64 ", \"modified\": %" PRIu64
		", \"deleted\": %" PRIu64 ", \"retyped\": %" PRIu64
		"}, \"journal_replayed\": %s}\n",
		count_all(r) ? "\n" : "", r->added, r->modified, r->deleted, r->retyped,
		r->journal_replayed ? "true" : "false");
	return 0;
}

const struct form form_json = {
	.name = "json", .begin = json_begin, .each = json_each, .end = json_end};
