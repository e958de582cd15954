/* SPDX-License-Identifier: Apache-2.0 */
/* The engine against a model: a device in memory whose answers are cut up at random, that makes one
 * wait, that fails and reads short, by io_uring and by threads. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "block/engine.h"
#include "tap.h"

#define SIZE     ((uint64_t)1 << 20)
#define SECTOR   512
#define SECTORS  (SIZE / SECTOR)
#define REQUESTS 64
#define MOST     20000 /* bytes of one request */

/* A device over a file: sectors are data, zeros, or data to be waited for the first time. */
struct patchwork {
	struct block_device device;
	int fd;
	_Atomic uint8_t kind[SECTORS];
	_Atomic int held, put_result, ready_result;
	_Atomic bool stuck;
	int flushes, commits;
};

static int patchwork_map(struct block_device *device, uint64_t offset, uint64_t length,
	struct block_extent *extents, unsigned most)
{
	struct patchwork *p = (struct patchwork *)device;
	unsigned count = 0;
	while (length && count < most) {
		uint64_t sector = offset / SECTOR, part = SECTOR - offset % SECTOR;
		part = part < length ? part : length;
		extents[count] = (struct block_extent){.kind = p->kind[sector],
			.fd = p->fd,
			.offset = offset,
			.length = part,
			.source = (uint32_t)sector,
			.held = p->kind[sector] == BLOCK_DATA};
		p->held += extents[count].held;
		if (extents[count++].kind == BLOCK_WAIT)
			break;
		offset += part;
		length -= part;
	}
	return (int)count;
}

static int patchwork_ready(struct block_device *device, const struct block_extent *extent)
{
	struct patchwork *p = (struct patchwork *)device;
	do
		usleep(200);
	while (p->stuck);
	p->kind[extent->source] = BLOCK_DATA;
	return p->ready_result;
}

static int patchwork_put(struct block_device *device, const struct block_extent *extent)
{
	struct patchwork *p = (struct patchwork *)device;
	(void)extent;
	p->held--;
	return p->put_result;
}

static int patchwork_prepare(struct block_device *device, uint64_t offset, uint64_t length,
	struct block_extent *extents, unsigned most)
{
	struct patchwork *p = (struct patchwork *)device;
	(void)most;
	extents[0] = (struct block_extent){.kind = BLOCK_DATA,
		.fd = p->fd,
		.offset = offset,
		.length = length > 3000 ? 3000 : length};
	return 1;
}

static int patchwork_commit(struct block_device *device, uint64_t offset, uint64_t length)
{
	struct patchwork *p = (struct patchwork *)device;
	for (uint64_t i = offset / SECTOR; i < (offset + length + SECTOR - 1) / SECTOR; i++)
		p->kind[i] = BLOCK_DATA;
	p->commits++;
	return 0;
}

static int patchwork_flush(struct block_device *device)
{
	((struct patchwork *)device)->flushes++;
	usleep(1000);
	return 0;
}

static int patchwork_discard(struct block_device *device, uint64_t offset, uint64_t length)
{
	struct patchwork *p = (struct patchwork *)device;
	for (uint64_t i = offset / SECTOR; i < (offset + length) / SECTOR; i++)
		p->kind[i] = BLOCK_ZERO;
	return 0;
}

static const struct block_ops patchwork_ops = {
	.name = "patchwork",
	.map = patchwork_map,
	.ready = patchwork_ready,
	.put = patchwork_put,
	.prepare_write = patchwork_prepare,
	.commit_write = patchwork_commit,
	.flush = patchwork_flush,
	.discard = patchwork_discard,
};

static uint8_t model[SIZE];

static void patchwork_make(struct patchwork *p)
{
	*p = (struct patchwork){.device = {.ops = &patchwork_ops, .size = SIZE}};
	/* Not in memory: tmpfs has no reads that do not wait. */
	char path[] = "/var/tmp/ramet-engine-XXXXXX";
	p->fd = mkstemp(path);
	REQUIRE(p->fd >= 0 && unlink(path) == 0);
	for (uint64_t i = 0; i < SIZE; i++)
		model[i] = (uint8_t)rand();
	REQUIRE(write(p->fd, model, SIZE) == (ssize_t)SIZE);
	for (uint64_t i = 0; i < SECTORS; i++) {
		p->kind[i] = (uint8_t)(rand() % 3);
		if (p->kind[i] == BLOCK_ZERO)
			memset(model + i * SECTOR, 0, SECTOR);
	}
}

