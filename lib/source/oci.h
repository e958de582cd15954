/* SPDX-License-Identifier: Apache-2.0 */
/* Container images as sources: OCI image layouts, and archives of `docker save`. Hostile. */
#ifndef SOURCE_OCI_H
#define SOURCE_OCI_H

#include "source/oci_json.h"
#include "source/oci_platform.h"
#include "source/reel.h"
#include "source/source.h"

/* DIR[:REF] */
int source_open_oci(const char *place, const struct source_request *request, struct source **source,
	struct ramet_error *err);
/* FILE[:REF]; FILE may be "-". */
int source_open_docker(const char *place, const struct source_request *request,
	struct source **source, struct ramet_error *err);

/* Whether the file is an archive of `docker save`, by the names of its members: manifest.json at the
 * top, and nothing that does not belong to such an archive. Looked at in a sandbox. */
bool source_is_docker(int fd);

/*
 * Cut "PLACE:REF" in two: PLACE is what stands before the first colon that has something of that name
 * before it. *path is for the caller to free; *ref points into place, NULL when there is none.
 */
int place_split(const char *place, char **path, const char **ref, struct ramet_error *err);

/* Refuse a configuration for another platform than was asked for; for another than the host's a note
 * is enough. */
int platform_check(const struct oci_config *config, const struct platform_wish *wish,
	const struct source_request *request, const char *place, struct ramet_error *err);

#endif
