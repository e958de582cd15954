/* SPDX-License-Identifier: Apache-2.0 */
/* OCI runtime bundles: a folder with config.json and, most often, the root in it. */
#ifndef SOURCE_BUNDLE_H
#define SOURCE_BUNDLE_H

#include "source/oci_json.h"
#include "source/source.h"

/* What config.json says; pure. Strings belong to the document. */
struct bundle_mount {
	const char *destination, *type, *source; /* type and source may be NULL */
	bool bind, read_only;
};
struct bundle_config {
	struct document document;
	const char *root; /* as it is written: relative to the bundle, or absolute */
	bool read_only;
	VECTOR(struct bundle_mount) mounts;
	char *process; /* as in struct source; the caller may take it */
};
int bundle_config_parse(struct bundle_config *config, const char *name, const char *text,
	size_t length, struct ramet_error *err);
void bundle_config_free(struct bundle_config *config);
#define _cleanup_bundle_config_ __attribute__((cleanup(bundle_config_free)))

/* The kind. Not hostile in the sense of source.h: the kernel reads the root. */
int source_open_bundle(const char *place, const struct source_request *request,
	struct source **source, struct ramet_error *err);

#endif
