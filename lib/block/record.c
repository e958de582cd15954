/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The record of a trace, as docs/formats.md has it: a head of 64 bytes, a run in 8 bytes each, and the
 * SHA-256 of all that stands before it. All numbers are little-endian.
 */
#include <endian.h>
#include <errno.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "block/trace_inside.h"

#define VERSION 1
static const char magic[8] = {'R', 'A', 'M', 'E', 'T', 'R', 'E', 'C'};

struct head {
	char magic[8];
	uint32_t version, unit;
	uint64_t size, count; /* of the device in bytes; of runs */
	uint8_t identity[TRACE_IDENTITY];
};
_Static_assert(sizeof(struct head) == 64, "as on disk");

static void checksum(const void *bytes, size_t length, uint8_t digest[static SHA256_DIGEST_SIZE])
{
	struct sha256_ctx context;
	sha256_init(&context);
	sha256_update(&context, length, bytes);
	sha256_digest(&context, SHA256_DIGEST_SIZE, digest);
}

static size_t record_bytes(uint64_t count)
{
	return sizeof(struct head) + (size_t)count * sizeof(struct trace_run) + SHA256_DIGEST_SIZE;
}

int block_trace_save(const struct block_trace *trace, int fd,
	const uint8_t identity[static TRACE_IDENTITY], struct ramet_error *err)
{
	if (!trace->ordered)
		return error_set(err, EINVAL, "the order of what was read was not kept");
	size_t count = trace->runs.count, length = record_bytes(count);
	_cleanup_free_ uint8_t *bytes = malloc(length);
	if (!bytes)
		return error_memory(err);
	struct head head = {.version = htole32(VERSION),
		.unit = htole32(TRACE_UNIT),
		.size = htole64(trace->size),
		.count = htole64(count)};
	memcpy(head.magic, magic, sizeof magic);
	memcpy(head.identity, identity, TRACE_IDENTITY);
	memcpy(bytes, &head, sizeof head);
	for (size_t i = 0; i < count; i++) {
		const struct trace_run run = {.first = htole32(trace->runs.items[i].first),
			.count = htole32(trace->runs.items[i].count)};
		memcpy(bytes + sizeof head + i * sizeof run, &run, sizeof run);
	}
	size_t covered = length - SHA256_DIGEST_SIZE;
	checksum(bytes, covered, bytes + covered);
	int r = pwrite_full(fd, bytes, length, 0);
	return r < 0 ? error_errno(err, -r, "cannot write the record of what was read") : 0;
}

static int damaged(struct ramet_error *err)
{
	return error_set(err, EUCLEAN, "the record of what was read is damaged; make a new one");
}

/* The file is at least a head long. */
static int check_head(const struct head *head, const uint8_t *identity, uint64_t size,
	size_t length, struct ramet_error *err)
{
	if (memcmp(head->magic, magic, sizeof magic) != 0)
		return error_set(err, EUCLEAN, "this is not a record of what was read");
	if (le32toh(head->version) > VERSION)
		return error_set(
			err, ENOTSUP, "the record of what was read is of a newer version of ramet");
	uint64_t count = le64toh(head->count);
	if (le32toh(head->version) != VERSION || le32toh(head->unit) != TRACE_UNIT ||
		count > TRACE_RUNS || length != record_bytes(count))
		return damaged(err);
	if (memcmp(head->identity, identity, TRACE_IDENTITY) != 0 || le64toh(head->size) != size)
		return error_set(err, ESTALE, "the record of what was read is of another image");
	return 0;
}

/* No more is ever read ahead than the device holds. */
static int take_runs(const uint8_t *bytes, uint64_t count, uint64_t size, struct trace_runs *runs,
	struct ramet_error *err)
{
	uint64_t units = size / TRACE_UNIT + (size % TRACE_UNIT != 0), sum = 0;
	for (uint64_t i = 0; i < count; i++) {
		struct trace_run *run = vector_push(runs);
		if (!run)
			return error_memory(err);
		memcpy(run, bytes + i * sizeof *run, sizeof *run);
		*run = (struct trace_run){
			.first = le32toh(run->first), .count = le32toh(run->count)};
		sum += run->count;
		if (!run->count || !range_within(run->first, run->count, units) || sum > units)
			return damaged(err);
	}
	return 0;
}

int block_record_load(int fd, const uint8_t identity[static TRACE_IDENTITY], uint64_t size,
	struct trace_runs *out, struct ramet_error *err)
{
	size_t most = record_bytes(TRACE_RUNS);
	_cleanup_free_ uint8_t *bytes = malloc(most + 1);
	if (!bytes)
		return error_memory(err);
	ssize_t length = pread_full(fd, bytes, most + 1, 0);
	if (length < 0)
		return error_errno(err, (int)-length, "cannot read the record of what was read");
	struct head head;
	if ((size_t)length < sizeof head)
		return damaged(err);
	memcpy(&head, bytes, sizeof head);
	int r = check_head(&head, identity, size, (size_t)length, err);
	if (r < 0)
		return r;
	uint8_t digest[SHA256_DIGEST_SIZE];
	size_t covered = (size_t)length - sizeof digest;
	checksum(bytes, covered, digest);
	if (memcmp(digest, bytes + covered, sizeof digest) != 0)
		return damaged(err);
	_cleanup_trace_runs_ struct trace_runs runs = {0};
	r = take_runs(bytes + sizeof head, le64toh(head.count), size, &runs, err);
	if (r < 0)
		return r;
	*out = runs;
	runs = (struct trace_runs){0};
	return 0;
}
