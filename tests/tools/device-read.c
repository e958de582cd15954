/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device-read [-n] LAZY OUTPUT SEED: all bytes of a lazy image's device, asked of the engine in pieces of
 * random sizes and in random order, many at once. -n: without io_uring. What cannot be read stays zeros,
 * and how many pieces that were goes to standard output.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/vector.h"
#include "block/engine.h"
#include "block/layout_device.h"

enum { SECTOR = 512, PIECE = 256 * 1024, IN_FLIGHT = 32 };

struct piece {
	uint64_t offset, length;
};

struct reader {
	struct engine *engine;
	int output;
	VECTOR(struct piece) pieces;
	size_t next, failed;
	int result;
};

struct slot {
	struct block_request request; /* first: done() is given it */
	struct reader *reader;
	struct iovec vector;
	char bytes[PIECE];
};

static void ask(struct slot *slot);

static void done(struct block_request *request, int result)
{
	struct slot *slot = (struct slot *)request;
	struct reader *reader = slot->reader;
	if (result < 0)
		reader->failed++;
	else if (reader->result == 0)
		reader->result = pwrite_full(
			reader->output, slot->bytes, request->length, request->offset);
	ask(slot);
}

static void ask(struct slot *slot)
{
	struct reader *reader = slot->reader;
	if (reader->next == reader->pieces.count)
		return;
	const struct piece *piece = &reader->pieces.items[reader->next++];
	slot->vector = (struct iovec){slot->bytes, piece->length};
	slot->request = (struct block_request){.operation = BLOCK_READ,
		.offset = piece->offset,
		.length = piece->length,
		.vector = &slot->vector,
		.vector_count = 1,
		.done = done};
	engine_submit(reader->engine, &slot->request);
}

/* Cut the device up, most pieces small, and shuffle them. */
static int cut(struct reader *reader, uint64_t size)
{
	for (uint64_t offset = 0; offset < size;) {
		unsigned bits = (unsigned)random() % 10;
		uint64_t length = SECTOR * (1 + (uint64_t)random() % (1u << bits));
		struct piece *piece = vector_push(&reader->pieces);
		if (!piece)
			return -ENOMEM;
		*piece = (struct piece){offset, MIN(length, size - offset)};
		offset += piece->length;
	}
	for (size_t i = reader->pieces.count; i > 1; i--) {
		size_t other = (size_t)random() % i;
		struct piece last = reader->pieces.items[i - 1];
		reader->pieces.items[i - 1] = reader->pieces.items[other];
		reader->pieces.items[other] = last;
	}
	return 0;
}

static int read_all(struct reader *reader)
{
	struct slot *slots = calloc(IN_FLIGHT, sizeof *slots);
	if (!slots)
		return -ENOMEM;
	for (unsigned i = 0; i < IN_FLIGHT; i++) {
		slots[i].reader = reader;
		ask(&slots[i]);
	}
	engine_drain(reader->engine);
	free(slots);
	return reader->result;
}

static void note(void *ctx, const char *sentence)
{
	fprintf(stderr, "device-read: %s\n", sentence);
}

static int open_roots(const struct lazy *lazy, uint32_t count, int *roots, struct ramet_error *err)
{
	for (uint32_t i = 0; i < count; i++) {
		roots[i] = open(lazy_root(lazy, i), O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (roots[i] < 0)
			return error_errno(err, errno, "cannot open %s", lazy_root(lazy, i));
	}
	return 0;
}

static int run(const char *path, struct reader *reader, const struct engine_options *engine,
	struct ramet_error *err)
{
	_cleanup_lazy_ struct lazy *lazy = NULL;
	_cleanup_block_ struct block_device *device = NULL;
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct lazy_facts facts;
	int r = lazy_open(fd, path, &lazy, err);
	if (r < 0)
		return r;
	lazy_describe(lazy, &facts);
	_cleanup_free_ int *roots = calloc(facts.roots + 1, sizeof *roots);
	const struct block_layout_options options = {.roots = roots, .note = note};
	r = roots ? open_roots(lazy, facts.roots, roots, err) : error_memory(err);
	if (r == 0)
		r = block_layout_open(lazy, fd, &options, &device, err);
	if (r == 0)
		r = engine_new(device, engine, &reader->engine, err);
	if (r == 0)
		r = cut(reader, device->size);
	if (r == 0 && ftruncate(reader->output, (off_t)device->size) < 0)
		r = -errno;
	if (r == 0)
		r = read_all(reader);
	if (r == 0)
		printf("%s: %zu pieces, %zu failed\n", engine_kind(reader->engine),
			reader->pieces.count, reader->failed);
	engine_free(reader->engine);
	return r;
}

int main(int argc, char **argv)
{
	struct engine_options options = {0};
	if (argc > 1 && strcmp(argv[1], "-n") == 0) {
		options.no_ring = options.no_quick = true;
		argv++;
		argc--;
	}
	if (argc != 4) {
		fprintf(stderr, "usage: device-read [-n] LAZY OUTPUT SEED\n");
		return 2;
	}
	srandom((unsigned)strtoul(argv[3], NULL, 10));
	struct ramet_error err = {0};
	struct reader reader = {
		.output = open(argv[2], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
	int r = reader.output >= 0 ? run(argv[1], &reader, &options, &err) : -errno;
	if (r < 0)
		fprintf(stderr, "device-read: %s\n", *err.message ? err.message : strerror(-r));
	vector_free(&reader.pieces);
	return r < 0;
}
