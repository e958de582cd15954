/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reel is read with pread(), so that any number of feeds of one file live beside each other, and
 * the position of a standard input that was handed in stays where it was.
 */
#include "source/reel.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "source/compressed.h"
#include "source/source.h"

#define PIECE ((size_t)256 * 1024)

int reel_of_file(struct reel *reel, int fd, const char *name, struct ramet_error *err)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return error_errno(err, errno, "cannot look at %s", name);
	off_t length = st.st_size;
	if (S_ISBLK(st.st_mode))
		length = lseek(fd, 0, SEEK_END);
	else if (!S_ISREG(st.st_mode))
		return error_set(err, ESPIPE, "%s is not a file, and cannot be read twice", name);
	if (length < 0)
		return error_errno(err, errno, "cannot look at %s", name);
	*reel = (struct reel){
		.name = name, .fd = fd, .length = (uint64_t)length, .written = st.st_mtim};
	return 0;
}

struct reel reel_part(const struct reel *of, const char *name, uint64_t offset, uint64_t length)
{
	struct reel part = *of;
	part.name = name;
	part.offset += MIN(offset, of->length);
	part.length = MIN(length, of->length - MIN(offset, of->length));
	return part;
}

struct reel reel_part_unpacked(
	const struct reel *of, const char *name, uint64_t offset, uint64_t length)
{
	return (struct reel){
		.name = name, .fd = -1, .inside = of, .offset = offset, .length = length};
}

/* ------------------------------------------------------------------------------------------- */

struct reel_feed {
	struct feed feed;
	struct reel reel;
	uint64_t at;
	struct feed *below; /* of what is inside a compression */
	const char *rest;   /* of the piece that below gave last */
	size_t rest_length;
	char buffer[];
};

static int truncated(const struct reel *reel, struct ramet_error *err)
{
	return error_set(err, ESTALE, "%s became shorter while it was read", reel->name);
}

static int file_next(struct feed *feed, const void **bytes, size_t *length, struct ramet_error *err)
{
	struct reel_feed *file = (struct reel_feed *)feed;
	size_t wanted = MIN(file->reel.length - file->at, PIECE);
	ssize_t n = pread_full(file->reel.fd, file->buffer, wanted, file->reel.offset + file->at);
	if (n < 0)
		return error_errno(err, (int)-n, "cannot read %s", file->reel.name);
	if ((size_t)n < wanted)
		return truncated(&file->reel, err);
	file->at += wanted;
	*bytes = file->buffer;
	*length = wanted;
	return 0;
}

static uint64_t file_skip(struct feed *feed, uint64_t length)
{
	struct reel_feed *file = (struct reel_feed *)feed;
	length = MIN(length, file->reel.length - file->at);
	file->at += length;
	return length;
}

/* The next piece of what is inside, without what lies before the part. */
static int inside_next(
	struct feed *feed, const void **bytes, size_t *length, struct ramet_error *err)
{
	struct reel_feed *part = (struct reel_feed *)feed;
	uint64_t end = part->reel.offset + part->reel.length;
	*length = 0;
	while (part->at < end && *length == 0) {
		if (!part->rest_length) {
			const void *piece;
			int r = feed_next(part->below, &piece, &part->rest_length, err);
			if (r < 0)
				return r;
			if (!part->rest_length)
				return truncated(&part->reel, err);
			part->rest = piece;
		}
		bool before = part->at < part->reel.offset;
		uint64_t room = (before ? part->reel.offset : end) - part->at;
		size_t taken = (size_t)MIN(room, part->rest_length);
		if (!before) {
			*bytes = part->rest;
			*length = taken;
		}
		part->at += taken;
		part->rest += taken;
		part->rest_length -= taken;
	}
	return 0;
}

static void reel_feed_close(struct feed *feed)
{
	struct reel_feed *own = (struct reel_feed *)feed;
	feed_close(own->below);
	free(own);
}

