/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of a server (main.c). */
#ifndef SERVER_INSIDE_H
#define SERVER_INSIDE_H

#include <pthread.h>

#include "block/prefetch.h"
#include "block/trace.h"
#include "export/export.h"
#include "export/server.h"
#include "image/lazy.h"

/* log.c: what an operator should read. A file of bounded size, written from any thread. */
struct server_log {
	pthread_mutex_t lock;
	int fd; /* -1: nobody wants to know */
	uint64_t end;
};
void log_open(struct server_log *log, int fd);
/* ctx is the log: as struct export_options has it. */
void log_note(void *ctx, const char *sentence);
/* The same in a handler of signals of a process that ends by it: it may have interrupted log_note(), so
 * there is no waiting for a lock, nor for memory. */
void log_last_words(struct server_log *log, const char *sentence);

/* A drive that is served. */
struct served {
	const struct server_device *given;
	struct lazy *lazy;
	struct block_device *device;
	struct engine *engine;
	struct block_trace *trace;
	struct prefetch *prefetch;
	struct loop *loop;
	struct loop_timer ahead; /* when prefetch is to be called again */
	struct export *export;   /* the one that it is reached by */
	size_t index;            /* among the devices of that */
	struct server_log *log;
	int told;       /* the last failure that the log has, a negative errno... */
	double told_at; /* ...and when, in seconds (clock_seconds()) */
};

struct server {
	struct server_config config;
	struct server_log log;
	struct loop *loop;
	const struct export_ops *ops;
	struct export_user user; /* where config names one */
	struct served *served;
	size_t served_count;
	struct export_device *exported; /* in the same order */
	struct loop_fd signals, life;
	/* figures.c */
	struct loop_hook changed;
	struct loop_timer write_figures;
	bool figures_wait;
	uint64_t reads_written;
};

/* devices.c: open what is to be served, with an engine for each. */
int devices_open(struct server *server, struct ramet_error *err);
/* Everything that was acknowledged is on disk, and what was read is recorded... */
void devices_end_writes(struct server *server);
/* ...and then nothing is under way any more: this may take as long as a source does not answer. */
void devices_end_reads(struct server *server);

/* confine.c: from here on the server can do nothing but serve. */
int server_shut_in(struct server *server, struct ramet_error *err);

/* figures.c: what was read, kept up to date in a file, at most once a second. */
void figures_start(struct server *server);
void figures_write(struct server *server);

#endif
