/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is in a directory of the merged view, and what each name there stands for, as ovl_lookup()
 * and ovl_lookup_single() of the kernel's fs/overlayfs/namei.c find it.
 *
 * The entries of all members are put into one list and sorted by name, the topmost layer first:
 * what a directory costs grows with the number of entries in all its members, and not with that of
 * the layers. What is merged under a directory is found once. Of a name the topmost decides. A whiteout hides it. A directory takes in the
 * directories of that name below it, until a layer has something else there or says that nothing
 * more is to be taken in (opaque). A redirect tells another place below: a name among the same
 * members, or a path from the root of all lower layers.
 *
 * The bottom image is no layer, so nothing in it has a meaning for the overlay, and what it alone
 * holds costs nothing but its entry.
 *
 * A file whose content is in a layer below (metacopy) is refused as the guest's kernel refuses it
 * (ramet's init mounts with metacopy=off), and so are whiteouts by attribute (opaque "x"), which
 * kernels before 6.7 do not know.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "image/merged_inside.h"
#include "image/overlay_inside.h"
#include "source/overlay_names.h"

/* A directory's members, listed. */
struct level {
	size_t count;
	struct fs_entries *lists;
};

/* One name in one member. */
struct candidate {
	const struct fs_entry *entry;
	size_t member;
};

/* What a name stands for. */
struct finding {
	bool hidden;
	fs_ref ref;           /* what it is, unless it is a directory */
	merged_places places; /* the directories that are merged */
};

static void level_release(struct level *level)
{
	for (size_t i = 0; level->lists && i < level->count; i++)
		fs_entries_free(&level->lists[i]);
	free(level->lists);
}
#define _cleanup_level_ __attribute__((cleanup(level_release)))

static void finding_release(struct finding *finding)
{
	vector_free(&finding->places);
}
#define _cleanup_finding_ __attribute__((cleanup(finding_release)))

static int level_read(struct merged *merged, const fs_ref *members, size_t count,
	struct level *level, struct ramet_error *err)
{
	*level = (struct level){.count = count};
	level->lists = calloc(count, sizeof *level->lists);
	if (!level->lists)
		return error_memory(err);
	int r = 0;
	for (size_t i = 0; r == 0 && i < count; i++)
		r = merged_entries(merged, members[i], &level->lists[i], err);
	return r;
}

static int add_place(
	struct merged *merged, merged_places *places, fs_ref place, struct ramet_error *err)
{
	fs_ref above = places->count ? places->items[places->count - 1] : 0;
	fs_ref *slot = vector_push(places);
	if (!slot)
		return error_memory(err);
	*slot = place;
	if (places->count == 1)
		return 0;
	int r = fs_place_claim(&merged->below, place + 1, above, 0);
	if (r == -EUCLEAN)
		return error_set(err, EUCLEAN,
			"%s: a directory is merged with one of %s that another is merged with",
			merged->layers[merged_layer_of(above)].name,
			merged->layers[merged_layer_of(place)].name);
	return r < 0 ? error_memory(err) : 0;
}

static int refuse_in(struct merged *merged, fs_ref ref, const char *name, const char *what,
	struct ramet_error *err)
{
	return error_set(err, EOPNOTSUPP, "%s: \"%s\" %s",
		merged->layers[merged_layer_of(ref)].name, name, what);
}

static int find_name(struct merged *merged, const struct level *level, size_t from,
	const char *name, struct finding *finding, struct ramet_error *err);
static int find_path(struct merged *merged, size_t layers, const char *path, merged_places *places,
	struct ramet_error *err);

/* Add what is merged under a directory that was met before: next is the first of it, plus 1. */
static int add_known(
	struct merged *merged, fs_ref next, merged_places *places, struct ramet_error *err)
{
	int r = 0;
	while (r == 0 && next) {
		r = add_place(merged, places, next - 1, err);
		const struct fs_place *known = fs_place_find(&merged->next, next);
		next = known ? known->parent : 0;
	}
	return r;
}

/* Take the directory in, and say where to go on: *next is NULL when nothing below it is merged, or
 * the name to look for in the lower members. */
static int take_directory(struct merged *merged, const struct candidate *c, const char *name,
	struct finding *finding, char **next, struct ramet_error *err)
{
	_cleanup_xattrs_ struct fs_xattrs xattrs = {0};
	fs_ref ref = c->entry->ref;
	*next = NULL;
	int r = add_place(merged, &finding->places, ref, err);
	const struct fs_place *known = fs_place_find(&merged->next, ref + 1);
	if (r < 0 || known || merged_layer_of(ref) == 0)
		return r < 0 || !known ? r
				       : add_known(merged, known->parent, &finding->places, err);
	r = merged_xattrs(merged, ref, &xattrs, err);
	if (r < 0)
		return r;
	char opaque = overlay_opaque(&xattrs);
	if (opaque == 'x')
		return refuse_in(merged, ref, name,
			"has whiteouts by attribute, which not every kernel understands; make the "
			"layer with 0/0 devices",
			err);
	if (opaque)
		return 0;
	const struct fs_xattr *redirect = fs_xattrs_find(&xattrs, OVERLAY_TRUSTED OVERLAY_REDIRECT);
	r = overlay_check_redirect(redirect, name, err);
	if (r < 0)
		return error_prefix(err, r, "%s", merged->layers[merged_layer_of(ref)].name);
	const char *place = redirect ? redirect->value : name;
	if (*place == '/')
		return find_path(merged, merged_layer_of(ref), place, &finding->places, err);
	*next = strdup(place);
	return *next ? 0 : error_memory(err);
}

static int check_file(struct merged *merged, const struct candidate *c, const struct fs_stat *stat,
	struct ramet_error *err)
{
	_cleanup_xattrs_ struct fs_xattrs xattrs = {0};
	if (!S_ISREG(stat->mode))
		return 0;
	int r = merged_xattrs(merged, c->entry->ref, &xattrs, err);
	if (r == 0 && fs_xattrs_find(&xattrs, OVERLAY_TRUSTED OVERLAY_METACOPY))
		return refuse_in(merged, c->entry->ref, c->entry->name,
			"has its content in a layer below (metacopy), which guests refuse", err);
	return r;
}

/* Take one candidate, lower than what is in finding. *more: those below it count too. */
static int take_candidate(struct merged *merged, const struct level *level,
	const struct candidate *c, struct finding *finding, bool *more, struct ramet_error *err)
{
	struct fs_stat stat = {.mode = c->entry->type};
	bool first = finding->places.count == 0, base = merged_layer_of(c->entry->ref) == 0;
	*more = false;
	int r = base && stat.mode ? 0 : merged_stat(merged, c->entry->ref, &stat, err);
	if (r < 0)
		return r;
	if (!S_ISDIR(stat.mode)) {
		if (!first)
			return 0;
		finding->ref = c->entry->ref;
		if (base)
			return 0;
		finding->hidden = S_ISCHR(stat.mode) && !stat.rdev_major && !stat.rdev_minor;
		return check_file(merged, c, &stat, err);
	}
	_cleanup_free_ char *next = NULL;
	r = take_directory(merged, c, c->entry->name, finding, &next, err);
	if (r < 0 || !next)
		return r;
	*more = strcmp(next, c->entry->name) == 0;
	return *more ? 0 : find_name(merged, level, c->member + 1, next, finding, err);
}

/* Note of each directory what is merged under it: it is so wherever the directory is met. */
static int note_next(struct merged *merged, const merged_places *places, struct ramet_error *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < places->count; i++) {
		fs_ref next = i + 1 < places->count ? places->items[i + 1] + 1 : 0;
		r = fs_place_claim(&merged->next, places->items[i] + 1, next, 0);
	}
	if (r == -EUCLEAN)
		return error_set(err, EUCLEAN, "a directory of the layers stands in two places");
	return r < 0 ? error_memory(err) : 0;
}

