/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A question is a place and a length; the answer a code, and the bytes or a sentence. A source file
 * stays open until another one is asked for, and is looked at again after each read.
 */
#include "image/lazy_feed.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "image/lazy_content.h"

#define PIECE ((size_t)64 * 1024) /* bytes that an answer has at most */

struct question {
	uint64_t place, length;
};
struct answer {
	int32_t code;    /* a negative errno: the sentence of length bytes follows */
	uint32_t length; /* 0: the bytes that were asked for */
};

struct lazy_feed {
	struct lazy *lazy;
	const char *path;
	bool believed;
	int fd, metadata;
	int *roots;
	int here, there; /* the socket's ends */
	pthread_t thread;
	bool started;
	sem_t listens; /* the thread has begun */
	/* The thread's. */
	int file;
	uint32_t index; /* of file */
	char buffer[PIECE];
};

static int copy_metadata(struct lazy_feed *feed, const struct lazy_extent *extent)
{
	int r = 0;
	for (uint64_t done = 0; done < extent->length && r == 0; done += PIECE) {
		size_t length = MIN(extent->length - done, PIECE);
		ssize_t n = pread_full(feed->fd, feed->buffer, length, extent->offset + done);
		if (n < 0 || (size_t)n < length)
			return n < 0 ? (int)n : -EUCLEAN;
		r = pwrite_full(feed->metadata, feed->buffer, length, extent->place + done);
	}
	return r;
}

static int make_metadata(struct lazy_feed *feed)
{
	struct lazy_facts facts;
	lazy_describe(feed->lazy, &facts);
	feed->metadata = memfd_create("ramet-metadata", MFD_CLOEXEC);
	if (feed->metadata < 0 || ftruncate(feed->metadata, (off_t)facts.image_bytes) < 0)
		return -errno;
	int r = 0;
	for (uint64_t i = 0; i < facts.extents && r == 0; i++) {
		struct lazy_extent extent;
		lazy_extent(feed->lazy, i, &extent);
		if (extent.file == LAZY_METADATA)
			r = copy_metadata(feed, &extent);
	}
	return r;
}

/* ------------------------------------------------------------------------------------------- */
/* The thread.                                                                                  */

static int select_file(struct lazy_feed *feed, uint32_t index, struct ramet_error *err)
{
	if (feed->file >= 0 && feed->index == index)
		return 0;
	cleanup_close(&feed->file);
	feed->file = lazy_content_open(feed->lazy, feed->roots, index, err);
	feed->index = index;
	return feed->file < 0 ? feed->file : 0;
}

static int read_content(struct lazy_feed *feed, const struct lazy_extent *extent, uint64_t within,
	size_t length, char *buffer, struct ramet_error *err)
{
	if (!feed->believed)
		return error_set(err, EPERM,
			"%s was not written by this store, so the folders that it names are not read; "
			"build it here anew",
			feed->path);
	int r = select_file(feed, extent->file, err);
	if (r < 0)
		return r;
	ssize_t n = pread_full(feed->file, buffer, length, extent->offset + within);
	if (n < 0)
		return error_errno(err, (int)-n, "cannot read a source file of %s", feed->path);
	r = lazy_content_check(feed->lazy, extent->file, feed->file, err);
	if (r == 0 && (size_t)n < length)
		r = error_set(err, EIO, "a source file of %s ended early", feed->path);
	if (r < 0)
		cleanup_close(&feed->file), feed->file = -1;
	return r;
}

/* The bytes of one extent, or zeros up to the next one; *length is how many. */
static int read_extent(struct lazy_feed *feed, uint64_t place, char *buffer, size_t *length,
	struct ramet_error *err)
{
	struct lazy_facts facts;
	struct lazy_extent extent = {.place = UINT64_MAX};
	lazy_describe(feed->lazy, &facts);
	uint64_t index = lazy_find(feed->lazy, place);
	if (index < facts.extents)
		lazy_extent(feed->lazy, index, &extent);
	if (extent.place > place) {
		*length = MIN(*length, extent.place - place);
		memset(buffer, 0, *length);
		return 0;
	}
	uint64_t within = place - extent.place;
	*length = MIN(*length, extent.length - within);
	if (extent.file != LAZY_METADATA)
		return read_content(feed, &extent, within, *length, buffer, err);
	ssize_t n = pread_full(feed->metadata, buffer, *length, place);
	return n == (ssize_t)*length ? 0 : error_set(err, EIO, "cannot read %s", feed->path);
}

static int read_image(
	struct lazy_feed *feed, const struct question *question, struct ramet_error *err)
{
	struct lazy_facts facts;
	lazy_describe(feed->lazy, &facts);
	if (question->length > PIECE ||
		!range_within(question->place, question->length, facts.image_bytes))
		return error_set(err, EINVAL, "%s has no such bytes", feed->path);
	int r = 0;
	for (size_t done = 0, length; done < question->length && r == 0; done += length) {
		length = question->length - done;
		r = read_extent(feed, question->place + done, feed->buffer + done, &length, err);
	}
	return r;
}

