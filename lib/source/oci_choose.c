/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the index of a layout to one manifest. A name stands at entries of index.json alone; the
 * entries that have it, and those of the indexes among them, are one image for several platforms.
 *
 * Digests make circles impossible, but not indexes that name another thousands of times: how many
 * are read, and how many entries are looked at, is bounded.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "source/oci_layout.h"

#define INDEXES_MAX 64
#define LEVELS_MAX  8

struct choice {
	const struct oci_layout *layout;
	const struct platform_wish *wish;
	VECTOR(struct oci_index) indexes; /* all that were read: strings live in them */
	VECTOR(struct oci_descriptor) manifests;
	bool nested;       /* an index was among the entries */
	const char *other; /* the media type of an entry that is nothing to build from */
};

static void choice_free(struct choice *choice)
{
	for (size_t i = 0; i < choice->indexes.count; i++)
		oci_index_free(&choice->indexes.items[i]);
	vector_free(&choice->indexes);
	vector_free(&choice->manifests);
}

static bool has_name(const struct oci_descriptor *entry, const char *ref)
{
	char word[DIGEST_TEXT_MAX];
	return (entry->ref_name && strcmp(entry->ref_name, ref) == 0) ||
	       (entry->full_name && strcmp(entry->full_name, ref) == 0) ||
	       strcmp(digest_text(&entry->digest, word), ref) == 0;
}

/* "latest, v1 and sha256:..."; each name once, and not for ever. */
static void append_images(const struct oci_index *index, struct text *list)
{
	char word[DIGEST_TEXT_MAX];
	size_t said = 0;
	for (size_t i = 0; i < index->manifests.count && said < 20; i++) {
		const struct oci_descriptor *entry = &index->manifests.items[i];
		bool known = false;
		for (size_t j = 0; j < i && entry->ref_name && !known; j++)
			known = index->manifests.items[j].ref_name &&
				strcmp(index->manifests.items[j].ref_name, entry->ref_name) == 0;
		if (known)
			continue;
		char name[160];
		snprintf(name, sizeof name, "%.150s",
			entry->ref_name ? entry->ref_name : digest_text(&entry->digest, word));
		text_format(list, "%s%s", said++ ? ", " : "", text_disarm(name));
	}
	if (said == 20)
		text_append(list, " and more");
}

static int refuse_ref(const struct choice *choice, const struct oci_index *index, const char *ref,
	struct ramet_error *err)
{
	_cleanup_text_ struct text list = {0};
	append_images(index, &list);
	if (list.failed)
		return error_memory(err);
	if (!index->manifests.count)
		return error_set(err, ENOENT, "%s holds no image", choice->layout->place);
	return ref ? error_set(err, ENOENT, "%s has no image '%s'; there is %s",
			     choice->layout->place, ref, list.data)
		   : error_set(err, ENOENT, "%s holds several images; name one behind a colon: %s",
			     choice->layout->place, list.data);
}

/* No name was given: all entries must be of one image. */
static bool is_one_image(const struct oci_index *index)
{
	const struct oci_descriptor *first = index->manifests.items;
	for (size_t i = 1; i < index->manifests.count; i++) {
		const struct oci_descriptor *entry = &first[i];
		if (!entry->ref_name != !first->ref_name ||
			(entry->ref_name && strcmp(entry->ref_name, first->ref_name) != 0))
			return false;
		/* Without names only their platforms can tell them to belong together. */
		if (!entry->ref_name && (!entry->platform.os || !first->platform.os))
			return false;
	}
	return index->manifests.count > 0;
}

static int add_entry(struct choice *choice, const struct oci_descriptor *entry, unsigned level,
	struct ramet_error *err);

static int add_index(struct choice *choice, const struct oci_descriptor *entry, unsigned level,
	struct ramet_error *err)
{
	_cleanup_text_ struct text name = {0};
	oci_layout_name(choice->layout, &entry->digest, &name);
	if (name.failed)
		return error_memory(err);
	if (level == LEVELS_MAX || choice->indexes.count >= INDEXES_MAX)
		return error_set(err, E2BIG,
			"%s: there are too many indexes within indexes (at most %d, %d levels deep)",
			name.data, INDEXES_MAX, LEVELS_MAX);
	_cleanup_free_ char *text = NULL;
	struct oci_index *index = vector_push(&choice->indexes);
	if (!index)
		return error_memory(err);
	*index = (struct oci_index){0};
	int r = oci_layout_read_blob(choice->layout, entry, &text, err);
	if (r == 0)
		r = oci_index_parse(index, name.data, text, entry->size, err);
	/* The vector may move while entries are added; what it points to does not. */
	const struct oci_descriptor *entries = index->manifests.items;
	size_t count = r < 0 ? 0 : index->manifests.count;
	for (size_t i = 0; r == 0 && i < count; i++)
		r = add_entry(choice, &entries[i], level + 1, err);
	return r;
}

