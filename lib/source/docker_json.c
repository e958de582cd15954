/* SPDX-License-Identifier: Apache-2.0 */
/*
 * manifest.json at the top of a `docker save` archive: an array with one object an image, whose
 * Config and Layers are names of members of the archive. The form is told by Docker's image
 * specification v1.2, "Combined Image JSON + Filesystem Changeset Format".
 */
#include <stdlib.h>

#include "source/oci_json.h"

/* Strings of an array, all of them: into a vector of borrowed strings. */
struct strings {
	const char ***items;
	size_t *count, *capacity;
};

static int read_strings(const struct field *object, const char *key, size_t most,
	const struct strings *strings, struct ramet_error *err)
{
	struct field list, item;
	int r = field_get(object, key, JSON_ARRAY, FIELD_OPTIONAL, &list, err);
	if (r == 0 && field_count(&list) > most)
		return field_refuse(&list, E2BIG, err, "has %zu items; an image can have %zu",
			field_count(&list), most);
	for (size_t i = 0; r == 0 && i < field_count(&list); i++) {
		const char **place = vector_grow(
			(void **)strings->items, strings->count, strings->capacity, sizeof(char *));
		if (!place)
			return error_memory(err);
		r = field_item(&list, i, JSON_STRING, &item, err);
		*place = r == 0 ? json_string_value(item.value) : NULL;
	}
	return r;
}

#define STRINGS(vector) \
	(&(const struct strings){&(vector).items, &(vector).count, &(vector).capacity})

static int read_image(const struct field *item, struct docker_image *image, struct ramet_error *err)
{
	*image = (struct docker_image){0};
	int r = field_string(item, "Config", FIELD_NEEDED, &image->config, err);
	if (r == 0)
		r = read_strings(item, "RepoTags", OCI_DESCRIPTORS_MAX, STRINGS(image->tags), err);
	return r < 0 ? r
		     : read_strings(item, "Layers", OCI_LAYERS_MAX, STRINGS(image->layers), err);
}

int docker_manifest_parse(struct docker_manifest *manifest, const char *name, const char *text,
	size_t length, struct ramet_error *err)
{
	*manifest = (struct docker_manifest){0};
	struct field item;
	int r = document_parse(&manifest->document, name, text, length, JSON_ARRAY, err);
	if (r < 0)
		return r;
	struct field root = field_root(&manifest->document);
	if (field_count(&root) == 0 || field_count(&root) > OCI_DESCRIPTORS_MAX)
		return error_set(err, EBADMSG, "%s tells of %zu images; there can be 1 to %d", name,
			field_count(&root), OCI_DESCRIPTORS_MAX);
	for (size_t i = 0; r == 0 && i < field_count(&root); i++) {
		struct docker_image *place = vector_push(&manifest->images);
		if (!place)
			return error_memory(err);
		*place = (struct docker_image){0};
		r = field_item(&root, i, JSON_OBJECT, &item, err);
		if (r == 0)
			r = read_image(&item, place, err);
	}
	return r;
}

void docker_manifest_free(struct docker_manifest *manifest)
{
	for (size_t i = 0; i < manifest->images.count; i++) {
		vector_free(&manifest->images.items[i].tags);
		vector_free(&manifest->images.items[i].layers);
	}
	vector_free(&manifest->images);
	document_free(&manifest->document);
}
