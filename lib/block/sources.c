/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of open files by their index in the lazy file, and a list of them, the least recently used
 * last. What is kept open beyond its use is bounded; what is held is bounded by the engine's moves.
 *
 * A file that turns out wrong leaves the table at once, and those who hold it find that out each for
 * itself. The next one who asks opens and checks it anew, at most once a second; so a file that was put
 * back as it was is right again.
 *
 * A process that may have fewer files open than that keeps as many as it may: what nobody uses is closed
 * when the kernel gives no more, and fewer are kept from then on. Where all are in use, a worker waits a
 * moment and has the engine ask again: the reads that would let go of them may stand behind it, for want
 * of a worker. Only where none is in use, and nothing moves for long, is it an error (shortage.c).
 *
 * The lock is never held over a system call: files of a server that hangs hang too, closing included,
 * so what is closed is closed by a worker unless the file is on a disk.
 */
#include "block/sources.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "block/shortage.h"
#include "block/source_notes.h"
#include "image/source_file.h"

/* Files that were opened for someone who did not take them yet are let go of only beyond so many, or when
 * there were none to be had for so long. */
enum {
	OPEN_FILES = 256,
	FRESH = 128,
	BUCKETS = 128,
	AGAIN_MS = 1000,
	GROUPS = 15,
	UNTAKEN_MS = 250
};

struct source {
	uint32_t file;
	int fd;
	unsigned refs;
	enum { OPENING, OPEN, BAD } state;
	bool listed; /* in the table; what is not is freed when nobody holds it */
	bool fresh;  /* opened, and not taken yet */
	bool slow;
	uint64_t checked; /* milliseconds: when it was found BAD */
	struct lazy_file seen;
	struct source *chain;         /* of its bucket, or of those to be closed */
	struct source *newer, *older; /* while listed */
};

struct sources {
	const struct lazy *lazy;
	const int *roots;
	bool *slow_roots;
	struct source_notes *notes;
	bool fail_stalled;
	unsigned stall_ms;
	unsigned most, count;
	unsigned open; /* files */
	struct shortage shortage;
	pthread_mutex_t lock;
	pthread_cond_t opened;
	struct source *buckets[BUCKETS];
	struct source *newest, *oldest;
	struct source *closing; /* slow ones, whose last holder could not wait */
};

static uint64_t now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

int sources_new(
	const struct lazy *lazy, const struct block_layout_options *options, struct sources **out)
{
	struct sources *sources = calloc(1, sizeof *sources);
	if (!sources)
		return -ENOMEM;
	int r = source_notes_new(lazy, options, &sources->notes);
	if (r < 0) {
		free(sources);
		return r;
	}
	struct lazy_facts facts;
	lazy_describe(lazy, &facts);
	sources->slow_roots = calloc(facts.roots + 1, sizeof *sources->slow_roots);
	if (!sources->slow_roots) {
		source_notes_free(sources->notes);
		free(sources);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < facts.roots; i++)
		sources->slow_roots[i] = source_is_slow(options->roots[i]);
	sources->lazy = lazy;
	sources->roots = options->roots;
	sources->fail_stalled = options->fail_stalled;
	sources->stall_ms = options->stall_ms;
	sources->most = options->open_files ? options->open_files : OPEN_FILES;
	pthread_mutex_init(&sources->lock, NULL);
	pthread_cond_init(&sources->opened, NULL);
	shortage_init(&sources->shortage);
	*out = sources;
	return 0;
}

/* ------------------------------------------------------------------------------------------- */

static struct source **bucket_of(struct sources *sources, uint32_t file)
{
	return &sources->buckets[file % BUCKETS];
}

static struct source *find(struct sources *sources, uint32_t file)
{
	struct source *source = *bucket_of(sources, file);
	while (source && (source->file != file || !source->listed))
		source = source->chain;
	return source;
}

/* Whoever holds a file finds it here even when it is not listed any more. */
static struct source *find_held(struct sources *sources, uint32_t file, int fd)
{
	struct source *source = *bucket_of(sources, file);
	while (source->fd != fd || source->file != file)
		source = source->chain;
	return source;
}

