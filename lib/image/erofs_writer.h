/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the EROFS writer share behind the plan: the output, and the files' content. */
#ifndef IMAGE_EROFS_WRITER_H
#define IMAGE_EROFS_WRITER_H

#include <pthread.h>

#include "base/fd.h"
#include "base/progress.h"
#include "image/erofs_plan.h"
#include "image/image.h"
#include "image/layout.h"
#include "source/content.h"

enum {
	EROFS_WINDOW = 65536, /* of the image: what one write of inodes covers */
	EROFS_WINDOWS = 64,
	EROFS_BUFFERS = 4,
};

/* Bytes on their way to the image. */
struct erofs_output {
	int fd;
	uint8_t first[EROFS_BLOCK_SIZE]; /* block 0, written last: its checksum is over all of it */
	uint64_t data_start;             /* bytes: what is before comes through windows */
	/* Inodes and listings: parts of the image in memory, each at its number's remainder. */
	struct erofs_window {
		uint64_t number; /* plus 1; 0: none */
		uint8_t *bytes;
	} windows[EROFS_WINDOWS];
	/* Data: what follows on each other. The buffer that is being filled is the one of number
	 * `filled`, and a thread writes those before. */
	struct erofs_buffer {
		uint64_t offset;
		size_t used;
		uint8_t *bytes;
	} buffers[EROFS_BUFFERS];
	pthread_t thread;
	bool started;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t changed;
	uint64_t filled, written; /* buffers so far */
	int error;                /* the first negative errno of the thread */
	bool ending;
};

/* A table of chunks that are in the image. */
struct erofs_chunk_table {
	struct erofs_chunk_slot {
		uint32_t tag, block; /* block 0: free */
	} * slots;
	size_t mask;
};

struct erofs_writer {
	struct erofs_plan plan;
	struct erofs_output output;
	struct layout *layout; /* gets the places of content, which is not read; or NULL */
	struct image_figures *figures;
	struct meter meter;
	uint64_t content_done; /* holes count too: for the meter */
	uint64_t next_block;   /* with dedupe: where the next new data goes */
	struct erofs_chunk_table chunks;
	uint8_t *buffer; /* EROFS_INODE_MAX: an inode with what is behind it; a piece of a map */
	uint8_t *chunk;  /* with dedupe: one chunk */
};

/* erofs_output.c */
int erofs_output_open(
	struct erofs_output *output, int fd, uint64_t data_start, struct ramet_error *err);
void erofs_output_free(struct erofs_output *output);
/* Write bytes of inodes and listings at offset. */
int erofs_output_put(struct erofs_output *output, uint64_t offset, const void *bytes, size_t length,
	struct ramet_error *err);
/* Room for up to *length bytes of data at offset; *length gets less where there is not so much. The
 * caller puts its bytes at *room and says how many those are. */
int erofs_output_room(struct erofs_output *output, uint64_t offset, uint8_t **room, size_t *length,
	struct ramet_error *err);
void erofs_output_filled(struct erofs_output *output, size_t length);
/* Whether the data that was written at offset is equal to bytes. */
int erofs_output_equal(struct erofs_output *output, uint64_t offset, const uint8_t *bytes,
	size_t length, bool *equal, struct ramet_error *err);
/* Everything but block 0 goes out. */
int erofs_output_flush(struct erofs_output *output, struct ramet_error *err);

/* erofs_file.c */
/* Write a regular file's data, or tell the layout where it stands, and write its inode. */
int erofs_write_file(
	struct erofs_writer *writer, const struct tree_node *node, struct ramet_error *err);

/* erofs_dedupe.c */
int erofs_chunks_open(struct erofs_writer *writer, struct ramet_error *err);
/* The block where a chunk of so many bytes (a multiple of the block) stands in the image: written
 * now, unless an equal one was before. EROFS_NO_BLOCK for zeros alone. */
int erofs_chunk_store(struct erofs_writer *writer, const uint8_t *bytes, size_t length,
	uint32_t *block, struct ramet_error *err);

#endif
