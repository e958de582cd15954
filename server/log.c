/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines of a time and a sentence. A file that has grown too long keeps its second half: what came
 * last is what is asked for.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "server/inside.h"

enum { LOG_MOST = 128 << 10, LOG_KEPT = 64 << 10, LOG_ROOM = 4096, LINE_MOST = 4096 };

void log_open(struct server_log *log, int fd)
{
	struct stat st;
	pthread_mutex_init(&log->lock, NULL);
	log->fd = fd >= 0 && fstat(fd, &st) == 0 ? fd : -1;
	log->end = log->fd >= 0 ? (uint64_t)st.st_size : 0;
	/* That the disk is full may be what has to be told. */
	if (log->fd >= 0)
		fallocate(log->fd, FALLOC_FL_KEEP_SIZE, (off_t)log->end, LOG_ROOM);
}

static void forget_half(struct server_log *log)
{
	char *kept = malloc(LOG_KEPT);
	ssize_t n = kept ? pread_full(log->fd, kept, LOG_KEPT, log->end - LOG_KEPT) : -1;
	if (n > 0) {
		const char *line = memchr(kept, '\n', (size_t)n);
		size_t skipped = line ? (size_t)(line - kept) + 1 : 0;
		uint64_t left = (uint64_t)n - skipped;
		if (pwrite_full(log->fd, kept + skipped, left, 0) == 0 &&
			ftruncate(log->fd, (off_t)left) == 0)
			log->end = left;
	}
	free(kept);
}

static void append(struct server_log *log, const char *sentence, bool may_forget)
{
	char line[LINE_MOST];
	time_t now = time(NULL);
	struct tm utc;
	size_t length = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%SZ ", gmtime_r(&now, &utc));
	int n = snprintf(line + length, sizeof line - length - 1, "%s", sentence);
	text_disarm(line);
	length = MIN(length + (size_t)MAX(n, 0), sizeof line - 2);
	line[length++] = '\n';
	if (may_forget && log->end > LOG_MOST)
		forget_half(log);
	if (pwrite_full(log->fd, line, length, log->end) == 0)
		log->end += length;
}

void log_note(void *ctx, const char *sentence)
{
	struct server_log *log = ctx;
	if (log->fd < 0)
		return;
	pthread_mutex_lock(&log->lock);
	append(log, sentence, true);
	pthread_mutex_unlock(&log->lock);
}

void log_last_words(struct server_log *log, const char *sentence)
{
	if (log->fd >= 0)
		append(log, sentence, false);
}