static void all_data(struct patchwork *p)
{
	for (uint64_t i = 0; i < SECTORS; i++)
		p->kind[i] = BLOCK_DATA;
}

struct asked {
	struct block_request request;
	struct iovec vector[12];
	uint8_t *memory;
	int result;
	bool done;
};

static void answered(struct block_request *request, int result)
{
	struct asked *asked = (struct asked *)request;
	asked->result = result;
	asked->done = true;
}

/* A request over memory cut at random into at most 12 pieces. */
static void ask(struct engine *engine, struct asked *asked, enum block_operation operation,
	uint64_t offset, uint64_t length)
{
	unsigned pieces = 1 + (unsigned)rand() % 12;
	uint64_t at = 0;
	asked->done = false;
	for (unsigned i = 0; i < pieces; i++) {
		uint64_t part = i + 1 == pieces ? length - at
						: (uint64_t)rand() % (length - at + 1);
		asked->vector[i] = (struct iovec){asked->memory + at, part};
		at += part;
	}
	asked->request = (struct block_request){.operation = operation,
		.offset = offset,
		.length = length,
		.vector = asked->vector,
		.vector_count = pieces,
		.durable = operation == BLOCK_WRITE && rand() % 4 == 0,
		.done = answered};
	engine_submit(engine, &asked->request);
}

static struct asked asked[REQUESTS];

static void reads_are_the_model(bool no_ring, bool no_quick)
{
	struct patchwork p;
	struct engine *engine;
	struct ramet_error err = {0};
	patchwork_make(&p);
	const struct engine_options options = {
		.depth = 7, .workers = 3, .no_ring = no_ring, .no_quick = no_quick};
	REQUIRE(engine_new(&p.device, &options, &engine, &err) == 0);
	bool same = true;
	for (int round = 0; round < 40; round++) {
		for (int i = 0; i < REQUESTS; i++) {
			uint64_t length = 1 + (uint64_t)rand() % MOST;
			ask(engine, &asked[i], BLOCK_READ, (uint64_t)rand() % (SIZE - length),
				length);
		}
		engine_drain(engine);
		for (int i = 0; i < REQUESTS; i++) {
			const struct block_request *r = &asked[i].request;
			same = same && asked[i].done && asked[i].result == 0 &&
			       memcmp(asked[i].memory, model + r->offset, r->length) == 0;
		}
	}
	CHECK(same);
	CHECK_EQ(p.held, 0);
	engine_free(engine);
	close(p.fd);
}

static void writes_stay(bool no_ring)
{
	struct patchwork p;
	struct engine *engine;
	struct ramet_error err = {0};
	patchwork_make(&p);
	const struct engine_options options = {.depth = 5, .workers = 2, .no_ring = no_ring};
	REQUIRE(engine_new(&p.device, &options, &engine, &err) == 0);
	bool good = true;
	/* Each has its own part of the device: what overlaps has no order. */
	const uint64_t part = SIZE / REQUESTS;
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < REQUESTS; i++) {
			uint64_t offset = (uint64_t)i * part + (uint64_t)(rand() % 8) * SECTOR;
			uint64_t length = SECTOR * (1 + (uint64_t)rand() % 16);
			int what = rand() % 4;
			if (what == 0) {
				memset(model + offset, 0, length);
				ask(engine, &asked[i], BLOCK_DISCARD, offset, length);
				continue;
			}
			for (uint64_t at = 0; at < length; at++)
				model[offset + at] = asked[i].memory[at] = (uint8_t)rand();
			ask(engine, &asked[i], BLOCK_WRITE, offset, length);
		}
		engine_drain(engine);
		for (int i = 0; i < REQUESTS; i++)
			good = good && asked[i].result == 0;
	}
	CHECK(good);
	struct asked all = {.memory = malloc(SIZE)};
	ask(engine, &all, BLOCK_READ, 0, SIZE);
	engine_drain(engine);
	CHECK(all.result == 0 && memcmp(all.memory, model, SIZE) == 0);
	free(all.memory);
	engine_free(engine);
	close(p.fd);
}

