/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The merged view of an overlay: what the guest saw, from the lower tree and the upper one.
 * Documentation/filesystems/overlayfs.rst: whiteouts (0/0 devices, and the trusted.overlay.whiteout
 * attribute of kernel 6.8), opaque directories, redirects, metacopy, escaped attributes.
 */
#ifndef IMAGE_OVERLAY_H
#define IMAGE_OVERLAY_H

#include "image/fs.h"

/* upper_root: the directory of upper that is the overlay's upperdir. Both views are borrowed and
 * must outlive the merged one. Its `same` knows what comes untouched from lower. lower may
 * be a merged view of many images (merged.h). */
int overlay_open(struct fs *lower, struct fs *upper, fs_ref upper_root, struct fs **fs,
	struct ramet_error *err);

#endif
