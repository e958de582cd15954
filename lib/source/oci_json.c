/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The forms are those of the OCI image specification (descriptor.md, image-index.md, manifest.md,
 * config.md, image-layout.md) and of Docker's image manifest version 2 schema 2. Only what building
 * a tree needs is looked at; what is there is checked, so that a mistake is told where it stands.
 */
#include "source/oci_json.h"

#include <string.h>

#include "source/process.h"

#define REF_NAME  "org.opencontainers.image.ref.name"
#define FULL_NAME "io.containerd.image.name"

static const struct {
	const char *media_type;
	enum oci_kind kind;
} kinds[] = {
	{"application/vnd.oci.image.index.v1+json", OCI_INDEX},
	{"application/vnd.oci.image.manifest.v1+json", OCI_MANIFEST},
	{"application/vnd.oci.image.config.v1+json", OCI_CONFIG},
	{"application/vnd.oci.image.layer.v1.tar", OCI_LAYER},
	{"application/vnd.oci.image.layer.v1.tar+gzip", OCI_LAYER},
	{"application/vnd.oci.image.layer.v1.tar+zstd", OCI_LAYER},
	{"application/vnd.oci.image.layer.nondistributable.v1.tar", OCI_LAYER_FOREIGN},
	{"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", OCI_LAYER_FOREIGN},
	{"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", OCI_LAYER_FOREIGN},
	{"application/vnd.docker.distribution.manifest.list.v2+json", OCI_INDEX},
	{"application/vnd.docker.distribution.manifest.v2+json", OCI_MANIFEST},
	{"application/vnd.docker.distribution.manifest.v1+json", OCI_MANIFEST_OLD},
	{"application/vnd.docker.distribution.manifest.v1+prettyjws", OCI_MANIFEST_OLD},
	{"application/vnd.docker.container.image.v1+json", OCI_CONFIG},
	{"application/vnd.docker.image.rootfs.diff.tar", OCI_LAYER},
	{"application/vnd.docker.image.rootfs.diff.tar.gzip", OCI_LAYER},
	{"application/vnd.docker.image.rootfs.diff.tar.zstd", OCI_LAYER},
	{"application/vnd.docker.image.rootfs.foreign.diff.tar", OCI_LAYER_FOREIGN},
	{"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", OCI_LAYER_FOREIGN},
};

enum oci_kind oci_kind_of(const char *media_type)
{
	static const char encrypted[] = "+encrypted";
	size_t length = strlen(media_type);
	if (length > strlen(encrypted) &&
		strcmp(media_type + length - strlen(encrypted), encrypted) == 0)
		return OCI_LAYER_ENCRYPTED;
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (strcmp(media_type, kinds[i].media_type) == 0)
			return kinds[i].kind;
	return OCI_OTHER;
}

static int read_digest(const struct field *field, struct digest *digest, struct ramet_error *err)
{
	if (digest_parse(json_string_value(field->value), digest) == 0)
		return 0;
	return field_refuse(field, EBADMSG, err,
		"is '%.150s' and must be sha256 or sha512, a colon and its lower-case hexadecimal "
		"digits",
		json_string_value(field->value));
}

static int read_platform(
	const struct field *object, struct oci_platform *platform, struct ramet_error *err)
{
	struct field field;
	int r = field_get(object, "platform", JSON_OBJECT, FIELD_OPTIONAL, &field, err);
	if (r < 0 || !field.value)
		return r;
	r = field_string(&field, "os", FIELD_NEEDED, &platform->os, err);
	if (r == 0)
		r = field_string(
			&field, "architecture", FIELD_NEEDED, &platform->architecture, err);
	return r < 0 ? r : field_string(&field, "variant", FIELD_OPTIONAL, &platform->variant, err);
}

static int read_names(const struct field *object, struct oci_descriptor *d, struct ramet_error *err)
{
	struct field field;
	int r = field_get(object, "annotations", JSON_OBJECT, FIELD_OPTIONAL, &field, err);
	if (r == 0)
		r = field_string(&field, REF_NAME, FIELD_OPTIONAL, &d->ref_name, err);
	return r < 0 ? r : field_string(&field, FULL_NAME, FIELD_OPTIONAL, &d->full_name, err);
}

static int read_descriptor(
	const struct field *object, struct oci_descriptor *d, struct ramet_error *err)
{
	struct field digest;
	*d = (struct oci_descriptor){0};
	int r = field_string(object, "mediaType", FIELD_NEEDED, &d->media_type, err);
	if (r == 0)
		r = field_get(object, "digest", JSON_STRING, FIELD_NEEDED, &digest, err);
	if (r == 0)
		r = read_digest(&digest, &d->digest, err);
	if (r == 0)
		r = field_uint(object, "size", FIELD_NEEDED, INT64_MAX, &d->size, err);
	if (r == 0)
		r = read_platform(object, &d->platform, err);
	if (r == 0)
		r = read_names(object, d, err);
	if (r == 0)
		d->kind = oci_kind_of(d->media_type);
	return r;
}