static void flushes_are_shared(void)
{
	struct patchwork p;
	struct engine *engine;
	struct ramet_error err = {0};
	patchwork_make(&p);
	REQUIRE(engine_new(&p.device, &(struct engine_options){0}, &engine, &err) == 0);
	for (int i = 0; i < REQUESTS; i++)
		ask(engine, &asked[i], BLOCK_FLUSH, 0, 0);
	engine_drain(engine);
	for (int i = 0; i < REQUESTS; i++)
		CHECK(asked[i].done && asked[i].result == 0);
	CHECK_EQ(p.flushes, 2); /* the first one's, and one for all that came meanwhile */
	engine_free(engine);
	close(p.fd);
}

static void failures_reach_their_requests(bool no_ring, bool no_quick)
{
	struct patchwork p;
	struct engine *engine;
	struct ramet_error err = {0};
	patchwork_make(&p);
	const struct engine_options options = {
		.depth = 4, .no_ring = no_ring, .no_quick = no_quick};
	REQUIRE(engine_new(&p.device, &options, &engine, &err) == 0);
	ask(engine, &asked[0], BLOCK_READ, SIZE - 10, 11);
	CHECK_EQ(asked[0].result, -EINVAL);
	ask(engine, &asked[0], BLOCK_WRITE, SIZE, 512);
	CHECK_EQ(asked[0].result, -ENOSPC);
	ask(engine, &asked[0], BLOCK_READ, UINT64_MAX - 3, 8);
	CHECK_EQ(asked[0].result, -EINVAL);
	all_data(&p);
	p.put_result = -ESTALE;
	ask(engine, &asked[0], BLOCK_READ, 0, MOST);
	engine_drain(engine);
	CHECK_EQ(asked[0].result, -ESTALE);
	p.put_result = 0;
	p.ready_result = -ETIMEDOUT;
	p.kind[3] = BLOCK_WAIT;
	for (int i = 0; i < 20; i++)
		ask(engine, &asked[i], BLOCK_READ, 0, MOST);
	engine_drain(engine);
	CHECK_EQ(asked[0].result, -ETIMEDOUT);
	/* The file became shorter than the device. */
	REQUIRE(ftruncate(p.fd, SIZE / 2 + 100) == 0);
	all_data(&p);
	ask(engine, &asked[0], BLOCK_READ, SIZE / 2, 512);
	ask(engine, &asked[1], BLOCK_READ, SIZE / 2 - 512, 512);
	engine_drain(engine);
	CHECK_EQ(asked[0].result, -EIO);
	CHECK_EQ(asked[1].result, 0);
	CHECK_EQ(p.held, 0);
	p.device.read_only = true;
	ask(engine, &asked[0], BLOCK_WRITE, 0, 512);
	CHECK_EQ(asked[0].result, -EROFS);
	engine_free(engine);
	close(p.fd);
}

struct told {
	int count;
	enum block_operation operation;
	int code;
};

static void tell(void *ctx, enum block_operation operation, int code)
{
	struct told *told = ctx;
	*told = (struct told){told->count + 1, operation, code};
}

/* A file that takes no writes: the device promises what its file does not keep. */
static void a_device_that_fails_is_told_of(void)
{
	struct told told = {0};
	struct ramet_error err = {0};
	struct block_device *device;
	struct engine *engine;
	char path[] = "/tmp/ramet-engine-XXXXXX";
	int fd = mkstemp(path);
	REQUIRE(fd >= 0 && ftruncate(fd, 100000) == 0 && close(fd) == 0);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	REQUIRE(fd >= 0 && unlink(path) == 0 && block_file_open(fd, false, &device, &err) == 0);
	const struct engine_options options = {.failed = tell, .failed_ctx = &told};
	REQUIRE(engine_new(device, &options, &engine, &err) == 0);
	ask(engine, &asked[0], BLOCK_READ, 0, 4096);
	ask(engine, &asked[1], BLOCK_READ, device->size, 512);
	ask(engine, &asked[2], BLOCK_WRITE, device->size, 512);
	engine_drain(engine);
	CHECK_EQ(told.count, 0); /* read, and asked wrongly */
	ask(engine, &asked[0], BLOCK_WRITE, 4096, 4096);
	engine_drain(engine);
	CHECK(told.count == 1 && told.operation == BLOCK_WRITE && told.code == -EBADF);
	ask(engine, &asked[0], BLOCK_DISCARD, 4096, 4096);
	engine_drain(engine);
	CHECK(told.count == 2 && told.operation == BLOCK_DISCARD && told.code == -EBADF);
	engine_free(engine);
	block_close(device);
}

