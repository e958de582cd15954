/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device-speed LAZY PLAIN DEPTH SPAN ROUNDS: random reads of 4 KiB of a lazy image's device, and of a
 * plain file of the same bytes, in turn. SPAN: bytes from the device's middle on that are read; 0: all.
 * Prints the medians of microseconds and of the processors' microseconds for a read, and of the pairs'
 * ratios.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "block/engine.h"
#include "block/layout_device.h"

enum { BLOCK = 4096, READS = 20000, MOST_DEPTH = 128, MOST_ROUNDS = 99 };

struct slot {
	struct block_request request; /* first: done() is given it */
	struct run *run;
	struct iovec vector;
	char bytes[BLOCK];
};

struct run {
	struct engine *engine;
	uint64_t first, blocks;
	unsigned left, failed;
	unsigned seed;
};

static void ask(struct slot *slot);

static void done(struct block_request *request, int result)
{
	struct slot *slot = (struct slot *)request;
	slot->run->failed += result < 0;
	ask(slot);
}

static void ask(struct slot *slot)
{
	struct run *run = slot->run;
	if (!run->left)
		return;
	run->left--;
	uint64_t chance = (uint64_t)rand_r(&run->seed) << 16 ^ (uint64_t)rand_r(&run->seed);
	slot->vector = (struct iovec){slot->bytes, BLOCK};
	slot->request = (struct block_request){.operation = BLOCK_READ,
		.offset = (run->first + chance % run->blocks) * BLOCK,
		.length = BLOCK,
		.vector = &slot->vector,
		.vector_count = 1,
		.done = done};
	engine_submit(run->engine, &slot->request);
}

static double seconds(clockid_t clock)
{
	struct timespec time;
	clock_gettime(clock, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

struct figures {
	double wall[MOST_ROUNDS], processor[MOST_ROUNDS];
};

/* One round. */
static int measure(struct block_device *device, unsigned depth, uint64_t span, unsigned round,
	struct figures *figures)
{
	static struct slot slots[MOST_DEPTH];
	uint64_t blocks = device->size / BLOCK;
	struct run run = {.left = READS, .seed = round + 1};
	run.blocks = span ? MIN(MAX(span / BLOCK, 1), blocks / 2) : blocks;
	run.first = span ? blocks / 2 : 0;
	int r = engine_new(device, &(struct engine_options){0}, &run.engine, NULL);
	if (r < 0)
		return r;
	double wall = seconds(CLOCK_MONOTONIC), processor = seconds(CLOCK_PROCESS_CPUTIME_ID);
	for (unsigned i = 0; i < depth; i++) {
		slots[i].run = &run;
		ask(&slots[i]);
	}
	engine_drain(run.engine);
	figures->wall[round] = (seconds(CLOCK_MONOTONIC) - wall) / READS * 1e6;
	figures->processor[round] = (seconds(CLOCK_PROCESS_CPUTIME_ID) - processor) / READS * 1e6;
	engine_free(run.engine);
	return run.failed ? -EIO : 0;
}

static int compare(const void *a, const void *b)
{
	const double *x = a, *y = b;
	return (*x > *y) - (*x < *y);
}

static double median(const double *values, unsigned count)
{
	double sorted[MOST_ROUNDS];
	memcpy(sorted, values, count * sizeof *sorted);
	qsort(sorted, count, sizeof *sorted, compare);
	return sorted[count / 2];
}

static int run_all(struct block_device *lazy, struct block_device *plain, unsigned depth,
	uint64_t span, unsigned rounds)
{
	static struct figures ours, theirs, warm;
	double ratios[MOST_ROUNDS];
	int r = measure(lazy, depth, span, 0, &warm);
	if (r == 0)
		r = measure(plain, depth, span, 0, &warm);
	for (unsigned i = 0; i < rounds && r == 0; i++) {
		r = measure(lazy, depth, span, i, &ours);
		if (r == 0)
			r = measure(plain, depth, span, i, &theirs);
		ratios[i] = theirs.wall[i] > 0 ? ours.wall[i] / theirs.wall[i] : 0;
	}
	if (r == 0)
		printf("lazy %.2f us (processors %.2f), plain %.2f us (%.2f), ratio %.2f\n",
			median(ours.wall, rounds), median(ours.processor, rounds),
			median(theirs.wall, rounds), median(theirs.processor, rounds),
			median(ratios, rounds));
	return r;
}

static void note(void *ctx, const char *sentence)
{
	fprintf(stderr, "device-speed: %s\n", sentence);
}

static int open_lazy(int fd, const char *path, struct lazy **lazy, int **roots,
	struct block_device **device, struct ramet_error *err)
{
	struct lazy_facts facts;
	int r = lazy_open(fd, path, lazy, err);
	if (r < 0)
		return r;
	lazy_describe(*lazy, &facts);
	*roots = calloc(facts.roots + 1, sizeof **roots);
	if (!*roots)
		return error_memory(err);
	for (uint32_t i = 0; i < facts.roots; i++)
		(*roots)[i] = open(lazy_root(*lazy, i), O_PATH | O_DIRECTORY | O_CLOEXEC);
	const struct block_layout_options options = {.roots = *roots, .note = note};
	return block_layout_open(*lazy, fd, &options, device, err);
}

int main(int argc, char **argv)
{
	if (argc != 6) {
		fprintf(stderr, "usage: device-speed LAZY PLAIN DEPTH SPAN ROUNDS\n");
		return 2;
	}
	_cleanup_lazy_ struct lazy *lazy = NULL;
	_cleanup_block_ struct block_device *device = NULL, *plain = NULL;
	_cleanup_free_ int *roots = NULL;
	struct ramet_error err = {0};
	int fd = open(argv[1], O_RDONLY | O_CLOEXEC), other = open(argv[2], O_RDONLY | O_CLOEXEC);
	unsigned depth = (unsigned)atoi(argv[3]), rounds = (unsigned)atoi(argv[5]);
	int r = open_lazy(fd, argv[1], &lazy, &roots, &device, &err);
	if (r == 0)
		r = block_file_open(other, true, &plain, &err);
	if (r == 0)
		r = run_all(device, plain, MIN(MAX(depth, 1), MOST_DEPTH),
			strtoull(argv[4], NULL, 10), MIN(MAX(rounds, 1), MOST_ROUNDS));
	if (r < 0)
		fprintf(stderr, "device-speed: %s\n", *err.message ? err.message : strerror(-r));
	return r < 0;
}
