/* SPDX-License-Identifier: Apache-2.0 */
/* A folder of files of chance, a lazy file of it, and its device: what tests of the layout device
 * start with. The image: a block of metadata, then each file in blocks of its own, a block of zeros
 * behind every third, and the last blocks zeros. */
#ifndef TESTS_SOURCES_H
#define TESTS_SOURCES_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/folder.h"
#include "block/engine.h"
#include "block/layout_device.h"
#include "image/lazy.h"
#include "source/source.h"
#include "tests/unit/tap.h"

#define BLOCK ((uint64_t)LAYOUT_BLOCK)

struct world {
	char folder[64];
	const char *source; /* what is walked and served: the folder, or a mount of it */
	unsigned files;
	uint64_t *place, *size; /* of each file in the image */
	uint8_t *image;         /* what the device must answer */
	uint64_t bytes;
	int lazy_fd, root;
	struct lazy *lazy;
	struct block_device *device;
	struct engine *engine;
	pthread_mutex_t lock;
	struct text notes;
	unsigned note_count;
};

static inline void file_name(unsigned index, char name[static 32])
{
	snprintf(name, 32, "d%u/f%u", index % 7, index);
}

static inline void world_note(void *ctx, const char *sentence)
{
	struct world *world = ctx;
	pthread_mutex_lock(&world->lock);
	text_format(&world->notes, "%s\n", sentence);
	world->note_count++;
	pthread_mutex_unlock(&world->lock);
}

static inline bool noted(struct world *world, const char *part)
{
	pthread_mutex_lock(&world->lock);
	bool found = world->notes.data && strstr(world->notes.data, part);
	pthread_mutex_unlock(&world->lock);
	return found;
}

static inline int put_file(
	const struct world *world, unsigned index, const void *bytes, uint64_t size)
{
	char name[32];
	file_name(index, name);
	int folder = open(world->folder, O_PATH | O_CLOEXEC);
	int fd = openat(folder, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	int r = fd < 0 ? -errno : write_full(fd, bytes, size);
	close(folder);
	close(fd);
	return r;
}

/* Files of up to most bytes; some are empty, some end at a block's end. */
static inline void world_files(struct world *world, unsigned files, uint64_t most)
{
	*world = (struct world){.folder = "/tmp/ramet-sources-XXXXXX",
		.files = files,
		.lock = PTHREAD_MUTEX_INITIALIZER};
	REQUIRE(mkdtemp(world->folder));
	world->source = world->folder;
	for (int i = 0; i < 7; i++) {
		char name[96];
		snprintf(name, sizeof name, "%s/d%d", world->folder, i);
		REQUIRE(mkdir(name, 0755) == 0);
	}
	world->place = calloc(files, sizeof *world->place);
	world->size = calloc(files, sizeof *world->size);
	world->image = calloc(1, BLOCK * 3 + files * (most + 4 * BLOCK));
	memset(world->image, 'm', 1000);
	uint64_t at = BLOCK;
	for (unsigned i = 0; i < files; i++) {
		uint64_t size = (uint64_t)rand() % most + 1;
		size = i % 50 == 49 ? 0 : i % 11 == 5 ? BLOCK * (1 + size / BLOCK % 3) : size;
		world->place[i] = at;
		world->size[i] = size;
		for (uint64_t byte = 0; byte < size; byte++)
			world->image[at + byte] = (uint8_t)rand();
		REQUIRE(put_file(world, i, world->image + at, size) == 0);
		at += (size + BLOCK - 1) / BLOCK * BLOCK + (i % 3 == 0 ? BLOCK : 0);
	}
	world->bytes = at + 2 * BLOCK;
}

/* Walk the source, and describe the image. */
static inline void world_describe(struct world *world)
{
	const struct source_options quiet = {0};
	struct ramet_error err = {0};
	struct tree *tree = NULL;
	struct layout layout = {.image_bytes = world->bytes};
	int spool = memfd_create("spool", MFD_CLOEXEC);
	REQUIRE(pwrite_full(spool, world->image, 1000, 0) == 0);
	REQUIRE(tree_new(&tree, &err) == 0);
	REQUIRE(source_walk(tree, world->source, &quiet, &err) == 0);
	REQUIRE(tree_finish(tree, &err) == 0);
	for (unsigned i = 0; i < world->files; i++) {
		char name[32];
		file_name(i, name);
		const struct tree_node *node = tree->root;
		for (char *rest = name, *part; (part = strsep(&rest, "/"));)
			node = tree_find(node, part);
		if (world->size[i])
			REQUIRE(layout_point(&layout, node, 0, world->place[i], world->size[i]) ==
				0);
	}
	world->lazy_fd = memfd_create("lazy", MFD_CLOEXEC);
	int r = lazy_write(world->lazy_fd, spool, &layout, tree, "squashfs", NULL, &err);
	if (r == 0)
		r = lazy_open(world->lazy_fd, "base.lazy", &world->lazy, &err);
	if (r < 0)
		printf("# %s\n", err.message);
	REQUIRE(r == 0);
	layout_free(&layout);
	tree_free(tree);
	close(spool);
}

/* options: roots and note are the world's. */
static inline void world_serve(struct world *world, struct block_layout_options options,
	struct engine_options engine_options)
{
	struct ramet_error err = {0};
	world->root = open(world->source, O_PATH | O_DIRECTORY | O_CLOEXEC);
	REQUIRE(world->root >= 0);
	options.roots = &world->root;
	options.note = world_note;
	options.note_ctx = world;
	REQUIRE(block_layout_open(world->lazy, world->lazy_fd, &options, &world->device, &err) ==
		0);
	REQUIRE(engine_new(world->device, &engine_options, &world->engine, &err) == 0);
}

static inline void world_end_serving(struct world *world)
{
	engine_free(world->engine);
	block_close(world->device);
	close(world->root);
}

static inline void world_end(struct world *world)
{
	lazy_close(world->lazy);
	close(world->lazy_fd);
	folder_remove(AT_FDCWD, world->folder);
	text_free(&world->notes);
	free(world->place);
	free(world->size);
	free(world->image);
}

/* A read, and whether it answers what it must. */
struct reading {
	struct block_request request;
	struct iovec vector;
	uint8_t *memory;
	bool done;
	int result;
};

static inline void reading_done(struct block_request *request, int result)
{
	struct reading *reading = (struct reading *)request;
	reading->result = result;
	reading->done = true;
}

static inline void reading_begin(
	struct world *world, struct reading *reading, uint64_t offset, uint64_t length)
{
	reading->memory = realloc(reading->memory, length ? length : 1);
	memset(reading->memory, 0xee, length);
	reading->vector = (struct iovec){reading->memory, length};
	reading->done = false;
	reading->request = (struct block_request){.operation = BLOCK_READ,
		.offset = offset,
		.length = length,
		.vector = &reading->vector,
		.vector_count = 1,
		.done = reading_done};
	engine_submit(world->engine, &reading->request);
}

static inline bool reading_is_right(const struct world *world, const struct reading *reading)
{
	return reading->done && reading->result == 0 &&
	       memcmp(reading->memory, world->image + reading->request.offset,
		       reading->request.length) == 0;
}

/* The whole of a file, or its errno. */
static inline int read_index(struct world *world, unsigned index)
{
	struct reading reading = {0};
	reading_begin(world, &reading, world->place[index], world->size[index]);
	engine_drain(world->engine);
	int result = reading.result == 0 && !reading_is_right(world, &reading) ? -EBADMSG
									       : reading.result;
	free(reading.memory);
	return result;
}

#endif
