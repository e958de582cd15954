/* SPDX-License-Identifier: Apache-2.0 */
/* An image that is laid out instead of written: `ramet build --lazy`. */
#ifndef API_BUILD_LAZY_H
#define API_BUILD_LAZY_H

#include "api/work.h"
#include "image/image.h"

struct tree;

/* -EINVAL, with what to leave away, when an option cannot go with lazy. */
int build_lazy_check(const struct ramet_build_options *options, struct ramet_error *err);
/* Where the image's metadata are put down before they are packed: a nameless file in memory. The
 * caller closes it. */
int build_lazy_spool(struct ramet_error *err);
/* Lay the tree out in the spool, and write the lazy file into out, both empty. Fills figures and what
 * the result says of lazy images. Errors: those of image_format.write and lazy_write. */
int build_lazy_write(const struct image_format *format, struct tree *tree,
	const struct image_options *options, int spool, int out, struct image_figures *figures,
	struct ramet_build_result *result, struct ramet_error *err);

/* The work was a sandboxed child's, and what it wrote into out (its name: path) will be believed: each
 * folder that it names must be one that the work had. -EPERM: one is not. */
int build_lazy_check_roots(
	const struct work *work, int out, const char *path, struct ramet_error *err);
/* Say which files of the finished tree the user, who makes the image, may not read: nobody reads them
 * before a guest does. */
void build_lazy_tell_unreadable(struct tree *tree, uid_t user, const struct work_reports *reports);

#endif
