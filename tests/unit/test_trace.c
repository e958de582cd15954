/* SPDX-License-Identifier: Apache-2.0 */
/* What was read of a device, its record, and reading ahead along it. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "block/prefetch.h"
#include "tap.h"

#define UNIT ((uint64_t)TRACE_UNIT)

static const uint8_t identity[TRACE_IDENTITY] = {1, 2, 3};
static const uint8_t other[TRACE_IDENTITY] = {3, 2, 1};

static void figures_count_what_was_asked_for(void)
{
	struct block_trace *trace;
	struct block_trace_figures figures;
	REQUIRE(block_trace_new(10 * UNIT + 512, false, &trace) == 0);
	block_trace_read(trace, 0, 2 * UNIT);
	block_trace_read(trace, UNIT, 2 * UNIT);
	block_trace_read(trace, UNIT + 512, 512);
	block_trace_ahead(trace, 2 * UNIT, 3 * UNIT); /* the first was asked for already */
	block_trace_read(trace, 4 * UNIT, UNIT);
	block_trace_read(trace, 10 * UNIT, 512);
	block_trace_describe(trace, &figures);
	CHECK_EQ(figures.reads, 5);
	CHECK_EQ(figures.bytes_asked, 5 * UNIT + 1024);
	CHECK_EQ(figures.bytes_unique, 4 * UNIT + 512);
	CHECK_EQ(figures.bytes_hit, 2 * UNIT + 512);
	CHECK_EQ(figures.bytes_ahead, 2 * UNIT);
	block_trace_free(trace);
}

static int record(int fd)
{
	struct block_trace *trace;
	if (block_trace_new(100 * UNIT, true, &trace) < 0)
		return -1;
	block_trace_read(trace, 50 * UNIT, 3 * UNIT);
	block_trace_read(trace, 10 * UNIT, UNIT);
	block_trace_read(trace, 11 * UNIT, UNIT);
	block_trace_read(trace, 49 * UNIT, 10 * UNIT);
	int r = block_trace_save(trace, fd, identity, NULL);
	block_trace_free(trace);
	return r;
}

static void a_record_keeps_the_order(void)
{
	static const struct trace_run expected[] = {{50, 3}, {10, 2}, {49, 1}, {53, 6}};
	_cleanup_trace_runs_ struct trace_runs runs = {0};
	int fd = memfd_create("record", 0);
	REQUIRE(record(fd) == 0);
	REQUIRE(block_record_load(fd, identity, 100 * UNIT, &runs, NULL) == 0);
	REQUIRE(runs.count == 4);
	CHECK(memcmp(runs.items, expected, sizeof expected) == 0);
	close(fd);
}

static void a_wrong_record_is_refused(void)
{
	struct trace_runs runs = {0};
	struct ramet_error err = {0};
	struct block_trace *trace;
	int fd = memfd_create("record", 0);
	CHECK_EQ(block_record_load(fd, identity, 100 * UNIT, &runs, &err), -EUCLEAN);
	REQUIRE(record(fd) == 0);
	CHECK_EQ(block_record_load(fd, other, 100 * UNIT, &runs, &err), -ESTALE);
	CHECK_EQ(block_record_load(fd, identity, 99 * UNIT, &runs, &err), -ESTALE);
	off_t length = lseek(fd, 0, SEEK_END);
	for (off_t at = 0; at < length; at++) {
		uint8_t byte, wrong;
		REQUIRE(pread(fd, &byte, 1, at) == 1);
		wrong = byte ^ 0x10;
		REQUIRE(pwrite(fd, &wrong, 1, at) == 1);
		CHECK(block_record_load(fd, identity, 100 * UNIT, &runs, &err) < 0);
		REQUIRE(pwrite(fd, &byte, 1, at) == 1);
	}
	REQUIRE(pwrite(fd, &(uint8_t){2}, 1, 8) == 1);
	CHECK_EQ(block_record_load(fd, identity, 100 * UNIT, &runs, &err), -ENOTSUP);
	REQUIRE(pwrite(fd, &(uint8_t){1}, 1, 8) == 1);
	while (length--) {
		REQUIRE(ftruncate(fd, length) == 0);
		CHECK_EQ(block_record_load(fd, identity, 100 * UNIT, &runs, &err), -EUCLEAN);
	}
	CHECK_EQ(runs.count, 0);
	REQUIRE(block_trace_new(UNIT, false, &trace) == 0);
	CHECK_EQ(block_trace_save(trace, fd, identity, &err), -EINVAL);
	block_trace_free(trace);
	close(fd);
}

