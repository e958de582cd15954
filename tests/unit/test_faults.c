/* SPDX-License-Identifier: Apache-2.0 */
/* The engine over devices that fail, are slow, answer little and tear writes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/engine.h"
#include "tests/tools/test_device.h"
#include "tests/unit/tap.h"

enum { REQUESTS = 40, LENGTH = 4096 };
#define SIZE ((uint64_t)REQUESTS * LENGTH)

struct asked {
	struct block_request request;
	struct iovec vector;
	uint8_t memory[LENGTH];
	int result;
	unsigned turn; /* the how many-th of all that was done */
};

static struct asked asked[REQUESTS];
static struct block_device *device;
static struct engine *engine;
static unsigned turns;

static void seed(void)
{
	static bool seeded;
	if (!seeded)
		srand(tap_seed());
	seeded = true;
}

static void open_device(const char *text, bool no_ring)
{
	struct ramet_error err = {0};
	seed();
	const struct engine_options options = {.no_ring = no_ring, .no_quick = no_ring};
	if (test_device_open(text, false, &device, &err) < 0)
		printf("# %s\n", err.message);
	REQUIRE(device && engine_new(device, &options, &engine, &err) == 0);
}

static void close_device(void)
{
	engine_free(engine);
	block_close(device);
	device = NULL;
}

static void answered(struct block_request *request, int result)
{
	struct asked *one = (struct asked *)request;
	one->result = result;
	one->turn = ++turns;
}

static void ask(unsigned index, enum block_operation operation, bool durable)
{
	struct asked *one = &asked[index];
	one->result = 1;
	one->vector = (struct iovec){one->memory, LENGTH};
	one->request = (struct block_request){.operation = operation,
		.offset = (uint64_t)index * LENGTH,
		.length = LENGTH,
		.vector = &one->vector,
		.vector_count = 1,
		.durable = durable,
		.done = answered};
	engine_submit(engine, &one->request);
}

static void ask_all(enum block_operation operation)
{
	turns = 0;
	for (unsigned i = 0; i < REQUESTS; i++) {
		if (operation == BLOCK_WRITE)
			memset(asked[i].memory, (int)i + 1, LENGTH);
		else
			memset(asked[i].memory, 0xee, LENGTH);
		ask(i, operation, false);
	}
	engine_drain(engine);
}

static bool holds(unsigned index, int byte, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++)
		if (asked[index].memory[i] != byte)
			return false;
	return true;
}

static void check_failed(unsigned from, unsigned to, int result)
{
	for (unsigned i = 0; i < REQUESTS; i++)
		CHECK_EQ(asked[i].result, i >= from && i < to ? result : 0);
}

static void nth_read_fails(void)
{
	for (int no_ring = 0; no_ring < 2; no_ring++) {
		open_device("fault:read=7=fail,put=20=fail-116:memory:160K", no_ring);
		REQUIRE(!tap_failed);
		ask_all(BLOCK_WRITE);
		check_failed(0, 0, 0);
		ask_all(BLOCK_READ);
		CHECK_EQ(asked[6].result, -EIO);
		unsigned failed = 0, stale = 0;
		for (unsigned i = 0; i < REQUESTS; i++) {
			failed += asked[i].result < 0;
			stale += asked[i].result == -ESTALE;
			CHECK(asked[i].result < 0 || holds(i, (int)i + 1, 0, LENGTH));
		}
		CHECK_EQ(failed, 2);
		CHECK_EQ(stale, 1);
		close_device();
	}
}

static void nth_write_fails(void)
{
	open_device("fault:write=3=fail-28,commit=5=fail:memory:160K", false);
	REQUIRE(!tap_failed);
	ask_all(BLOCK_WRITE);
	CHECK_EQ(asked[2].result, -ENOSPC);
	unsigned failed = 0;
	for (unsigned i = 0; i < REQUESTS; i++)
		failed += asked[i].result < 0;
	CHECK_EQ(failed, 2);
	ask_all(BLOCK_READ);
	CHECK(holds(2, 0, 0, LENGTH));
	close_device();
}

static void short_answers_go_on(void)
{
	open_device("fault:read=*=short,write=*=short:memory:160K", false);
	REQUIRE(!tap_failed);
	ask_all(BLOCK_WRITE);
	check_failed(0, 0, 0);
	ask_all(BLOCK_READ);
	for (unsigned i = 0; i < REQUESTS; i++)
		CHECK(asked[i].result == 0 && holds(i, (int)i + 1, 0, LENGTH));
	close_device();
}

