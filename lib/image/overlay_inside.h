/* SPDX-License-Identifier: Apache-2.0 */
/* What overlayfs's attributes say, for the views that merge. */
#ifndef IMAGE_OVERLAY_INSIDE_H
#define IMAGE_OVERLAY_INSIDE_H

#include "image/fs.h"

/* The value of trusted.overlay.opaque: 'y', 'x', or 0 for none and any other. */
char overlay_opaque(const struct fs_xattrs *xattrs);
/* A redirect is an absolute path without empty parts, or one name; NULL is fine. -EUCLEAN. */
int overlay_check_redirect(
	const struct fs_xattr *redirect, const char *name, struct ramet_error *err);
/* What of an inode's attributes is to be seen: the overlay's own are hidden, and those that a user
 * gave such a name get it back. */
int overlay_show_xattrs(
	const struct fs_xattrs *all, struct fs_xattrs *shown, struct ramet_error *err);

#endif
