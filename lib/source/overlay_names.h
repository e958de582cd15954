/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The attributes by which overlayfs keeps its notes in a layer (fs/overlayfs/overlayfs.h and
 * Documentation/filesystems/overlayfs.rst in the kernel): "trusted.overlay.NAME", or
 * "user.overlay.NAME" where the overlay was mounted with userxattr. An attribute that a user of the
 * overlay called trusted.overlay.NAME is kept as trusted.overlay.overlay.NAME.
 */
#ifndef SOURCE_OVERLAY_NAMES_H
#define SOURCE_OVERLAY_NAMES_H

#define OVERLAY_TRUSTED  "trusted.overlay."
#define OVERLAY_USER     "user.overlay."
#define OVERLAY_ESCAPE   "overlay." /* after either prefix: an attribute of the user's own */
#define OVERLAY_OPAQUE   "opaque"   /* of a directory: "y", not merged; "x", see whiteout */
#define OVERLAY_REDIRECT "redirect" /* the path or name of what is merged with */
#define OVERLAY_METACOPY "metacopy" /* of a file: its content is below */
#define OVERLAY_WHITEOUT "whiteout" /* of an empty file, in a directory that is opaque "x" */

/* Whiteouts as container layers have them (OCI image specification, layer.md). */
#define OCI_WHITEOUT      ".wh."
#define OCI_WHITEOUT_META ".wh..wh." /* bookkeeping of AUFS, but for the next */
#define OCI_OPAQUE        ".wh..wh..opq"

/* Longest chain of names that the kernel's path walk takes. */
#define OVERLAY_PATH_MAX 4096

#endif
