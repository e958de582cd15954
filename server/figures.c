/* SPDX-License-Identifier: Apache-2.0 */
/* The file is written in place, in one write, and whoever reads it reads it in one. A server that is
 * asked for nothing wakes up for nothing. */
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "server/inside.h"

enum { EVERY_MS = 1000 };

static struct server_stats stats_of(const struct served *served)
{
	struct block_trace_figures figures;
	block_trace_describe(served->trace, &figures);
	struct server_stats stats = {.size = served->device->size,
		.reads = figures.reads,
		.asked = figures.bytes_asked,
		.unique = figures.bytes_unique,
		.hit = figures.bytes_hit,
		.ahead = figures.bytes_ahead};
	snprintf(stats.name, sizeof stats.name, "%s", served->given->name);
	return stats;
}

/* Reads and reads ahead: what changes with each of them. */
static uint64_t count_reads(const struct server *server)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < server->served_count; i++) {
		if (!server->served[i].trace)
			continue;
		struct server_stats stats = stats_of(&server->served[i]);
		sum += stats.reads + stats.ahead;
	}
	return sum;
}

void figures_write(struct server *server)
{
	_cleanup_text_ struct text text = {0};
	size_t traced = 0;
	server->reads_written = count_reads(server);
	server_stats_begin(server->config.serial, &text);
	for (size_t i = 0; i < server->served_count; i++) {
		if (!server->served[i].trace)
			continue;
		struct server_stats stats = stats_of(&server->served[i]);
		server_stats_write(&stats, &text);
		traced++;
	}
	/* A disk that is full leaves the figures of before. */
	if (!text.failed && traced && server->config.stats >= 0 &&
		pwrite_full((int)server->config.stats, text.data, text.length, 0) == 0 &&
		ftruncate((int)server->config.stats, (off_t)text.length) < 0)
		return;
}

/* What was looked up of the tables since stays in the page cache, and counts as ours no longer. */
static void trim(const struct server *server)
{
	for (size_t i = 0; i < server->served_count; i++)
		if (server->served[i].lazy)
			lazy_trim(server->served[i].lazy);
}

static void expired(struct loop_timer *timer)
{
	struct server *server = (struct server *)((char *)timer -
						  offsetof(struct server, write_figures));
	server->figures_wait = false;
	figures_write(server);
	trim(server);
}

static bool look(struct loop_hook *hook)
{
	struct server *server = (struct server *)((char *)hook - offsetof(struct server, changed));
	if (!server->figures_wait && count_reads(server) != server->reads_written) {
		server->figures_wait = true;
		loop_set_timer(server->loop, &server->write_figures, EVERY_MS);
	}
	return false;
}

void figures_start(struct server *server)
{
	if (server->config.stats < 0)
		return;
	server->changed.run = look;
	server->write_figures.expired = expired;
	loop_add_hook(server->loop, &server->changed);
	figures_write(server);
}