static int add_entry(struct choice *choice, const struct oci_descriptor *entry, unsigned level,
	struct ramet_error *err)
{
	if (entry->kind == OCI_INDEX) {
		choice->nested = true;
		return add_index(choice, entry, level, err);
	}
	if (entry->kind != OCI_MANIFEST) {
		choice->other = entry->media_type;
		return 0;
	}
	if (choice->manifests.count >= OCI_DESCRIPTORS_MAX)
		return error_set(err, E2BIG, "%s has more than %d manifests", choice->layout->place,
			OCI_DESCRIPTORS_MAX);
	struct oci_descriptor *place = vector_push(&choice->manifests);
	if (!place)
		return error_memory(err);
	*place = *entry;
	return 0;
}

static int collect(struct choice *choice, const char *ref, struct ramet_error *err)
{
	struct oci_index top = {0};
	_cleanup_text_ struct text name = {0};
	_cleanup_free_ char *text = NULL;
	size_t length;
	text_format(&name, "%s/index.json", choice->layout->place);
	if (name.failed)
		return error_memory(err);
	int r = oci_layout_read(choice->layout, "index.json", &text, &length, err);
	if (r == 0)
		r = oci_index_parse(&top, name.data, text, length, err);
	struct oci_index *kept = vector_push(&choice->indexes);
	if (!kept) {
		oci_index_free(&top);
		return error_memory(err);
	}
	*kept = top;
	if (r < 0)
		return r;
	if (!ref && !is_one_image(&top))
		return refuse_ref(choice, &top, ref, err);
	size_t found = 0;
	for (size_t i = 0; r == 0 && i < top.manifests.count; i++) {
		if (ref && !has_name(&top.manifests.items[i], ref))
			continue;
		found++;
		r = add_entry(choice, &top.manifests.items[i], 0, err);
	}
	return r == 0 && !found ? refuse_ref(choice, &top, ref, err) : r;
}

static int refuse_platform(const struct choice *choice, struct ramet_error *err)
{
	_cleanup_text_ struct text list = {0}, wish = {0};
	platform_wish_append(&wish, choice->wish);
	for (size_t i = 0; i < choice->manifests.count && i < 40; i++) {
		text_append(&list, i ? ", " : "");
		platform_append(&list, &choice->manifests.items[i].platform);
	}
	if (list.failed || wish.failed)
		return error_memory(err);
	return error_set(err, ENOENT, "%s has nothing for %s; there is %s", choice->layout->place,
		wish.data, list.data);
}

static int refuse_empty(const struct choice *choice, struct ramet_error *err)
{
	const char *other = choice->other;
	if (!other)
		return error_set(
			err, ENOENT, "%s: the image's index is empty", choice->layout->place);
	if (oci_kind_of(other) == OCI_MANIFEST_OLD)
		return error_set(err, EOPNOTSUPP,
			"%s: the image's manifest is of Docker's schema 1, which is not read; copy "
			"it with skopeo, which makes a later one",
			choice->layout->place);
	return error_set(err, EOPNOTSUPP, "%s: %.150s is nothing that an image is made of",
		choice->layout->place, other);
}

/* Tools leave an entry in the index twice, now and then. */
static bool are_one(const struct choice *choice)
{
	const struct oci_descriptor *first = choice->manifests.items;
	for (size_t i = 1; i < choice->manifests.count; i++)
		if (!digest_equal(&first->digest, &first[i].digest))
			return false;
	return true;
}

/* The best match, and of equal ones the first, as the specification asks. */
static int pick(const struct choice *choice, struct oci_descriptor *chosen, bool *named,
	struct ramet_error *err)
{
	const struct oci_descriptor *best = NULL;
	int score = 0;
	if (!choice->manifests.count)
		return refuse_empty(choice, err);
	for (size_t i = 0; i < choice->manifests.count; i++) {
		int match = platform_match(choice->wish, &choice->manifests.items[i].platform);
		if (match > score) {
			score = match;
			best = &choice->manifests.items[i];
		}
	}
	*named = best != NULL;
	/* One manifest alone is the image: its configuration says for what. */
	if (!best && are_one(choice) && !(choice->nested && choice->manifests.items[0].platform.os))
		best = choice->manifests.items;
	if (!best)
		return refuse_platform(choice, err);
	*chosen = (struct oci_descriptor){
		.kind = best->kind, .digest = best->digest, .size = best->size};
	return 0;
}

int oci_choose(const struct oci_layout *layout, const char *ref, const struct platform_wish *wish,
	struct oci_descriptor *chosen, bool *named, struct ramet_error *err)
{
	__attribute__((cleanup(choice_free))) struct choice choice = {
		.layout = layout, .wish = wish};
	int r = collect(&choice, ref, err);
	return r < 0 ? r : pick(&choice, chosen, named, err);
}