static void leave_order(struct sources *sources, struct source *source)
{
	*(source->newer ? &source->newer->older : &sources->newest) = source->older;
	*(source->older ? &source->older->newer : &sources->oldest) = source->newer;
}

static void enter_order(struct sources *sources, struct source *source)
{
	source->newer = NULL;
	source->older = sources->newest;
	*(sources->newest ? &sources->newest->newer : &sources->oldest) = source;
	sources->newest = source;
}

static void used(struct sources *sources, struct source *source)
{
	if (sources->newest == source)
		return;
	leave_order(sources, source);
	enter_order(sources, source);
}

static void unlist(struct sources *sources, struct source *source)
{
	if (!source->listed)
		return;
	source->listed = false;
	sources->count--;
	leave_order(sources, source);
}

/* Take what nobody holds out of the table, for discard(). */
static void remove_source(struct sources *sources, struct source *source, struct source **removed)
{
	unlist(sources, source);
	struct source **at = bucket_of(sources, source->file);
	while (*at != source)
		at = &(*at)->chain;
	*at = source->chain;
	source->chain = *removed;
	*removed = source;
}

static void discard(struct sources *sources, struct source *removed)
{
	while (removed) {
		struct source *next = removed->chain;
		bool open = removed->fd >= 0;
		cleanup_close(&removed->fd);
		free(removed);
		removed = next;
		if (!open)
			continue;
		pthread_mutex_lock(&sources->lock);
		sources->open--;
		shortage_moved(&sources->shortage);
		pthread_mutex_unlock(&sources->lock);
	}
}

/* Closing a file of a slow filesystem may take for ever too: as long as that can be, only those of the
 * same root are closed, by one whose file is slow itself. */
static bool may_close(
	const struct sources *sources, const struct source *source, const struct source *opened)
{
	return !source->slow ||
	       (opened->slow && (source->seen.root == opened->seen.root ||
					sources->count > 2 * sources->most + FRESH));
}

/* fresh: how many of those that nobody took yet may stay beyond what is kept. */
static void evict(struct sources *sources, const struct source *opened, unsigned fresh,
	struct source **removed)
{
	while (opened->slow && sources->closing) {
		struct source *source = sources->closing;
		sources->closing = source->chain;
		source->chain = *removed;
		*removed = source;
	}
	for (struct source *at = sources->oldest, *newer; at && sources->count > sources->most;
		at = newer) {
		newer = at->newer;
		bool wanted = at->fresh && sources->count <= sources->most + fresh;
		if (at->refs == 0 && at->state != OPENING && !wanted &&
			may_close(sources, at, opened))
			remove_source(sources, at, removed);
	}
}

void sources_free(struct sources *sources)
{
	if (!sources)
		return;
	struct source *removed = NULL;
	while (sources->oldest)
		remove_source(sources, sources->oldest, &removed);
	discard(sources, removed);
	discard(sources, sources->closing);
	source_notes_free(sources->notes);
	free(sources->slow_roots);
	pthread_cond_destroy(&sources->opened);
	shortage_destroy(&sources->shortage);
	pthread_mutex_destroy(&sources->lock);
	free(sources);
}

/* ------------------------------------------------------------------------------------------- */

uint16_t sources_group(const struct sources *sources, uint32_t file)
{
	struct lazy_file seen;
	lazy_file(sources->lazy, file, &seen);
	return (uint16_t)(1 + seen.root % GROUPS);
}

static void take(struct sources *sources, struct source *source, struct block_extent *extent)
{
	source->refs++;
	sources->shortage.held++;
	source->fresh = false;
	used(sources, source);
	extent->fd = source->fd;
	extent->source = source->file;
	extent->group = source->slow ? (uint16_t)(1 + source->seen.root % GROUPS) : 0;
}

static void set_open(struct sources *sources, struct source *source, int fd)
{
	source->state = OPEN;
	source->fd = fd;
	sources->open++;
	shortage_moved(&sources->shortage);
}

static struct source *list_new(struct sources *sources, uint32_t file)
{
	struct source *source = malloc(sizeof *source);
	if (!source)
		return NULL;
	*source = (struct source){.file = file, .fd = -1, .state = OPENING, .listed = true};
	lazy_file(sources->lazy, file, &source->seen);
	source->chain = *bucket_of(sources, file);
	*bucket_of(sources, file) = source;
	enter_order(sources, source);
	sources->count++;
	return source;
}