static void a_file_is_a_device(void)
{
	struct ramet_error err = {0};
	struct block_device *device;
	struct engine *engine;
	char path[] = "/tmp/ramet-engine-XXXXXX";
	int fd = mkstemp(path);
	REQUIRE(fd >= 0 && unlink(path) == 0 && ftruncate(fd, 100000) == 0);
	REQUIRE(block_file_open(fd, false, &device, &err) == 0);
	CHECK_EQ(device->size, 99840);
	REQUIRE(engine_new(device, &(struct engine_options){0}, &engine, &err) == 0);
	memset(asked[0].memory, 7, 4096);
	ask(engine, &asked[0], BLOCK_WRITE, 4096, 4096);
	engine_drain(engine);
	ask(engine, &asked[1], BLOCK_READ, 4096, 4096);
	engine_drain(engine);
	CHECK(asked[1].result == 0 && asked[1].memory[4095] == 7);
	ask(engine, &asked[0], BLOCK_DISCARD, 4096, 4096);
	ask(engine, &asked[2], BLOCK_FLUSH, 0, 0);
	engine_drain(engine);
	CHECK_EQ(asked[2].result, 0);
	ask(engine, &asked[1], BLOCK_READ, 4096, 4096);
	engine_drain(engine);
	CHECK(asked[0].result == -EOPNOTSUPP || asked[1].memory[4095] == 0);
	engine_free(engine);
	block_close(device);
}

static void what_is_cached_is_lent(void)
{
	struct ramet_error err = {0};
	struct block_device *device;
	struct engine *engine;
	struct block_extent extent;
	char path[] = "/var/tmp/ramet-engine-XXXXXX";
	int fd = mkstemp(path);
	REQUIRE(fd >= 0 && unlink(path) == 0 && ftruncate(fd, 1 << 20) == 0);
	REQUIRE(pwrite(fd, path, sizeof path, 300000) == sizeof path);
	REQUIRE(block_file_open(fd, true, &device, &err) == 0);
	REQUIRE(engine_new(device, &(struct engine_options){0}, &engine, &err) == 0);
	/* One page of it has ever been touched. */
	CHECK(engine_lend(engine, 300000, sizeof path, &extent));
	CHECK(extent.kind == BLOCK_DATA && extent.fd == fd && extent.offset == 300000);
	CHECK(!engine_lend(engine, 299008 - 1, sizeof path, &extent));
	CHECK(!engine_lend(engine, 300000, 8192, &extent));
	CHECK(!engine_lend(engine, 0, 4096, &extent));
	CHECK(!engine_lend(engine, 300000, 0, &extent));
	CHECK(!engine_lend(engine, 300000, 1 << 20, &extent));
	CHECK(!engine_lend(engine, UINT64_MAX - 1, 4096, &extent));
	/* Once it has been read, and reading it has not been in vain of late. */
	for (unsigned i = 0; i < 2; i++) {
		ask(engine, &asked[0], BLOCK_READ, 299008 - 4096, 4096);
		engine_drain(engine);
	}
	CHECK(engine_lend(engine, 299008 - 4096, 8192, &extent));
	engine_free(engine);
	block_close(device);
}

static void seed(void)
{
	static bool seeded;
	if (!seeded)
		srand(tap_seed());
	seeded = true;
	for (int i = 0; i < REQUESTS; i++)
		asked[i].memory = asked[i].memory ? asked[i].memory : malloc(MOST);
}

