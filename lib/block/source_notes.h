/* SPDX-License-Identifier: Apache-2.0 */
/* What an operator is told of source files, each file and cause once. From any thread. */
#ifndef BLOCK_SOURCE_NOTES_H
#define BLOCK_SOURCE_NOTES_H

#include "block/layout_device.h"
#include "image/source_file.h"

struct source_notes;

/* All borrowed. -ENOMEM. */
int source_notes_new(const struct lazy *lazy, const struct block_layout_options *options,
	struct source_notes **notes);
void source_notes_free(struct source_notes *notes); /* NULL is fine */

/* Nothing is said of SOURCE_RIGHT. code: an errno, or 0. */
void source_note_cause(
	struct source_notes *notes, uint32_t file, enum source_cause cause, int code);
/* Reading a file has stalled, or that is over. The first of a root's files that stalls is told of,
 * and when all of them have answered. */
void source_note_stalled(struct source_notes *notes, uint32_t file, bool over);
/* Whether one of the file's reads has stalled and is not over. */
bool source_is_stalled(struct source_notes *notes, uint32_t file);

#endif