/* The version, and that it is not two kinds of document at once (CVE-2021-41190). */
static int check_form(const struct field *root, const char *foreign, struct ramet_error *err)
{
	uint64_t version = 0;
	int r = field_uint(root, "schemaVersion", FIELD_NEEDED, INT64_MAX, &version, err);
	if (r < 0)
		return r;
	if (version != 2)
		return error_set(err, EPROTONOSUPPORT,
			"%s: schemaVersion is %llu, and only 2 is known", root->document->name,
			(unsigned long long)version);
	if (json_object_get(root->value, foreign))
		return error_set(err, EBADMSG,
			"%s has '%s' in it: it is an index and a manifest at once, and cannot be "
			"trusted to be either",
			root->document->name, foreign);
	return 0;
}

int oci_index_parse(struct oci_index *index, const char *name, const char *text, size_t length,
	struct ramet_error *err)
{
	*index = (struct oci_index){0};
	struct field list, item;
	int r = document_parse(&index->document, name, text, length, JSON_OBJECT, err);
	if (r < 0)
		return r;
	struct field root = field_root(&index->document);
	r = check_form(&root, "layers", err);
	if (r == 0)
		r = field_get(&root, "manifests", JSON_ARRAY, FIELD_NEEDED, &list, err);
	if (r == 0 && field_count(&list) > OCI_DESCRIPTORS_MAX)
		return field_refuse(&list, E2BIG, err, "has %zu items; an index can have %d",
			field_count(&list), OCI_DESCRIPTORS_MAX);
	for (size_t i = 0; r == 0 && i < field_count(&list); i++) {
		struct oci_descriptor *place = vector_push(&index->manifests);
		if (!place)
			return error_memory(err);
		r = field_item(&list, i, JSON_OBJECT, &item, err);
		if (r == 0)
			r = read_descriptor(&item, place, err);
	}
	return r;
}

void oci_index_free(struct oci_index *index)
{
	vector_free(&index->manifests);
	document_free(&index->document);
}

static int check_layer(
	const struct field *item, const struct oci_descriptor *layer, struct ramet_error *err)
{
	switch (layer->kind) {
	case OCI_LAYER:
		return 0;
	case OCI_LAYER_ENCRYPTED:
		return field_refuse(item, EOPNOTSUPP, err,
			"is encrypted (%s); decrypt the image first", layer->media_type);
	case OCI_LAYER_FOREIGN:
		return field_refuse(item, EOPNOTSUPP, err,
			"is a layer that may not be distributed and has to be fetched from "
			"elsewhere (%s)",
			layer->media_type);
	default:
		return field_refuse(item, EOPNOTSUPP, err,
			"is of the media type %s, which is no layer of an image",
			layer->media_type);
	}
}

static int read_layers(
	struct oci_manifest *manifest, const struct field *root, struct ramet_error *err)
{
	struct field list, item;
	int r = field_get(root, "layers", JSON_ARRAY, FIELD_NEEDED, &list, err);
	if (r == 0 && field_count(&list) > OCI_LAYERS_MAX)
		return field_refuse(&list, E2BIG, err, "has %zu items; an image can have %d",
			field_count(&list), OCI_LAYERS_MAX);
	for (size_t i = 0; r == 0 && i < field_count(&list); i++) {
		struct oci_descriptor *place = vector_push(&manifest->layers);
		if (!place)
			return error_memory(err);
		r = field_item(&list, i, JSON_OBJECT, &item, err);
		if (r == 0)
			r = read_descriptor(&item, place, err);
		if (r == 0)
			r = check_layer(&item, place, err);
	}
	return r;
}

int oci_manifest_parse(struct oci_manifest *manifest, const char *name, const char *text,
	size_t length, struct ramet_error *err)
{
	*manifest = (struct oci_manifest){0};
	struct field config;
	const char *media_type;
	int r = document_parse(&manifest->document, name, text, length, JSON_OBJECT, err);
	if (r < 0)
		return r;
	struct field root = field_root(&manifest->document);
	r = check_form(&root, "manifests", err);
	if (r == 0)
		r = field_string(&root, "mediaType", FIELD_OPTIONAL, &media_type, err);
	if (r == 0 && media_type && oci_kind_of(media_type) != OCI_MANIFEST)
		return error_set(err, EBADMSG, "%s: mediaType is '%.150s', which is no manifest",
			name, media_type);
	if (r == 0)
		r = field_get(&root, "config", JSON_OBJECT, FIELD_NEEDED, &config, err);
	if (r == 0)
		r = read_descriptor(&config, &manifest->config, err);
	if (r == 0 && manifest->config.kind != OCI_CONFIG)
		return error_set(err, EOPNOTSUPP,
			"%s is an artifact (%.150s) and not an image of a filesystem", name,
			manifest->config.media_type);
	return r < 0 ? r : read_layers(manifest, &root, err);
}

