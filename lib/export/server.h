/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a server (server/main.c) is told by whoever starts it, and what it answers. The files that it
 * serves it is given open, so it needs no right to find them. The form is this file's own: both ends
 * are of one build.
 */
#ifndef EXPORT_SERVER_H
#define EXPORT_SERVER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/text.h"
#include "base/vector.h"

/* The name of its file, and of its process. */
#define SERVER_PROGRAM "ramet-server"

/* A drive of the fork. */
struct server_device {
	char *name;    /* "base", "layer1", "volume" */
	char *path;    /* of its file, for messages */
	char *address; /* see struct export_options; "": there is none */
	/* The SHA-256 of its file, 64 hexadecimal digits, for records; "": not known. */
	char *identity;
	/* Numbers. Files are open in the server; -1: none. */
	int64_t fd, read_only, lazy;
	int64_t align; /* zeros are put behind a read-only one, up to a multiple of this; 0: none */
	int64_t record;    /* gets what was read, in its order */
	int64_t replay;    /* has what an earlier one recorded: it is read ahead */
	VECTOR(int) roots; /* of a lazy file, its roots' folders */
};

struct server_config {
	char *fork;                     /* its name, for messages */
	char *kind;                     /* of the export */
	int64_t fail_stalled, stall_ms; /* as in struct block_layout_options */
	int64_t bandwidth; /* of reading ahead, bytes a second; 0: as much as there is */
	int64_t uid,
		gid; /* who may use what is served (struct export_options.user); -1: nobody else */
	int64_t log; /* gets the lines that an operator should read */
	int64_t stats;  /* gets the counters: server_stats_begin(), server_stats_write() of each */
	int64_t serial; /* of those counters */
	/* A pipe: when its other end is closed the server ends, unless a byte came before. -1: nothing
	 * but signals end it. */
	int64_t life;
	VECTOR(struct server_device) devices;
	VECTOR(int) locks; /* held by being open; with what is named above all that stays open */
};
#define SERVER_CONFIG_NONE \
	{ \
		.uid = -1, .gid = -1, .log = -1, .stats = -1, .life = -1 \
	}
/* A device more, with no files; NULL without memory. */
struct server_device *server_config_add(struct server_config *config);
void server_config_free(struct server_config *config);
#define _cleanup_server_config_ __attribute__((cleanup(server_config_free)))

void server_config_write(const struct server_config *config, struct text *out);
/* -EBADMSG: that was none; -ENOMEM. */
int server_config_read(const char *bytes, size_t length, struct server_config *config);

/* What comes back: that it serves, and under which addresses; or why not. */
struct server_answer {
	pid_t pid;
	VECTOR(char *) addresses; /* what clients of each device connect to */
};
void server_answer_free(struct server_answer *answer);
#define _cleanup_server_answer_ __attribute__((cleanup(server_answer_free)))
void server_answer_write(pid_t pid, struct text *out);
void server_answer_write_address(const char *address, struct text *out);
void server_answer_write_failure(int code, const char *sentence, struct text *out);
/* 0 and the answer; the server's own failure and sentence; or -EBADMSG: it ended without a word. */
int server_answer_read(
	const char *bytes, size_t length, struct server_answer *answer, struct ramet_error *err);

/* What it says in its log of its own life. */
#define SERVER_SERVES "serves"
#define SERVER_ENDED  "ended"

/* What was asked of a device so far: struct block_trace_figures. */
struct server_stats {
	char name[32];
	uint64_t size;
	uint64_t reads, asked, unique, hit, ahead;
};
enum { SERVER_STATS_MAX = 64 << 10 };
void server_stats_begin(int64_t serial, struct text *out);
void server_stats_write(const struct server_stats *stats, struct text *out);
/* How many there are in text, at most most; *serial stays as it is where they have none. */
size_t server_stats_read(
	const char *text, int64_t *serial, struct server_stats *stats, size_t most);

#endif
