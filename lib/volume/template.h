/* SPDX-License-Identifier: Apache-2.0 */
/* Blank ext4 volumes: computed once per size, then a few pwrites each. */
#ifndef VOLUME_TEMPLATE_H
#define VOLUME_TEMPLATE_H

#include <stddef.h>
#include <stdint.h>

#include "volume/superblock.h"
#include "volume/volume.h"

/* The sizes that a blank volume can have: from the first to below the second, where the numbers of
 * 4 KiB blocks need more than 32 bits (and where the files of a host's ext4 end). */
#define TEMPLATE_SIZE_MIN   ((uint64_t)4 << 20)
#define TEMPLATE_SIZE_LIMIT ((uint64_t)16 << 40)

/* All that is not zero in a blank volume. */
struct template
{
	uint64_t size;
	char *file; /* the template's file as it is on disk, which the rest points into */
	size_t file_length;
	struct template_extent {
		uint64_t offset, length; /* in the volume */
		uint8_t *data;
	} * extents;
	size_t count;
	uint8_t *superblock;
	uint8_t *journal_uuid; /* in the journal's superblock */
};

/* The template for a size, a multiple of 4096 between the limits: from ROOT/templates, or computed
 * and put there. */
int template_open(const struct volume_place *place, uint64_t size, struct template *template,
	struct ramet_error *err);
void template_free(struct template *template);

/* Write the blank volume into the empty file fd, as a filesystem of its own. */
int template_write(struct template *template, int fd, const struct identity *identity);

/* For template.c: put a blank ext4 into the empty sparse file fd, and say where its journal is. */
int blank_write(int fd, uint64_t size, uint64_t *journal_offset, struct ramet_error *err);

#endif
