/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proving a view whole: every directory, inode, attribute and target is read, then all content,
 * and what does not fit together is reported. A failure of one object is a finding, and the next
 * one is looked at.
 *
 * Decompressing is most of the work, so several children do it, each for its share of the content.
 * Each reads the metadata, which is little; the first one reports on it.
 */
#ifndef LOOK_PROOF_H
#define LOOK_PROOF_H

#include "changes/changes.h"
#include "image/image.h"
#include "look/report.h"

struct proof_share {
	unsigned number, count; /* share 0 .. count - 1 */
	int progress_fd;        /* gets struct proof_progress now and then; -1: nobody listens */
};
struct proof_progress {
	uint32_t share;
	uint64_t done, total; /* bytes of this share's content */
};

struct proof_result {
	uint64_t entries, files;
	uint64_t content_bytes; /* of all files, hard links once, holes included */
	uint64_t bytes_read;    /* of this share */
	struct report report;
};

/* All that is wrong with the image is in the report. Fails when there is no memory, and when
 * something cannot be read here (-EOPNOTSUPP). */
int look_prove(const struct changes_view *view, const struct image_facts *facts,
	const struct proof_share *share, struct proof_result *result, struct ramet_error *err);

#endif
