/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the JSON of an OCI image says: pure, from bytes to structures. Strings belong to the
 * document inside; free each structure with its own function, also after a failure.
 */
#ifndef SOURCE_OCI_JSON_H
#define SOURCE_OCI_JSON_H

#include "base/digest.h"
#include "base/document.h"
#include "base/vector.h"

#define OCI_LAYERS_MAX      500
#define OCI_DESCRIPTORS_MAX 10000

enum oci_kind {
	OCI_OTHER, /* none that an image is made of */
	OCI_INDEX,
	OCI_MANIFEST,
	OCI_CONFIG,
	OCI_LAYER,
	OCI_LAYER_FOREIGN, /* to be fetched from elsewhere */
	OCI_LAYER_ENCRYPTED,
	OCI_MANIFEST_OLD, /* Docker's schema 1 */
};
enum oci_kind oci_kind_of(const char *media_type);

struct oci_platform {
	const char *os, *architecture, *variant; /* variant NULL: none; os NULL: not known */
};

struct oci_descriptor {
	const char *media_type;
	enum oci_kind kind;
	struct digest digest;
	uint64_t size;
	const char *ref_name;  /* org.opencontainers.image.ref.name, or NULL */
	const char *full_name; /* io.containerd.image.name, or NULL */
	struct oci_platform platform;
};

struct oci_index {
	struct document document;
	VECTOR(struct oci_descriptor) manifests;
};
int oci_index_parse(struct oci_index *index, const char *name, const char *text, size_t length,
	struct ramet_error *err);
void oci_index_free(struct oci_index *index);
#define _cleanup_oci_index_ __attribute__((cleanup(oci_index_free)))

/* Artifacts, and layers that cannot be read, are refused by name. */
struct oci_manifest {
	struct document document;
	struct oci_descriptor config;
	VECTOR(struct oci_descriptor) layers;
};
int oci_manifest_parse(struct oci_manifest *manifest, const char *name, const char *text,
	size_t length, struct ramet_error *err);
void oci_manifest_free(struct oci_manifest *manifest);
#define _cleanup_oci_manifest_ __attribute__((cleanup(oci_manifest_free)))

/* The configuration of an image (Docker's has the same form). */
struct oci_config {
	struct document document;
	struct oci_platform platform;
	VECTOR(struct digest) diff_ids;
	char *process; /* JSON (source/process.h), or NULL: the image has no default command */
};
int oci_config_parse(struct oci_config *config, const char *name, const char *text, size_t length,
	struct ramet_error *err);
void oci_config_free(struct oci_config *config);
#define _cleanup_oci_config_ __attribute__((cleanup(oci_config_free)))

/* "oci-layout": -EPROTONOSUPPORT for a version that is not 1.x. */
int oci_layout_check(const char *name, const char *text, size_t length, struct ramet_error *err);

/* manifest.json of `docker save`. */
struct docker_image {
	const char *config; /* name of a member */
	VECTOR(const char *) tags;
	VECTOR(const char *) layers;
};
struct docker_manifest {
	struct document document;
	VECTOR(struct docker_image) images;
};
int docker_manifest_parse(struct docker_manifest *manifest, const char *name, const char *text,
	size_t length, struct ramet_error *err);
void docker_manifest_free(struct docker_manifest *manifest);
#define _cleanup_docker_manifest_ __attribute__((cleanup(docker_manifest_free)))

#endif