static void torn_writes_fail(void)
{
	open_device("fault:write=4=torn:memory:160K", false);
	REQUIRE(!tap_failed);
	ask_all(BLOCK_WRITE);
	check_failed(3, 4, -EIO);
	ask_all(BLOCK_READ);
	CHECK(holds(3, 4, 0, LENGTH / 2) && holds(3, 0, LENGTH / 2, LENGTH));
	close_device();
}

static void reordered_requests_keep_their_bytes(void)
{
	open_device("fault:read=*=reorder-20,write=*=reorder-5:memory:160K", false);
	REQUIRE(!tap_failed);
	ask_all(BLOCK_WRITE);
	check_failed(0, 0, 0);
	ask_all(BLOCK_READ);
	bool ordered = true;
	for (unsigned i = 0; i < REQUESTS; i++) {
		CHECK(asked[i].result == 0 && holds(i, (int)i + 1, 0, LENGTH));
		ordered = ordered && (i == 0 || asked[i].turn > asked[i - 1].turn);
	}
	CHECK(!ordered);
	close_device();
}

static void flush_errors_reach_all_who_wait(void)
{
	open_device("fault:flush=2=fail-28,flush=1=delay-30:memory:160K", false);
	REQUIRE(!tap_failed);
	turns = 0;
	ask(0, BLOCK_FLUSH, false);
	engine_run(engine);
	/* These share the second one. */
	ask(1, BLOCK_FLUSH, false);
	ask(2, BLOCK_WRITE, true);
	ask(3, BLOCK_DISCARD, true);
	ask(4, BLOCK_WRITE, false);
	engine_drain(engine);
	CHECK_EQ(asked[0].result, 0);
	CHECK_EQ(asked[1].result, -ENOSPC);
	CHECK_EQ(asked[2].result, -ENOSPC);
	CHECK_EQ(asked[3].result, -ENOSPC);
	CHECK_EQ(asked[4].result, 0);
	ask(5, BLOCK_WRITE, true);
	engine_drain(engine);
	CHECK_EQ(asked[5].result, 0);
	close_device();
}

static void a_failed_write_is_not_flushed(void)
{
	open_device("fault:write=1=fail,flush=1=fail-28:memory:160K", false);
	REQUIRE(!tap_failed);
	ask(0, BLOCK_WRITE, true);
	engine_drain(engine);
	CHECK_EQ(asked[0].result, -EIO);
	ask(0, BLOCK_FLUSH, false); /* the first one */
	engine_drain(engine);
	CHECK_EQ(asked[0].result, -ENOSPC);
	close_device();
}

/* One that waits does not hold up those behind it. */
static void delays_hold_up_nobody(void)
{
	open_device("fault:read=1=delay-100,discard=1=fail:memory:160K", false);
	REQUIRE(!tap_failed);
	ask_all(BLOCK_READ);
	check_failed(0, 0, 0);
	CHECK_EQ(asked[0].turn, REQUESTS);
	ask(1, BLOCK_DISCARD, false);
	engine_drain(engine);
	CHECK_EQ(asked[1].result, -EIO);
	close_device();
}

static void wrong_rules_are_refused(void)
{
	static const char *const wrong[] = {"fault:", "fault:read=1:memory:1M",
		"fault:read=0=fail:memory:1M", "fault:read=1=burn:memory:1M",
		"fault:eat=1=fail:memory:1M", "memory:much", "fault:read=1=fail:memory:"};
	struct ramet_error err = {0};
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		CHECK_EQ(test_device_open(wrong[i], false, &device, &err), -EINVAL);
}

TEST_MAIN({"the N-th read that fails is one request's", nth_read_fails},
	{"the N-th write that fails is one request's", nth_write_fails},
	{"short answers go on where they ended", short_answers_go_on},
	{"a torn write fails, and is half there", torn_writes_fail},
	{"requests that end in another order keep their bytes",
		reordered_requests_keep_their_bytes},
	{"an error of a flush reaches all who wait for it", flush_errors_reach_all_who_wait},
	{"a write that failed is not flushed", a_failed_write_is_not_flushed},
	{"a request that is delayed holds up nobody", delays_hold_up_nobody},
	{"wrong rules are refused", wrong_rules_are_refused})
