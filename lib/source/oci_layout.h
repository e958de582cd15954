/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An OCI image layout in a folder: its index, and blobs under names made of their digests. Files are
 * opened beneath the folder, and no symlink on the way is followed.
 */
#ifndef SOURCE_OCI_LAYOUT_H
#define SOURCE_OCI_LAYOUT_H

#include "base/text.h"
#include "source/oci_json.h"
#include "source/oci_platform.h"

struct oci_layout {
	int dirfd;
	char *place; /* as the user wrote it, for messages */
};
#define OCI_LAYOUT_NONE \
	{ \
		.dirfd = -1 \
	}

/* Errors: ENOENT, ENOTDIR, EBADMSG (it is no image layout), EPROTONOSUPPORT (its version). */
int oci_layout_open(struct oci_layout *layout, const char *place, struct ramet_error *err);
void oci_layout_close(struct oci_layout *layout);
#define _cleanup_oci_layout_ __attribute__((cleanup(oci_layout_close)))

/* "PLACE/blobs/sha256/HEX", or "PLACE/NAME". */
void oci_layout_name(
	const struct oci_layout *layout, const struct digest *digest, struct text *name);

/* The whole of a small file of the layout ("index.json"); the caller frees *text. */
int oci_layout_read(const struct oci_layout *layout, const char *file, char **text, size_t *length,
	struct ramet_error *err);
/* A blob: a regular file of the size that the descriptor says. An fd, or a negative errno. */
int oci_layout_blob(const struct oci_layout *layout, const struct oci_descriptor *descriptor,
	struct ramet_error *err);
/* The whole of a blob of JSON, its digest verified. */
int oci_layout_read_blob(const struct oci_layout *layout, const struct oci_descriptor *descriptor,
	char **text, struct ramet_error *err);

/*
 * Which manifest of the layout ref (NULL: the only image) and the platform mean; indexes within the
 * index are followed. *chosen has no strings. *named: its platform was matched, by the index's word.
 * -ENOENT, listing what there is.
 */
int oci_choose(const struct oci_layout *layout, const char *ref, const struct platform_wish *wish,
	struct oci_descriptor *chosen, bool *named, struct ramet_error *err);

#endif