/* What the candidates of one name, from the top down, come to. */
static int resolve(struct merged *merged, const struct level *level,
	const struct candidate *candidates, size_t count, struct finding *finding,
	struct ramet_error *err)
{
	bool more = true;
	int r = 0;
	for (size_t i = 0; r == 0 && more && i < count; i++)
		r = take_candidate(merged, level, &candidates[i], finding, &more, err);
	return r < 0 ? r : note_next(merged, &finding->places, err);
}

/* A name in the members from the one numbered from on. Nothing is added when it is not there. */
static int find_name(struct merged *merged, const struct level *level, size_t from,
	const char *name, struct finding *finding, struct ramet_error *err)
{
	struct candidate candidates[RAMET_CHAIN_MAX];
	size_t count = 0;
	for (size_t i = from; i < level->count; i++) {
		const struct fs_entry *entry = fs_entries_find(&level->lists[i], name);
		if (entry)
			candidates[count++] = (struct candidate){entry, i};
	}
	return resolve(merged, level, candidates, count, finding, err);
}

/* One step of a path: from the directories in *places to those called name in them. */
static int step_into(
	struct merged *merged, merged_places *places, const char *name, struct ramet_error *err)
{
	_cleanup_level_ struct level level = {0};
	_cleanup_finding_ struct finding finding = {0};
	int r = level_read(merged, places->items, places->count, &level, err);
	if (r == 0)
		r = find_name(merged, &level, 0, name, &finding, err);
	if (r < 0)
		return r;
	merged_places before = *places;
	*places = finding.places;
	finding.places = before;
	return 0;
}

