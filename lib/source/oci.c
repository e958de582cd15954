/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image of an OCI layout: index -> manifest -> configuration and layers, each found by the digest
 * that the one before says. The small ones are read and verified here; layers are only opened, and
 * verified while the tree is made of them.
 */
#include "source/oci.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "source/image_layers.h"
#include "source/oci_layout.h"

int place_split(const char *place, char **path, const char **ref, struct ramet_error *err)
{
	struct stat st;
	*ref = NULL;
	*path = strdup(place);
	if (!*path)
		return error_memory(err);
	if (stat(place, &st) == 0)
		return 0;
	for (const char *colon = strchr(place, ':'); colon; colon = strchr(colon + 1, ':')) {
		(*path)[colon - place] = '\0';
		if (stat(*path, &st) == 0 || strcmp(*path, "-") == 0) {
			*ref = colon + 1;
			return 0;
		}
		(*path)[colon - place] = ':';
	}
	/* Opening it will say what is wrong with it, by the name that was most likely meant. */
	char *first = strchr(*path, ':');
	if (first) {
		*first = '\0';
		*ref = place + (first - *path) + 1;
	}
	return 0;
}

int platform_check(const struct oci_config *config, const struct platform_wish *wish,
	const struct source_request *request, const char *place, struct ramet_error *err)
{
	if (platform_match(wish, &config->platform))
		return 0;
	_cleanup_text_ struct text is = {0}, wanted = {0};
	platform_append(&is, &config->platform);
	platform_wish_append(&wanted, wish);
	if (is.failed || wanted.failed)
		return error_memory(err);
	if (wish->asked)
		return error_set(err, ENOENT, "the image in %s is for %s and not for %s", place,
			is.data, wanted.data);
	char sentence[512];
	snprintf(sentence, sizeof sentence, "the image is for %s, and this host is %s", is.data,
		wanted.data);
	if (request->note)
		request->note(request->note_ctx, sentence);
	return 0;
}

static int add_layer(struct image_source *image, const struct oci_layout *layout,
	const struct oci_descriptor *layer, const struct digest *diff_id, struct ramet_error *err)
{
	_cleanup_text_ struct text name = {0};
	oci_layout_name(layout, &layer->digest, &name);
	if (name.failed)
		return error_memory(err);
	int *fd = vector_push(&image->source.fds);
	if (!fd)
		return error_memory(err);
	*fd = oci_layout_blob(layout, layer, err);
	if (*fd < 0)
		return *fd;
	struct reel reel;
	int r = reel_of_file(&reel, *fd, name.data, err);
	return r < 0 ? r : image_source_add(image, &reel, &layer->digest, diff_id, err);
}

static int add_layers(struct image_source *image, const struct oci_layout *layout,
	const struct oci_manifest *manifest, const struct oci_config *config,
	struct ramet_error *err)
{
	if (manifest->layers.count != config->diff_ids.count)
		return error_set(err, EBADMSG,
			"%s has %zu layers, and %s tells of %zu (rootfs.diff_ids)",
			manifest->document.name, manifest->layers.count, config->document.name,
			config->diff_ids.count);
	int r = 0;
	for (size_t i = 0; r == 0 && i < manifest->layers.count; i++) {
		const struct oci_descriptor *layer = &manifest->layers.items[i];
		r = add_layer(image, layout, layer, &config->diff_ids.items[i], err);
	}
	return r;
}

/* The documents of one image, and their names and texts. */
struct documents {
	struct oci_manifest manifest;
	struct oci_config config;
	struct text manifest_name, config_name;
};

static void documents_free(struct documents *documents)
{
	oci_manifest_free(&documents->manifest);
	oci_config_free(&documents->config);
	text_free(&documents->manifest_name);
	text_free(&documents->config_name);
}

static int read_manifest(struct documents *documents, const struct oci_layout *layout,
	const struct oci_descriptor *chosen, struct ramet_error *err)
{
	_cleanup_free_ char *text = NULL;
	oci_layout_name(layout, &chosen->digest, &documents->manifest_name);
	if (documents->manifest_name.failed)
		return error_memory(err);
	int r = oci_layout_read_blob(layout, chosen, &text, err);
	return r < 0 ? r
		     : oci_manifest_parse(&documents->manifest, documents->manifest_name.data, text,
			       chosen->size, err);
}

static int read_config(
	struct documents *documents, const struct oci_layout *layout, struct ramet_error *err)
{
	const struct oci_descriptor *config = &documents->manifest.config;
	_cleanup_free_ char *text = NULL;
	oci_layout_name(layout, &config->digest, &documents->config_name);
	if (documents->config_name.failed)
		return error_memory(err);
	int r = oci_layout_read_blob(layout, config, &text, err);
	return r < 0 ? r
		     : oci_config_parse(&documents->config, documents->config_name.data, text,
			       config->size, err);
}

static int open_image(struct image_source *image, const char *path, const char *ref,
	const struct source_request *request, struct ramet_error *err)
{
	__attribute__((cleanup(documents_free))) struct documents documents = {0};
	_cleanup_oci_layout_ struct oci_layout layout = OCI_LAYOUT_NONE;
	struct platform_wish wish;
	struct oci_descriptor chosen;
	bool named;
	int r = platform_wish_parse(request->platform, &wish, err);
	if (r == 0)
		r = oci_layout_open(&layout, path, err);
	if (r == 0)
		r = oci_choose(&layout, ref, &wish, &chosen, &named, err);
	if (r == 0)
		r = read_manifest(&documents, &layout, &chosen, err);
	if (r == 0)
		r = read_config(&documents, &layout, err);
	/* The index's word counts: some tools leave a variant out of the configuration. */
	if (r == 0 && !named)
		r = platform_check(&documents.config, &wish, request, path, err);
	if (r == 0)
		r = add_layers(image, &layout, &documents.manifest, &documents.config, err);
	image->source.process = TAKE_PTR(documents.config.process);
	return r;
}

int source_open_oci(const char *place, const struct source_request *request, struct source **out,
	struct ramet_error *err)
{
	_cleanup_free_ char *path = NULL;
	const char *ref;
	struct image_source *image;
	int r = image_source_new(&image, place, err);
	if (r < 0)
		return r;
	r = place_split(place, &path, &ref, err);
	if (r == 0)
		r = open_image(image, path, ref, request, err);
	if (r < 0)
		source_close(&image->source);
	else
		*out = &image->source;
	return r;
}
