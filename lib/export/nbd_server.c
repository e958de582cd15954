/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections of one export. In each turn of the loop the hook sends what has been answered, then
 * takes more requests from what was read already: so replies go out together, but not so many of them
 * that a client idles while its requests are worked on.
 *
 * A clock ticks once a second while there is work. It gives memory back when there is none any more,
 * and finds clients that hold memory which others wait for, but do not take their replies.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "export/nbd_inside.h"

#define TICK_MS          1000
#define NOTES            8  /* in a second: a client must not fill the log */
#define PATIENCE         30 /* seconds */
#define HANDSHAKE        5  /* seconds: as long as nobody else wants the place it may take longer */
#define OVER_RESERVED(c) ((c)->memory > NBD_RESERVED_BYTES)

void nbd_server_note(struct nbd_server *server, const char *format, ...)
{
	char sentence[512];
	va_list arguments;
	if (!server->note)
		return;
	nbd_server_stir(server);
	if (server->notes >= NOTES) {
		server->notes_lost++;
		return;
	}
	server->notes++;
	va_start(arguments, format);
	vsnprintf(sentence, sizeof sentence, format, arguments);
	va_end(arguments);
	server->note(server->note_ctx, sentence);
}

static void tell_lost_notes(struct nbd_server *server)
{
	unsigned lost = server->notes_lost;
	server->notes = server->notes_lost = 0;
	if (lost)
		nbd_server_note(server, "%u more like the last ones", lost);
}

static bool drop_idlers(struct nbd_server *server)
{
	bool busy = false;
	for (struct nbd_connection *c = server->connections; c; c = c->next) {
		busy |= c->requests > 0;
		if (server->starved && !c->dead && OVER_RESERVED(c) &&
			server->time - c->progress >= PATIENCE)
			nbd_connection_drop(
				c, "it does not take its replies, and others wait for the memory");
	}
	return busy;
}

static void give_back(struct nbd_server *server)
{
	nbd_memory_release(&server->memory);
	for (struct nbd_request *request = server->spare, *next; request; request = next) {
		next = request->next;
		free(request);
	}
	server->spare = NULL;
}

static void tick(struct loop_timer *timer)
{
	struct nbd_server *server = (struct nbd_server *)((char *)timer -
							  offsetof(struct nbd_server, clock));
	server->time++;
	bool busy = drop_idlers(server);
	tell_lost_notes(server);
	server->ticking = server->active || busy;
	if (!server->active)
		give_back(server);
	server->active = false;
	if (server->ticking)
		loop_set_timer(server->loop, &server->clock, TICK_MS);
}

void nbd_server_stir(struct nbd_server *server)
{
	server->active = true;
	if (server->ticking)
		return;
	server->ticking = true;
	loop_set_timer(server->loop, &server->clock, TICK_MS);
}

static void reap(struct nbd_server *server)
{
	for (struct nbd_connection **at = &server->connections, *c; (c = *at);) {
		if (!c->dead || c->under_way) {
			at = &c->next;
			continue;
		}
		*at = c->next;
		server->connection_count--;
		if (server->gone)
			server->gone(server, c);
		nbd_connection_free(c);
	}
}

static bool run(struct loop_hook *hook)
{
	struct nbd_server *server = (struct nbd_server *)((char *)hook -
							  offsetof(struct nbd_server, hook));
	bool more = false;
	for (struct nbd_connection *c = server->connections; c; c = c->next)
		nbd_connection_send(c);
	bool relief = server->relief;
	server->starved = server->relief = false;
	for (struct nbd_connection *c = server->connections; c; c = c->next) {
		if (c->more || (c->hungry && relief))
			nbd_connection_advance(c);
		server->starved |= c->hungry && !c->dead;
		more |= c->more;
	}
	reap(server);
	return more;
}

uint64_t nbd_seconds(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec;
}

bool nbd_server_make_room(struct nbd_server *server)
{
	for (struct nbd_connection *c = server->connections; c; c = c->next)
		if (!c->dead && !c->device && nbd_seconds() - c->since >= HANDSHAKE) {
			nbd_connection_drop(
				c, "its handshake takes too long, and others want its place");
			return true;
		}
	return false;
}

int nbd_server_adopt(struct nbd_server *server, int fd, const struct export_device *device)
{
	struct nbd_connection *connection = nbd_connection_new(server, fd);
	if (!connection)
		return -ENOMEM;
	if (loop_add(server->loop, &connection->fd) < 0) {
		nbd_connection_free(connection);
		return -ENOMEM;
	}
	connection->device = device;
	if (device)
		connection->consume = nbd_consume_request;
	else
		nbd_greet(connection);
	/* The oldest first: that is the order in which they get memory. */
	struct nbd_connection **last = &server->connections;
	while (*last)
		last = &(*last)->next;
	*last = connection;
	server->connection_count++;
	return 0;
}

int nbd_server_start(
	struct nbd_server *server, const struct export_options *options, struct ramet_error *err)
{
	server->devices = calloc(options->device_count, sizeof *server->devices);
	if (!server->devices)
		return error_memory(err);
	memcpy(server->devices, options->devices, options->device_count * sizeof *server->devices);
	server->device_count = options->device_count;
	server->loop = options->loop;
	server->note = options->note;
	server->note_ctx = options->note_ctx;
	server->clock.expired = tick;
	server->hook.run = run;
	loop_add_hook(server->loop, &server->hook);
	return 0;
}

void nbd_server_stop(struct nbd_server *server)
{
	for (struct nbd_connection *c = server->connections; c; c = c->next) {
		c->fd.events = 0;
		c->more = false;
		c->ending = true;
	}
}

void nbd_server_finish(struct nbd_server *server)
{
	if (!server->devices)
		return;
	for (struct nbd_connection *c = server->connections, *next; c; c = next) {
		next = c->next;
		nbd_connection_send(c);
		nbd_connection_drop(c, NULL);
		nbd_connection_free(c);
	}
	loop_clear_timer(server->loop, &server->clock);
	loop_remove_hook(server->loop, &server->hook);
	give_back(server);
	free(server->devices);
}