static void reads_by_ring(void)
{
	seed();
	reads_are_the_model(false, true);
}

static void reads_by_threads(void)
{
	seed();
	reads_are_the_model(true, true);
}

static void reads_from_the_cache(void)
{
	seed();
	reads_are_the_model(false, false);
	reads_are_the_model(true, false);
}

static void writes_by_ring(void)
{
	seed();
	writes_stay(false);
}

static void writes_by_threads(void)
{
	seed();
	writes_stay(true);
}

static void failures_by_ring(void)
{
	seed();
	failures_reach_their_requests(false, true);
}

static void failures_by_threads(void)
{
	seed();
	failures_reach_their_requests(true, true);
}

static void failures_from_the_cache(void)
{
	seed();
	failures_reach_their_requests(false, false);
	failures_reach_their_requests(true, false);
}

/* Each end asks for more, also from the cache: neither the stack nor one turn is what bounds them. */
struct chained {
	struct asked asked;
	struct engine *engine;
	unsigned left;
	bool inside;
};

static void ask_on(struct block_request *request, int result)
{
	struct chained *chained = (struct chained *)request;
	CHECK(!chained->inside && result == 0);
	chained->inside = true;
	if (chained->left--)
		engine_submit(chained->engine, request);
	else
		chained->asked.done = true;
	chained->inside = false;
}

static void ends_come_later(void)
{
	seed();
	struct patchwork p;
	struct ramet_error err = {0};
	struct chained chained = {.left = 100000, .asked.memory = asked[0].memory};
	patchwork_make(&p);
	all_data(&p);
	REQUIRE(engine_new(&p.device, &(struct engine_options){0}, &chained.engine, &err) == 0);
	chained.asked.vector[0] = (struct iovec){chained.asked.memory, SECTOR};
	chained.asked.request = (struct block_request){.operation = BLOCK_READ,
		.length = SECTOR,
		.vector = chained.asked.vector,
		.vector_count = 1,
		.done = ask_on};
	chained.inside = true;
	engine_submit(chained.engine, &chained.asked.request);
	chained.inside = false;
	CHECK(!chained.asked.done);
	engine_drain(chained.engine);
	CHECK(chained.asked.done);
	engine_free(chained.engine);
	close(p.fd);
}

/* Threads that have ended are counted by the kernel for a moment more. The links of the folder are
 * itself, the one above, and one for each thread. */
static bool is_alone(void)
{
	struct stat st = {0};
	for (int i = 0; i < 5000 && st.st_nlink != 3; i++) {
		usleep(i ? 1000 : 0);
		stat("/proc/self/task", &st);
	}
	return st.st_nlink == 3;
}

static void threads_end_and_come_again(void)
{
	struct patchwork p;
	struct engine *engine;
	struct ramet_error err = {0};
	patchwork_make(&p);
	REQUIRE(engine_new(&p.device, &(struct engine_options){0}, &engine, &err) == 0);
	for (int round = 0; round < 3; round++) {
		CHECK(is_alone());
		for (uint64_t i = 0; i < SECTORS; i++)
			p.kind[i] = BLOCK_WAIT;
		p.stuck = true;
		for (int i = 0; i < REQUESTS; i++)
			ask(engine, &asked[i], BLOCK_READ, (uint64_t)i * SECTOR, MOST);
		engine_run(engine);
		CHECK_EQ(engine_end_threads(engine), -EBUSY);
		p.stuck = false;
		engine_drain(engine);
		for (int i = 0; i < REQUESTS; i++)
			CHECK(asked[i].done && asked[i].result == 0);
		CHECK_EQ(engine_end_threads(engine), 0);
	}
	engine_free(engine);
	close(p.fd);
}

/* Blocks that are waited for until they are let through; the first half are of a group. */
enum { GATES = 16, GATE = 4096 };
struct gates {
	struct block_device device;
	_Atomic bool open[GATES];
};

static int gates_map(struct block_device *device, uint64_t offset, uint64_t length,
	struct block_extent *extents, unsigned most)
{
	struct gates *gates = (struct gates *)device;
	uint32_t gate = (uint32_t)(offset / GATE);
	extents[0] = (struct block_extent){.kind = gates->open[gate] ? BLOCK_ZERO : BLOCK_WAIT,
		.fd = -1,
		.length = length,
		.source = gate,
		.group = gate < GATES / 2};
	return 1;
}

