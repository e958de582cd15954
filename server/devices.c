/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device is a plain file, or a lazy file over its roots' folders. Each has an engine of its own, and
 * what is read-only has a trace: what was read of it.
 */
#include <limits.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/progress.h"
#include "block/layout_device.h"
#include "server/inside.h"

/* An attachment is one of many on its host: it has few requests under way, and few threads. */
enum { ENGINE_DEPTH = 64, ENGINE_WORKERS = 16, TOLD_SECONDS = 60 };

static int open_lazy(struct server *server, struct served *served, struct ramet_error *err)
{
	const struct server_device *given = served->given;
	int r = lazy_open((int)given->fd, given->path, &served->lazy, err);
	if (r < 0)
		return r;
	struct lazy_facts facts;
	lazy_describe(served->lazy, &facts);
	if (facts.roots != given->roots.count)
		return error_set(
			err, ESTALE, "%s was changed while it was being attached", given->path);
	const struct block_layout_options options = {.roots = given->roots.items,
		.fail_stalled = server->config.fail_stalled,
		.stall_ms = (unsigned)server->config.stall_ms,
		.note = log_note,
		.note_ctx = &server->log};
	return block_layout_open(served->lazy, (int)given->fd, &options, &served->device, err);
}

static void expired(struct loop_timer *timer)
{
	struct served *served = (struct served *)((char *)timer - offsetof(struct served, ahead));
	unsigned wait = prefetch_run(served->prefetch);
	if (wait != PREFETCH_OVER) {
		loop_set_timer(served->loop, timer, wait);
		return;
	}
	prefetch_free(served->prefetch);
	served->prefetch = NULL;
}

static int nibble(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Whether the device's identity is known. */
static bool parse_identity(const char *hex, uint8_t identity[static TRACE_IDENTITY])
{
	if (!hex || strlen(hex) != 2 * TRACE_IDENTITY)
		return false;
	for (size_t i = 0; i < TRACE_IDENTITY; i++) {
		int high = nibble(hex[2 * i]), low = nibble(hex[2 * i + 1]);
		if (high < 0 || low < 0)
			return false;
		identity[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

/* A record that is of no use keeps nobody from being served. */
static int start_ahead(struct server *server, struct served *served, struct ramet_error *err)
{
	uint8_t identity[TRACE_IDENTITY];
	struct ramet_error failure = {0};
	_cleanup_trace_runs_ struct trace_runs runs = {0};
	if (served->given->replay < 0 || !parse_identity(served->given->identity, identity))
		return 0;
	int r = block_record_load(
		(int)served->given->replay, identity, served->device->size, &runs, &failure);
	if (r < 0) {
		log_note(&server->log, failure.message);
		return 0;
	}
	r = prefetch_new(
		served->engine, &runs, (uint64_t)server->config.bandwidth, &served->prefetch);
	if (r < 0)
		return error_memory(err);
	served->loop = server->loop;
	served->ahead.expired = expired;
	loop_set_timer(server->loop, &served->ahead, 1);
	return 0;
}

/* The guest has its I/O error; who runs the host should know, too, and a full disk is told of once a
 * minute, not with each write. What a lazy file's sources do has notes of its own, and memory that a VMM
 * took away is its own affair. */
static void failed(void *ctx, enum block_operation operation, int code)
{
	struct served *served = ctx;
	double now = clock_seconds();
	if ((operation == BLOCK_READ && served->lazy) || code == -EFAULT || code == -EOPNOTSUPP ||
		code == -ECANCELED)
		return;
	if (code == served->told && now - served->told_at < TOLD_SECONDS)
		return;
	served->told = code;
	served->told_at = now;
	static const char *const what[] = {[BLOCK_READ] = "read",
		[BLOCK_WRITE] = "write",
		[BLOCK_FLUSH] = "flush",
		[BLOCK_DISCARD] = "discard"};
	char reason[128], sentence[PATH_MAX + 512];
	bool full = code == -ENOSPC || code == -EDQUOT;
	snprintf(sentence, sizeof sentence,
		"%s: a %s failed, and who asked was told so: %s; %s %s is", served->given->name,
		what[operation], strerror_r(-code, reason, sizeof reason),
		full ? "make room where" : "look at the disk where", served->given->path);
	log_note(served->log, sentence);
}

static int open_one(struct server *server, struct served *served, struct ramet_error *err)
{
	const struct server_device *given = served->given;
	int r = given->lazy
			? open_lazy(server, served, err)
			: block_file_open((int)given->fd, given->read_only, &served->device, err);
	if (r == 0 && given->align > 0)
		r = block_padded_open(&served->device, (uint64_t)given->align, err);
	if (r < 0)
		return error_prefix(err, r, "%s", given->path);
	if (given->read_only && block_trace_new(served->device->size, given->record >= 0,
					&served->trace) == -ENOMEM)
		return error_memory(err);
	const struct engine_options options = {.depth = ENGINE_DEPTH,
		.workers = ENGINE_WORKERS,
		.trace = served->trace,
		.failed = failed,
		.failed_ctx = served};
	served->log = &server->log;
	r = engine_new(served->device, &options, &served->engine, err);
	if (r == 0 && loop_add_engine(server->loop, served->engine) < 0)
		r = error_memory(err);
	return r < 0 ? r : start_ahead(server, served, err);
}

int devices_open(struct server *server, struct ramet_error *err)
{
	size_t count = server->config.devices.count;
	/* Where they are in memory must not change: timers and exports point there. */
	server->served = calloc(count, sizeof *server->served);
	server->exported = calloc(count, sizeof *server->exported);
	if (!server->served || !server->exported)
		return error_memory(err);
	int r = 0;
	for (size_t i = 0; i < count && r == 0; i++) {
		struct served *served = &server->served[server->served_count++];
		served->given = &server->config.devices.items[i];
		r = open_one(server, served, err);
		server->exported[i] = (struct export_device){.name = served->given->name,
			.device = served->device,
			.engine = served->engine};
	}
	return r;
}

static void flushed(struct block_request *request, int result)
{
	request->failed = result;
}

/* Writes under way end first: they are acknowledged, too. */
static void flush(struct server *server, struct served *served)
{
	struct block_request request = {.operation = BLOCK_FLUSH, .done = flushed};
	engine_drain(served->engine);
	engine_submit(served->engine, &request);
	engine_drain(served->engine);
	if (request.failed == 0)
		return;
	char sentence[256];
	snprintf(sentence, sizeof sentence, "%s: what was written is not all on its disk: %s",
		served->given->name, strerror(-request.failed));
	log_note(&server->log, sentence);
}

static void save(struct server *server, struct served *served)
{
	uint8_t identity[TRACE_IDENTITY];
	struct ramet_error failure = {0};
	if (served->trace && served->given->record >= 0 &&
		parse_identity(served->given->identity, identity) &&
		block_trace_save(served->trace, (int)served->given->record, identity, &failure) < 0)
		log_note(&server->log, failure.message);
}

void devices_end_writes(struct server *server)
{
	for (size_t i = 0; i < server->served_count; i++)
		if (!server->served[i].device->read_only)
			flush(server, &server->served[i]);
	for (size_t i = 0; i < server->served_count; i++)
		save(server, &server->served[i]);
	figures_write(server);
}

void devices_end_reads(struct server *server)
{
	for (size_t i = 0; i < server->served_count; i++)
		engine_drain(server->served[i].engine);
}