void oci_manifest_free(struct oci_manifest *manifest)
{
	vector_free(&manifest->layers);
	document_free(&manifest->document);
}

static int read_diff_ids(
	struct oci_config *config, const struct field *root, struct ramet_error *err)
{
	struct field rootfs, list, item;
	const char *type;
	int r = field_get(root, "rootfs", JSON_OBJECT, FIELD_NEEDED, &rootfs, err);
	if (r == 0)
		r = field_string(&rootfs, "type", FIELD_NEEDED, &type, err);
	if (r == 0 && strcmp(type, "layers") != 0)
		return field_refuse(
			&rootfs, EOPNOTSUPP, err, "is of type '%s' and not of 'layers'", type);
	if (r == 0)
		r = field_get(&rootfs, "diff_ids", JSON_ARRAY, FIELD_OPTIONAL, &list, err);
	if (r == 0 && field_count(&list) > OCI_LAYERS_MAX)
		return field_refuse(&list, E2BIG, err, "has %zu items; an image can have %d",
			field_count(&list), OCI_LAYERS_MAX);
	for (size_t i = 0; r == 0 && i < field_count(&list); i++) {
		struct digest *place = vector_push(&config->diff_ids);
		if (!place)
			return error_memory(err);
		r = field_item(&list, i, JSON_STRING, &item, err);
		if (r == 0)
			r = read_digest(&item, place, err);
	}
	return r;
}

/* The command is Entrypoint and Cmd, one behind the other. */
static int read_process(
	struct oci_config *config, const struct field *root, struct ramet_error *err)
{
	_cleanup_process_builder_ struct process_builder builder = {0};
	struct field inner, user;
	int r = field_get(root, "config", JSON_OBJECT, FIELD_OPTIONAL, &inner, err);
	if (r < 0 || !inner.value)
		return r;
	r = process_add_strings(
		&builder, &builder.args, &inner, "Entrypoint", PROCESS_ARGUMENTS_MAX, err);
	if (r == 0)
		r = process_add_strings(
			&builder, &builder.args, &inner, "Cmd", PROCESS_ARGUMENTS_MAX, err);
	if (r == 0)
		r = process_add_environment(&builder, &inner, "Env", err);
	if (r == 0)
		r = process_set_cwd(&builder, &inner, "WorkingDir", err);
	if (r == 0)
		r = field_get(&inner, "User", JSON_STRING, FIELD_OPTIONAL, &user, err);
	if (r == 0)
		r = process_set_user(
			&builder, &user, user.value ? json_string_value(user.value) : NULL, err);
	return r < 0 ? r : process_write(&builder, &inner, &config->process, err);
}

int oci_config_parse(struct oci_config *config, const char *name, const char *text, size_t length,
	struct ramet_error *err)
{
	*config = (struct oci_config){0};
	int r = document_parse(&config->document, name, text, length, JSON_OBJECT, err);
	if (r < 0)
		return r;
	struct field root = field_root(&config->document);
	struct oci_platform *platform = &config->platform;
	r = field_string(&root, "os", FIELD_NEEDED, &platform->os, err);
	if (r == 0)
		r = field_string(&root, "architecture", FIELD_NEEDED, &platform->architecture, err);
	if (r == 0)
		r = field_string(&root, "variant", FIELD_OPTIONAL, &platform->variant, err);
	if (r == 0)
		r = read_diff_ids(config, &root, err);
	return r < 0 ? r : read_process(config, &root, err);
}

void oci_config_free(struct oci_config *config)
{
	vector_free(&config->diff_ids);
	free(config->process);
	document_free(&config->document);
}

int oci_layout_check(const char *name, const char *text, size_t length, struct ramet_error *err)
{
	_cleanup_document_ struct document document = {0};
	const char *version;
	int r = document_parse(&document, name, text, length, JSON_OBJECT, err);
	if (r < 0)
		return r;
	struct field root = field_root(&document);
	r = field_string(&root, "imageLayoutVersion", FIELD_NEEDED, &version, err);
	if (r == 0 && strncmp(version, "1.", 2) != 0)
		return error_set(err, EPROTONOSUPPORT,
			"%s: imageLayoutVersion is '%.64s', and only 1.x is known", name, version);
	return r;
}