static int feed_of_inside(const struct reel *reel, const struct archive_library *lib,
	struct feed **out, struct ramet_error *err)
{
	struct feed *below = NULL;
	uint64_t end;
	if (__builtin_add_overflow(reel->offset, reel->length, &end))
		return error_set(err, EUCLEAN, "%s ends beyond what there can be", reel->name);
	int r = reel_feed(reel->inside, lib, &below, err);
	if (r == 0)
		r = feed_unpack(&below, reel->inside->name, lib, NULL, err);
	if (r < 0)
		return r;
	struct reel_feed *part = malloc(sizeof *part);
	if (!part) {
		feed_close(below);
		return error_memory(err);
	}
	*part = (struct reel_feed){
		.feed = {inside_next, NULL, reel_feed_close}, .reel = *reel, .below = below};
	*out = &part->feed;
	return 0;
}

int reel_feed(const struct reel *reel, const struct archive_library *lib, struct feed **out,
	struct ramet_error *err)
{
	if (reel->inside)
		return feed_of_inside(reel, lib, out, err);
	struct reel_feed *file = malloc(sizeof *file + PIECE);
	if (!file)
		return error_memory(err);
	*file = (struct reel_feed){.feed = {file_next, file_skip, reel_feed_close}, .reel = *reel};
	*out = &file->feed;
	return 0;
}

int reel_verify(const struct reel *reel, struct ramet_error *err)
{
	while (reel->inside)
		reel = reel->inside;
	struct stat st;
	if (fstat(reel->fd, &st) < 0)
		return error_errno(err, errno, "cannot look at %s", reel->name);
	if (st.st_mtim.tv_sec == reel->written.tv_sec &&
		st.st_mtim.tv_nsec == reel->written.tv_nsec)
		return 0;
	return error_set(err, ESTALE,
		"%s was written to while the image was built; build from a file that stays as it is",
		reel->name);
}

/* ------------------------------------------------------------------------------------------- */

static int copy_all(int from, int to, const char *name, struct ramet_error *err)
{
	_cleanup_free_ char *buffer = malloc(PIECE);
	if (!buffer)
		return error_memory(err);
	for (;;) {
		ssize_t n = read(from, buffer, PIECE);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_errno(err, errno, "cannot read %s", name);
		if (n == 0)
			return 0;
		int r = write_full(to, buffer, (size_t)n);
		if (r < 0)
			return error_errno(err, -r, "cannot keep %s beside the image", name);
	}
}

/* Keep what comes from a pipe, so that it can be read twice. */
static int spool(
	int *fd, const char *name, const struct source_request *request, struct ramet_error *err)
{
	if (request->spool_dirfd < 0)
		return error_set(err, ESPIPE, "%s cannot be read twice; give a file", name);
	_cleanup_close_ int kept = openat(
		request->spool_dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (kept < 0)
		return error_errno(err, errno,
			"cannot keep %s, which can be read only once, beside the image; give a file",
			name);
	int r = copy_all(*fd, kept, name, err);
	if (r < 0)
		return r;
	if (request->note) {
		char sentence[512];
		snprintf(sentence, sizeof sentence,
			"%s was kept in a nameless file beside the image, for it is read twice",
			name);
		request->note(request->note_ctx, sentence);
	}
	close(*fd);
	*fd = TAKE_FD(kept);
	return 0;
}

int reel_open(struct reel *reel, const char *place, const struct source_request *request, int *out,
	struct ramet_error *err)
{
	bool input = strcmp(place, "-") == 0;
	const char *name = input ? "standard input" : place;
	int opened = request->opened ? *request->opened : input ? STDIN_FILENO : -1;
	_cleanup_close_ int fd = opened >= 0 ? fcntl(opened, F_DUPFD_CLOEXEC, 3)
					     : open(place, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_errno(err, errno, "cannot open %s", name);
	if (S_ISDIR(st.st_mode))
		return error_set(err, EISDIR, "%s is a folder, not an archive", name);
	/* Who read the beginning of the standard input has taken it. */
	bool whole = (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) &&
		     !(input && !request->opened && lseek(fd, 0, SEEK_CUR) > 0);
	int r = whole ? 0 : spool(&fd, name, request, err);
	if (r == 0)
		r = reel_of_file(reel, fd, name, err);
	if (r == 0)
		*out = TAKE_FD(fd);
	return r;
}
