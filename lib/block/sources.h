/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The open source files of a layout device. A file is opened when it is asked for, checked, and kept
 * open while it is used and a while longer.
 */
#ifndef BLOCK_SOURCES_H
#define BLOCK_SOURCES_H

#include "block/layout_device.h"

struct sources;

/* All borrowed. -ENOMEM. */
int sources_new(const struct lazy *lazy, const struct block_layout_options *options,
	struct sources **sources);
/* Nothing may be held. NULL is fine. */
void sources_free(struct sources *sources);

/* The file, when it is open: its fd and its place, held until sources_put(), and whether it may not
 * answer for ever. false: it has to be made ready. Never blocks. -EIO in *result: it has stalled, and
 * is not waited for. */
bool sources_take(struct sources *sources, uint32_t file, struct block_extent *extent, int *result);
/* Open and check the file. Blocks. 0, -EIO (a note says why) or -ENOMEM. It may not be open even so:
 * ask again. */
int sources_ready(struct sources *sources, uint32_t file);
/* It was read. -EIO: the bytes are not to be believed. Blocks for an extent with a group. */
int sources_put(struct sources *sources, const struct block_extent *extent);
/* As block_ops.stalled. */
void sources_stalled(struct sources *sources, const struct block_extent *extent, bool over);
/* The group of a file. */
uint16_t sources_group(const struct sources *sources, uint32_t file);

#endif