/* In the engine's thread: a file on a disk here whose names are in the kernel's cache. */
static int open_at_once(const struct sources *sources, uint32_t file)
{
	struct lazy_file seen;
	int code;
	lazy_file(sources->lazy, file, &seen);
	if (sources->slow_roots[seen.root] || source_unsettled(&seen))
		return -EAGAIN;
	_cleanup_text_ struct text path = {0};
	int r = lazy_file_path(sources->lazy, file, &path);
	_cleanup_close_ int fd = r < 0 ? r
				       : source_open_quick(sources->roots[seen.root], path.data);
	if (fd < 0 || source_compare(fd, false, &seen, &code) != SOURCE_RIGHT)
		return -EAGAIN;
	return TAKE_FD(fd);
}

/* A worker may have begun to open it meanwhile. */
static bool take_at_once(struct sources *sources, uint32_t file, struct block_extent *extent)
{
	struct source *removed = NULL, *source = NULL;
	_cleanup_close_ int fd = open_at_once(sources, file);
	if (fd < 0)
		return false;
	pthread_mutex_lock(&sources->lock);
	if (!find(sources, file))
		source = list_new(sources, file);
	if (source) {
		set_open(sources, source, TAKE_FD(fd));
		take(sources, source, extent);
		evict(sources, source, FRESH, &removed);
	}
	pthread_mutex_unlock(&sources->lock);
	discard(sources, removed);
	return source;
}

bool sources_take(struct sources *sources, uint32_t file, struct block_extent *extent, int *result)
{
	pthread_mutex_lock(&sources->lock);
	struct source *source = find(sources, file);
	bool open = source && source->state == OPEN;
	if (sources->fail_stalled && source && source_is_stalled(sources->notes, file)) {
		*result = -EIO;
		open = false;
	}
	if (open)
		take(sources, source, extent);
	pthread_mutex_unlock(&sources->lock);
	return source ? open : take_at_once(sources, file, extent);
}

static enum source_cause open_source(
	const struct sources *sources, struct source *source, int *fd, int *code)
{
	_cleanup_text_ struct text path = {0};
	int r = lazy_file_path(sources->lazy, source->file, &path);
	if (r == 0)
		r = source_open(sources->roots[source->seen.root], path.data, fd, &source->slow);
	if (r < 0) {
		*code = -r;
		return source_cause_of(-r);
	}
	enum source_cause cause = source_compare(*fd, source->slow, &source->seen, code);
	if (cause == SOURCE_RIGHT)
		source_settle(&source->seen);
	return cause;
}

enum room { ROOM_MADE, ROOM_AWAITED, ROOM_NONE };

/* The kernel gives no more files: some are closed, or those who hold them are given time to let go.
 * begun: when the source was tried. */
static enum room make_room(struct sources *sources, struct source *source, uint64_t begun)
{
	struct source *removed = NULL;
	pthread_mutex_lock(&sources->lock);
	sources->shortage.held--;
	/* Files in use are let go of some time, unless a source has stalled; that is told of its own. */
	uint64_t held_ms = sources->fail_stalled ? sources->stall_ms : UINT64_MAX;
	bool untaken = now() - shortage_note(&sources->shortage) >= UNTAKEN_MS;
	bool hopeless = shortage_is_hopeless(&sources->shortage, begun, held_ms);
	source->slow = sources->slow_roots[source->seen.root];
	sources->most = MIN(sources->most, MAX(sources->open / 2, 1));
	evict(sources, source, untaken ? 0 : FRESH, &removed);
	enum room room = removed ? ROOM_MADE : hopeless ? ROOM_NONE : ROOM_AWAITED;
	if (room == ROOM_AWAITED)
		shortage_wait(&sources->shortage, &sources->lock);
	sources->shortage.held++;
	pthread_mutex_unlock(&sources->lock);
	discard(sources, removed);
	return room;
}

