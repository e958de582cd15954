/* SPDX-License-Identifier: Apache-2.0 */
/* Large reads that come many at once, and are copied from the page cache by two: every byte, every
 * failure, and what is not in the cache. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "block/engine.h"
#include "tests/unit/tap.h"

enum { SIZE = 4 << 20, REQUESTS = 24, MOST = 1300 << 10, PIECES = 20 };

struct asked {
	struct block_request request;
	struct iovec vector[PIECES];
	uint8_t *memory;
	int result;
	unsigned ends;
};

static struct asked asked[REQUESTS];
static uint8_t model[SIZE];
static struct block_device *device;
static struct engine *engine;
static int file;

static void answered(struct block_request *request, int result)
{
	struct asked *one = (struct asked *)request;
	one->result = result;
	one->ends++;
}

static void ask(struct asked *one, enum block_operation operation, uint64_t offset, uint64_t length)
{
	unsigned pieces = 1 + (unsigned)rand() % PIECES;
	uint64_t at = 0;
	for (unsigned i = 0; i < pieces; i++) {
		uint64_t part = i + 1 == pieces ? length - at
						: (uint64_t)rand() % (length - at + 1);
		one->vector[i] = (struct iovec){one->memory + at, part};
		at += part;
	}
	one->ends = 0;
	one->request = (struct block_request){.operation = operation,
		.offset = offset,
		.length = length,
		.vector = one->vector,
		.vector_count = pieces,
		.batched = true,
		.done = answered};
	engine_submit(engine, &one->request);
}

static bool is_right(const struct asked *one)
{
	const struct block_request *request = &one->request;
	return one->ends == 1 && one->result == 0 &&
	       memcmp(one->memory, model + request->offset, request->length) == 0;
}

static int make_file(bool in_memory)
{
	char path[] = "/var/tmp/ramet-share-XXXXXX";
	if (in_memory)
		return memfd_create("share", MFD_CLOEXEC);
	int fd = mkstemp(path);
	unlink(path);
	return fd;
}

/* Over a file; tmpfs has no reads that do not wait. */
static bool begin(bool in_memory, const struct engine_options *options)
{
	struct ramet_error err = {0};
	static bool seeded;
	if (!seeded)
		srand(tap_seed());
	seeded = true;
	for (unsigned i = 0; i < REQUESTS; i++)
		if (!asked[i].memory)
			asked[i].memory = mmap(NULL, MOST, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (unsigned i = 0; i < SIZE; i++)
		model[i] = (uint8_t)rand();
	file = make_file(in_memory);
	return file >= 0 && write(file, model, SIZE) == SIZE &&
	       block_file_open(dup(file), false, &device, &err) == 0 &&
	       engine_new(device, options, &engine, &err) == 0;
}

static void end(void)
{
	engine_free(engine);
	block_close(device);
	close(file);
}

/* Of all sizes, most of them large ones. */
static uint64_t some_length(void)
{
	return rand() % 4 ? (32u << 10) + (uint64_t)rand() % (MOST - (32u << 10))
			  : 1 + (uint64_t)rand() % 5000;
}

static void reads_are_right(void)
{
	for (unsigned round = 0; round < 20; round++) {
		unsigned count = 1 + (unsigned)rand() % REQUESTS;
		for (unsigned i = 0; i < count; i++) {
			uint64_t length = some_length();
			memset(asked[i].memory, 0xee, length);
			ask(&asked[i], BLOCK_READ, (uint64_t)rand() % (SIZE - length), length);
		}
		/* Also while some are being copied. */
		engine_run(engine);
		engine_drain(engine);
		bool right = true;
		for (unsigned i = 0; i < count; i++)
			right = right && is_right(&asked[i]);
		REQUIRE(right);
		CHECK(!engine_ready(engine) && !engine_copies(engine));
	}
}

static void every_byte(void)
{
	static const struct engine_options kinds[] = {
		{0}, {.no_ring = true}, {.depth = 3}, {.depth = 3, .no_ring = true}};
	for (unsigned i = 0; i < 2 * ARRAY_SIZE(kinds); i++) {
		REQUIRE(begin(i & 1, &kinds[i / 2]));
		reads_are_right();
		end();
	}
}

static unsigned threads(void)
{
	struct stat st = {0};
	stat("/proc/self/task", &st);
	return (unsigned)st.st_nlink - 2;
}

static void two_share(void)
{
	cpu_set_t cpus;
	if (sched_getaffinity(0, sizeof cpus, &cpus) < 0 || CPU_COUNT(&cpus) < 2)
		SKIP("a second processor");
	REQUIRE(begin(false, &(struct engine_options){0}));
	for (unsigned i = 0; i < 8; i++)
		ask(&asked[i], BLOCK_READ, i * (128 << 10), 128 << 10);
	CHECK(engine_ready(engine));
	engine_run(engine);
	CHECK(threads() > 1);
	engine_drain(engine);
	for (unsigned i = 0; i < 8; i++)
		CHECK(is_right(&asked[i]));
	CHECK_EQ(engine_end_threads(engine), 0);
	end();
}

/* The end of one asks for the next one, in the middle of a turn. */
static unsigned left;

static void ask_on(struct block_request *request, int result)
{
	struct asked *one = (struct asked *)request;
	CHECK(result == 0 && memcmp(one->memory, model + request->offset, request->length) == 0);
	if (left == 0) {
		one->ends++;
		return;
	}
	left--;
	memset(one->memory, 0xee, request->length);
	request->offset = (uint64_t)rand() % (SIZE - request->length);
	engine_submit(engine, request);
}

static void one_brings_the_next(void)
{
	REQUIRE(begin(false, &(struct engine_options){.depth = 4}));
	left = 500;
	for (unsigned i = 0; i < 6; i++) {
		ask(&asked[i], BLOCK_READ, 0, 40000 + i * 50000);
		asked[i].request.done = ask_on;
	}
	engine_drain(engine);
	CHECK_EQ(left, 0);
	for (unsigned i = 0; i < 6; i++)
		CHECK_EQ(asked[i].ends, 1);
	end();
}

static void failures_are_their_own(void)
{
	for (unsigned no_ring = 0; no_ring < 2; no_ring++) {
		REQUIRE(begin(false, &(struct engine_options){.no_ring = no_ring}));
		REQUIRE(mprotect(asked[2].memory, MOST, PROT_NONE) == 0);
		/* The file became shorter: what is before its end is right. */
		REQUIRE(ftruncate(file, SIZE / 2 + 1000) == 0);
		ask(&asked[0], BLOCK_READ, 0, 200000);
		ask(&asked[1], BLOCK_READ, SIZE / 2 - 100000, 200000);
		ask(&asked[2], BLOCK_READ, 0, 200000);
		ask(&asked[3], BLOCK_READ, SIZE / 2 + 4096, 200000);
		ask(&asked[4], BLOCK_READ, SIZE / 2 - 200000, 200000);
		engine_drain(engine);
		CHECK(is_right(&asked[0]));
		CHECK_EQ(asked[1].result, -EIO);
		CHECK_EQ(asked[2].result, -EFAULT);
		CHECK_EQ(asked[3].result, -EIO);
		CHECK(is_right(&asked[4]));
		mprotect(asked[2].memory, MOST, PROT_READ | PROT_WRITE);
		end();
	}
}

/* What is not in the cache is the ring's, or a worker's, and comes all the same. */
static void the_cache_is_empty(void)
{
	for (unsigned no_ring = 0; no_ring < 2; no_ring++) {
		REQUIRE(begin(false, &(struct engine_options){.no_ring = no_ring}));
		REQUIRE(fsync(file) == 0);
		for (unsigned round = 0; round < 5; round++) {
			posix_fadvise(file, 0, (off_t)(rand() % SIZE), POSIX_FADV_DONTNEED);
			for (unsigned i = 0; i < REQUESTS; i++)
				ask(&asked[i], BLOCK_READ, (uint64_t)i * 100000, 300000);
			engine_drain(engine);
			for (unsigned i = 0; i < REQUESTS; i++)
				CHECK(is_right(&asked[i]));
		}
		end();
	}
}

TEST_MAIN({"large reads of a batch have every byte, with a ring and without", every_byte},
	{"two threads share them, and the second ends when asked", two_share},
	{"one that ends may ask for the next", one_brings_the_next},
	{"a failure is its request's own", failures_are_their_own},
	{"what is not cached comes all the same", the_cache_is_empty})