/* Neither a child that ended nor one that listens no more is a signal to us. */
static bool tell(int socket, const void *bytes, size_t length)
{
	while (length) {
		ssize_t n = send(socket, bytes, length, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		bytes = (const char *)bytes + n;
		length -= (size_t)n;
	}
	return true;
}

static bool answer(struct lazy_feed *feed, const struct question *question)
{
	struct ramet_error err = {0};
	struct answer head = {.code = read_image(feed, question, &err)};
	if (head.code < 0)
		head.length = (uint32_t)strlen(err.message);
	if (!tell(feed->here, &head, sizeof head))
		return false;
	return head.code < 0 ? tell(feed->here, err.message, head.length)
			     : tell(feed->here, feed->buffer, question->length);
}

static void *feed_run(void *ctx)
{
	struct lazy_feed *feed = ctx;
	struct question question;
	sem_post(&feed->listens);
	while (read_full(feed->here, &question, sizeof question) == (ssize_t)sizeof question &&
		answer(feed, &question))
		;
	return NULL;
}

/* ------------------------------------------------------------------------------------------- */
/* In the child.                                                                                */

static int ask(const struct lazy_feed *feed, uint64_t place, void *buffer, size_t length,
	struct ramet_error *err)
{
	const struct question question = {place, length};
	struct answer head;
	struct ramet_error why = {0};
	if (write_full(feed->there, &question, sizeof question) < 0 ||
		read_full(feed->there, &head, sizeof head) != (ssize_t)sizeof head)
		return error_set(err, EIO, "nobody gives out the content of %s", feed->path);
	if (head.code >= 0)
		return read_full(feed->there, buffer, length) == (ssize_t)length
			       ? 0
			       : error_set(err, EIO, "the content of %s ended early", feed->path);
	size_t said = MIN((size_t)head.length, sizeof why.message - 1);
	if (read_full(feed->there, why.message, said) != (ssize_t)said)
		said = 0;
	why.message[said] = '\0';
	return error_set(err, -head.code, "%s", why.message);
}

int lazy_feed_read(const struct lazy_feed *feed, uint64_t place, void *buffer, size_t length,
	struct ramet_error *err)
{
	int r = 0;
	for (size_t done = 0, piece; done < length && r == 0; done += piece) {
		piece = MIN(length - done, PIECE);
		r = ask(feed, place + done, (char *)buffer + done, piece, err);
	}
	return r;
}

/* ------------------------------------------------------------------------------------------- */

static int start(struct lazy_feed *feed, struct ramet_error *err)
{
	int ends[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return error_errno(err, errno, "cannot make a socket to read %s", feed->path);
	feed->here = ends[0];
	feed->there = ends[1];
	int code = pthread_create(&feed->thread, NULL, feed_run, feed);
	if (code)
		return error_errno(err, code, "cannot start a thread");
	feed->started = true;
	/* The child is forked next. A thread that is being made may hold locks of the allocator (the
	 * sanitizers' does), which would stay locked in the child for ever; one that listens holds none. */
	while (sem_wait(&feed->listens) < 0 && errno == EINTR)
		;
	return 0;
}

int lazy_feed_open(int fd, const char *path, bool believed, const struct lazy_places *places,
	struct lazy_feed **out, struct ramet_error *err)
{
	struct lazy_feed *feed = calloc(1, sizeof *feed);
	if (!feed)
		return error_memory(err);
	feed->fd = fd;
	feed->path = path;
	feed->believed = believed;
	feed->metadata = feed->here = feed->there = feed->file = -1;
	sem_init(&feed->listens, 0, 0);
	int r = lazy_open(fd, path, &feed->lazy, err);
	if (r == 0 && lazy_roots_open(feed->lazy, places, &feed->roots) < 0)
		r = error_memory(err);
	int copied = r == 0 ? make_metadata(feed) : 0;
	if (copied < 0)
		r = error_errno(err, -copied, "cannot read the metadata of %s", path);
	if (r == 0)
		r = start(feed, err);
	if (r < 0)
		lazy_feed_close(feed);
	else
		*out = feed;
	return r;
}

void lazy_feed_close(struct lazy_feed *feed)
{
	if (!feed)
		return;
	if (feed->here >= 0)
		shutdown(feed->here, SHUT_RDWR);
	if (feed->started)
		pthread_join(feed->thread, NULL);
	cleanup_close(&feed->here);
	cleanup_close(&feed->there);
	cleanup_close(&feed->file);
	cleanup_close(&feed->metadata);
	if (feed->lazy)
		lazy_roots_close(feed->lazy, feed->roots);
	lazy_close(feed->lazy);
	sem_destroy(&feed->listens);
	free(feed);
}

const struct lazy *lazy_feed_lazy(const struct lazy_feed *feed)
{
	return feed->lazy;
}

int lazy_feed_metadata(const struct lazy_feed *feed)
{
	return feed->metadata;
}

void lazy_feed_fds(const struct lazy_feed *feed, int fds[static LAZY_FEED_FDS])
{
	fds[0] = feed->metadata;
	fds[1] = feed->there;
}