/* Add the directories at an absolute path in the layers below the one numbered layers. */
static int find_path(struct merged *merged, size_t layers, const char *path, merged_places *places,
	struct ramet_error *err)
{
	_cleanup_finding_ struct finding at = {0};
	_cleanup_free_ char *copy = strdup(path);
	int r = copy ? 0 : error_memory(err);
	for (size_t i = layers; r == 0 && i-- > 0;)
		r = add_place(merged, &at.places, merged->roots[i], err);
	char *rest = NULL;
	for (char *name = r < 0 ? NULL : strtok_r(copy, "/", &rest);
		r == 0 && name && at.places.count; name = strtok_r(NULL, "/", &rest))
		r = step_into(merged, &at.places, name, err);
	for (size_t i = 0; r == 0 && i < at.places.count; i++)
		r = add_place(merged, places, at.places.items[i], err);
	return r;
}

static int compare(const void *left, const void *right)
{
	const struct candidate *a = left, *b = right;
	int order = strcmp(a->entry->name, b->entry->name);
	return order ? order : (a->member > b->member) - (a->member < b->member);
}

/* All entries of all members, in the order of names and, for one name, from the top down. */
static int gather(
	const struct level *level, struct candidate **all, size_t *count, struct ramet_error *err)
{
	*count = 0;
	for (size_t i = 0; i < level->count; i++)
		*count += level->lists[i].count;
	*all = calloc(*count + 1, sizeof **all);
	if (!*all)
		return error_memory(err);
	struct candidate *end = *all;
	for (size_t i = 0; i < level->count; i++)
		for (size_t e = 0; e < level->lists[i].count; e++)
			*end++ = (struct candidate){&level->lists[i].items[e], i};
	if (level->count > 1)
		qsort(*all, *count, sizeof **all, compare);
	return 0;
}

static int add_found(struct merged *merged, const struct candidate *top, struct finding *finding,
	struct fs_entries *out, struct ramet_error *err)
{
	fs_ref ref = finding->ref;
	uint32_t type = top->entry->type;
	int r = 0;
	if (finding->places.count) {
		r = merged_merge(merged, &finding->places, &ref, err);
		type = S_IFDIR;
	}
	char *name = r < 0 ? NULL : strdup(top->entry->name);
	if (r == 0 && !name)
		r = error_memory(err);
	if (r == 0)
		out->items[out->count++] = (struct fs_entry){name, ref, type};
	return r;
}

int merged_list(struct merged *merged, const fs_ref *members, size_t count,
	struct fs_entries *entries, struct ramet_error *err)
{
	_cleanup_level_ struct level level = {0};
	_cleanup_free_ struct candidate *all = NULL;
	_cleanup_entries_ struct fs_entries out = {0};
	size_t total = 0;
	int r = level_read(merged, members, count, &level, err);
	if (r == 0)
		r = gather(&level, &all, &total, err);
	if (r == 0 && !(out.items = calloc(total + 1, sizeof *out.items)))
		r = error_memory(err);
	for (size_t i = 0, next; r == 0 && i < total; i = next) {
		for (next = i + 1; next < total; next++)
			if (strcmp(all[next].entry->name, all[i].entry->name) != 0)
				break;
		_cleanup_finding_ struct finding finding = {0};
		r = resolve(merged, &level, &all[i], next - i, &finding, err);
		if (r == 0 && !finding.hidden)
			r = add_found(merged, &all[i], &finding, &out, err);
	}
	if (r < 0)
		return r;
	*entries = out;
	out = (struct fs_entries){0};
	return 0;
}