static int gates_ready(struct block_device *device, const struct block_extent *extent)
{
	while (!((struct gates *)device)->open[extent->source])
		usleep(200);
	return 0;
}

static const struct block_ops gates_ops = {.name = "gates", .map = gates_map, .ready = gates_ready};

struct passage {
	struct block_request request;
	struct iovec vector;
	char memory[GATE];
	struct engine *engine;
	struct passage *next; /* asked for when this is through */
	bool through;
};

static void pass(struct passage *passage, unsigned gate);

static void passed(struct block_request *request, int result)
{
	struct passage *passage = (struct passage *)request;
	passage->through = result == 0;
	if (passage->next)
		pass(passage->next, (unsigned)(request->offset / GATE) + GATES / 2);
}

static void pass(struct passage *passage, unsigned gate)
{
	passage->vector = (struct iovec){passage->memory, GATE};
	passage->request = (struct block_request){.operation = BLOCK_READ,
		.offset = (uint64_t)gate * GATE,
		.length = GATE,
		.vector = &passage->vector,
		.vector_count = 1,
		.done = passed};
	engine_submit(passage->engine, &passage->request);
}

static bool wait_through(const struct passage *passage)
{
	for (int i = 0; i < 30000 && !passage->through; i++) {
		engine_run(passage->engine);
		usleep(1000);
	}
	return passage->through;
}

/* Two of a group are under way, a third waits for one of them, and all other moves are taken by those of no
 * group: which also get what the two give back. */
static void who_waits_for_a_group_is_not_forgotten(void)
{
	struct gates gates = {
		.device = {.ops = &gates_ops, .size = GATES * GATE, .read_only = true}};
	struct engine *engine;
	struct ramet_error err;
	static struct passage passages[10];
	memset(passages, 0, sizeof passages);
	const struct engine_options options = {.depth = 4, .no_ring = true, .no_quick = true};
	REQUIRE(engine_new(&gates.device, &options, &engine, &err) == 0);
	for (int i = 0; i < 10; i++)
		passages[i].engine = engine;
	passages[0].next = &passages[7];
	passages[1].next = &passages[8];
	for (unsigned i = 0; i < 3; i++)
		pass(&passages[i], i);
	for (unsigned i = 3; i < 5; i++)
		pass(&passages[i], GATES / 2 + 2 + i);
	gates.open[2] = true;
	for (unsigned i = 0; i < 2; i++) {
		gates.open[i] = true;
		CHECK(wait_through(&passages[i]));
	}
	CHECK(!passages[2].through);
	for (unsigned i = 0; i < GATES; i++)
		gates.open[i] = true;
	CHECK(wait_through(&passages[8]));
	CHECK(wait_through(&passages[2]));
	REQUIRE(!tap_failed);
	engine_drain(engine);
	engine_free(engine);
}

TEST_MAIN({"reads answer what the device has, by io_uring", reads_by_ring},
	{"reads answer what the device has, by threads", reads_by_threads},
	{"reads answer what the device has, from the page cache", reads_from_the_cache},
	{"what was written and discarded stays so, by io_uring", writes_by_ring},
	{"what was written and discarded stays so, by threads", writes_by_threads},
	{"flushes that come together are one", flushes_are_shared},
	{"a failure reaches the request that it is of, by io_uring", failures_by_ring},
	{"a failure reaches the request that it is of, by threads", failures_by_threads},
	{"a failure reaches the request that it is of, from the page cache",
		failures_from_the_cache},
	{"no request ends before it was taken, however long the chain", ends_come_later},
	{"who waits for a group is not forgotten when others take its moves",
		who_waits_for_a_group_is_not_forgotten},
	{"threads end when that is asked for, and come again", threads_end_and_come_again},
	{"a file is a device", a_file_is_a_device},
	{"a device that fails is told of, a wrong request is not", a_device_that_fails_is_told_of},
	{"what is in the page cache is lent, and nothing else", what_is_cached_is_lent})