/* As if nobody had asked for it. */
static void forget(struct sources *sources, struct source *source)
{
	struct source *removed = NULL;
	pthread_mutex_lock(&sources->lock);
	sources->shortage.held--;
	remove_source(sources, source, &removed);
	pthread_cond_broadcast(&sources->opened);
	pthread_mutex_unlock(&sources->lock);
	discard(sources, removed);
}

static int tell_opened(
	struct sources *sources, struct source *source, enum source_cause cause, int fd)
{
	struct source *removed = NULL;
	pthread_mutex_lock(&sources->lock);
	sources->shortage.held--;
	source->state = BAD;
	source->fresh = cause == SOURCE_RIGHT;
	source->checked = now();
	if (cause == SOURCE_RIGHT)
		set_open(sources, source, fd);
	evict(sources, source, FRESH, &removed);
	pthread_cond_broadcast(&sources->opened);
	pthread_mutex_unlock(&sources->lock);
	discard(sources, removed);
	return cause == SOURCE_RIGHT ? 0 : -EIO;
}

/* Nobody else touches a source that is OPENING; we are counted as one who holds a file. */
static int open_and_check(struct sources *sources, struct source *source)
{
	int code = 0;
	_cleanup_close_ int fd = -1;
	enum source_cause cause;
	enum room room;
	do {
		uint64_t begun = now();
		cause = open_source(sources, source, &fd, &code);
		bool none = cause == SOURCE_UNREACHABLE && (code == EMFILE || code == ENFILE);
		room = none ? make_room(sources, source, begun) : ROOM_NONE;
	} while (room == ROOM_MADE);
	if (room == ROOM_AWAITED) {
		forget(sources, source);
		return 0;
	}
	source_note_cause(sources->notes, source->file, cause, code);
	return tell_opened(sources, source, cause, cause == SOURCE_RIGHT ? TAKE_FD(fd) : -1);
}

int sources_ready(struct sources *sources, uint32_t file)
{
	int result = 0;
	struct source *mine = NULL, *source;
	pthread_mutex_lock(&sources->lock);
	while ((source = find(sources, file)) && source->state == OPENING)
		pthread_cond_wait(&sources->opened, &sources->lock);
	if (!source) {
		mine = list_new(sources, file);
		result = mine ? 0 : -ENOMEM;
	} else if (source->state == BAD && now() - source->checked < AGAIN_MS) {
		result = -EIO;
	} else if (source->state == BAD) {
		mine = source;
		mine->state = OPENING;
	}
	sources->shortage.held += mine != NULL;
	pthread_mutex_unlock(&sources->lock);
	return mine ? open_and_check(sources, mine) : result;
}

/* ------------------------------------------------------------------------------------------- */

/* What is wrong with a file that was read. */
static enum source_cause check_read(const struct source *source, int failed, int *code)
{
	enum source_cause cause = source_compare(source->fd, source->slow, &source->seen, code);
	if (cause != SOURCE_RIGHT || !failed)
		return cause;
	*code = failed;
	return SOURCE_UNREACHABLE;
}

int sources_put(struct sources *sources, const struct block_extent *extent)
{
	struct source *removed = NULL;
	enum source_cause cause = SOURCE_RIGHT;
	pthread_mutex_lock(&sources->lock);
	struct source *source = find_held(sources, extent->source, extent->fd);
	if (extent->failed != ECANCELED) {
		int code = 0;
		pthread_mutex_unlock(&sources->lock);
		cause = check_read(source, extent->failed, &code);
		source_note_cause(sources->notes, source->file, cause, code);
		pthread_mutex_lock(&sources->lock);
	}
	if (cause != SOURCE_RIGHT)
		unlist(sources, source);
	sources->shortage.held--;
	if (--source->refs == 0)
		shortage_moved(&sources->shortage);
	if (source->refs == 0 && !source->listed)
		remove_source(sources, source,
			extent->failed == ECANCELED && source->slow ? &sources->closing : &removed);
	pthread_mutex_unlock(&sources->lock);
	discard(sources, removed);
	return cause == SOURCE_RIGHT ? 0 : -EIO;
}

void sources_stalled(struct sources *sources, const struct block_extent *extent, bool over)
{
	source_note_stalled(sources->notes, extent->source, over);
}