static void a_record_is_bounded(void)
{
	const uint64_t units = 2 * (uint64_t)TRACE_RUNS + 10;
	struct block_trace *trace;
	struct block_trace_figures figures;
	_cleanup_trace_runs_ struct trace_runs runs = {0};
	int fd = memfd_create("record", 0);
	REQUIRE(block_trace_new(units * UNIT, true, &trace) == 0);
	for (uint64_t unit = 0; unit < units; unit += 2)
		block_trace_read(trace, unit * UNIT, UNIT);
	block_trace_describe(trace, &figures);
	CHECK_EQ(figures.bytes_unique, units / 2 * UNIT);
	REQUIRE(block_trace_save(trace, fd, identity, NULL) == 0);
	REQUIRE(block_record_load(fd, identity, units * UNIT, &runs, NULL) == 0);
	CHECK_EQ(runs.count, TRACE_RUNS);
	block_trace_free(trace);
	CHECK_EQ(block_trace_new(UINT64_MAX, true, &trace), -EFBIG);
	close(fd);
}

static void finished(struct block_request *request, int result)
{
	CHECK_EQ(result, 0);
}

/* The file is three units shorter than the device was when it was recorded. */
static void a_record_is_read_ahead(void)
{
	struct block_device *device;
	struct engine *engine;
	struct block_trace *trace;
	struct block_trace_figures figures;
	struct prefetch *prefetch;
	struct trace_runs runs = {0};
	uint64_t done, all;
	char memory[512];
	int fd = memfd_create("device", 0), file = memfd_create("record", 0);
	REQUIRE(ftruncate(fd, 56 * UNIT) == 0 && record(file) == 0);
	REQUIRE(block_record_load(file, identity, 100 * UNIT, &runs, NULL) == 0);
	close(file);
	REQUIRE(block_file_open(fd, true, &device, NULL) == 0);
	REQUIRE(block_trace_new(device->size, false, &trace) == 0);
	REQUIRE(engine_new(device, &(struct engine_options){.trace = trace}, &engine, NULL) == 0);
	REQUIRE(prefetch_new(engine, &runs, 0, &prefetch) == 0);
	/* Somebody reads: nothing is read ahead before that has ended. */
	struct iovec vector = {memory, sizeof memory};
	struct block_request request = {.operation = BLOCK_READ,
		.length = sizeof memory,
		.vector = &vector,
		.vector_count = 1,
		.done = finished};
	engine_submit(engine, &request);
	if (engine_busy(engine)) {
		prefetch_run(prefetch);
		prefetch_describe(prefetch, &done, &all);
		CHECK_EQ(done, 0);
		CHECK_EQ(all, 12 * UNIT);
	}
	engine_drain(engine);
	for (unsigned wait; (wait = prefetch_run(prefetch)) != PREFETCH_OVER;) {
		poll(NULL, 0, (int)wait);
		engine_drain(engine);
	}
	prefetch_describe(prefetch, &done, &all);
	CHECK_EQ(done, 12 * UNIT);
	block_trace_describe(trace, &figures);
	CHECK_EQ(figures.bytes_ahead, 9 * UNIT);
	CHECK_EQ(figures.reads, 1);
	prefetch_free(prefetch);
	engine_free(engine);
	block_close(device);
	block_trace_free(trace);
}

static void reading_ahead_is_bounded_and_stops(void)
{
	struct block_device *device;
	struct engine *engine;
	struct prefetch *prefetch;
	struct trace_runs runs = {0};
	uint64_t done, all;
	int fd = memfd_create("device", 0);
	REQUIRE(ftruncate(fd, 64 << 20) == 0);
	REQUIRE(block_file_open(fd, true, &device, NULL) == 0);
	REQUIRE(engine_new(device, &(struct engine_options){0}, &engine, NULL) == 0);
	struct trace_run *run = vector_push(&runs);
	REQUIRE(run);
	*run = (struct trace_run){0, (64 << 20) / TRACE_UNIT};
	const uint64_t rate = 10 << 20;
	REQUIRE(prefetch_new(engine, &runs, rate, &prefetch) == 0);
	struct timespec begin, end;
	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (int i = 0; i < 50; i++) {
		unsigned wait = prefetch_run(prefetch);
		REQUIRE(wait != PREFETCH_OVER);
		poll(NULL, 0, (int)wait);
		engine_drain(engine);
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	prefetch_describe(prefetch, &done, &all);
	double seconds = (double)(end.tv_sec - begin.tv_sec) +
			 (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
	CHECK(done > (512 << 10));
	/* What may be saved up comes first, and one piece may be begun on credit. */
	CHECK((double)done <= (double)rate * seconds + (5 * 128 << 10));
	prefetch_stop(prefetch);
	engine_drain(engine);
	CHECK(prefetch_run(prefetch) == PREFETCH_OVER);
	prefetch_free(prefetch);
	engine_free(engine);
	block_close(device);
}

TEST_MAIN({"figures count what was asked for, once and again", figures_count_what_was_asked_for},
	{"a record keeps the order in which blocks were first read", a_record_keeps_the_order},
	{"a record that is damaged, newer or of another image is refused",
		a_wrong_record_is_refused},
	{"a record is bounded", a_record_is_bounded},
	{"a record is read ahead, after those who asked", a_record_is_read_ahead},
	{"reading ahead keeps to its bandwidth, and stops when told to",
		reading_ahead_is_bounded_and_stops})
