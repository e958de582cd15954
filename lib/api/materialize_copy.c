/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lazy file + sources -> image. The metadata first, in the order of the image; then file after file in
 * the order of the lazy file's table, which is that of the tree: so each file is opened once, and its
 * neighbours are read one after the other.
 *
 * Names are followed from the root's folder on, one folder at a time and through no symlink: nothing
 * outside of the root is ever opened, whatever the lazy file says or somebody does to the folders. Not by
 * source_open(): a sandbox cannot look at what openat2(2) is to open for.
 */
#include "api/materialize_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/progress.h"
#include "image/source_file.h"

#define BUFFER   ((size_t)1024 * 1024)
#define ENTRY(i) (&copying->entries[i])

/* An extent of content: whose, and which. */
struct entry {
	uint32_t file;
	uint64_t index;
};

struct copying {
	struct materialize_copy *copy;
	struct lazy *lazy;
	struct lazy_facts facts;
	struct entry *entries; /* by file, and within each by place */
	uint64_t entry_count;
	char *buffer;
	size_t piece; /* bytes of it that are used at a time */
	struct meter meter;
	struct writeback writeback;
	double start;
	/* The folder that the last file was in. */
	uint32_t folder_root;
	int folder;
	struct text folder_path; /* below the root; with a "/" at its end unless it is empty */
};

static void release(struct copying *copying)
{
	lazy_close(copying->lazy);
	free(copying->entries);
	free(copying->buffer);
	cleanup_close(&copying->folder);
	text_free(&copying->folder_path);
}

/* ------------------------------------------------------------------------------------------- */
/* A source file.                                                                               */

struct source_file {
	uint32_t index;
	struct lazy_file seen; /* what the walk saw of it */
	struct text path;      /* below its root */
	int fd;
};

static void source_file_close(struct source_file *file)
{
	cleanup_close(&file->fd);
	text_free(&file->path);
}

/* Where the host has it, for messages. */
static void name_file(
	const struct copying *copying, const struct source_file *file, struct text *name)
{
	const struct lazy_base *base = copying->copy->base;
	text_format(name, "%s/%s", base->places.items[file->seen.root], file->path.data);
	if (name->failed) {
		text_truncate(name, 0);
		text_append(name, "a source file");
	}
}

static int stale(const struct copying *copying, const struct source_file *file, const char *how,
	struct ramet_error *err)
{
	_cleanup_text_ struct text name = {0};
	name_file(copying, file, &name);
	return error_set(err, ESTALE,
		"%s %s since the lazy image %s was built of it; build the lazy image anew",
		name.failed ? "a source file" : text_disarm(name.data), how,
		copying->copy->base->path);
}

static int file_failed(const struct copying *copying, const struct source_file *file, int code,
	const char *what, struct ramet_error *err)
{
	_cleanup_text_ struct text name = {0};
	const char *how = source_cause_word(source_cause_of(code), file->fd, &file->seen);
	if (how)
		return stale(copying, file, how, err);
	name_file(copying, file, &name);
	return error_errno(err, code, "cannot %s %s", what,
		name.failed ? "a source file" : text_disarm(name.data));
}

/* Whether the file is the one that the walk saw. The filesystem is asked, not its cache. */
static int check_file(
	const struct copying *copying, const struct source_file *file, struct ramet_error *err)
{
	int code = 0;
	enum source_cause cause = source_compare(file->fd, true, &file->seen, &code);
	if (cause == SOURCE_RIGHT)
		return 0;
	const char *how = source_cause_word(cause, file->fd, &file->seen);
	return how ? stale(copying, file, how, err)
		   : file_failed(copying, file, code, "look at", err);
}

/* The folder of the first length bytes of path, each name with its slash: copying->folder. */
static int enter_folder(struct copying *copying, uint32_t root, const char *path, size_t length)
{
	if (copying->folder >= 0 && copying->folder_root == root &&
		copying->folder_path.length == length &&
		(!length || memcmp(copying->folder_path.data, path, length) == 0))
		return 0;
	const int flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	_cleanup_close_ int folder = openat(copying->copy->base->fds.items[root], ".", flags);
	for (size_t at = 0, end; folder >= 0 && at < length; at = end + 1) {
		end = at + (size_t)((char *)memchr(path + at, '/', length - at) - (path + at));
		char name[NAME_MAX + 1];
		if (end - at > NAME_MAX)
			return -ENOENT;
		memcpy(name, path + at, end - at);
		name[end - at] = '\0';
		int next = openat(folder, name, flags);
		cleanup_close(&folder);
		folder = next;
	}
	if (folder < 0)
		return -errno;
	cleanup_close(&copying->folder);
	copying->folder = TAKE_FD(folder);
	copying->folder_root = root;
	text_truncate(&copying->folder_path, 0);
	text_append_bytes(&copying->folder_path, path, length);
	return copying->folder_path.failed ? -ENOMEM : 0;
}

static int open_file(struct copying *copying, struct source_file *file, struct ramet_error *err)
{
	lazy_file(copying->lazy, file->index, &file->seen);
	int r = lazy_file_path(copying->lazy, file->index, &file->path);
	if (r == -ENOMEM)
		return error_memory(err);
	if (r < 0)
		return error_set(err, EUCLEAN, "%s was changed while it was read",
			copying->copy->base->path);
	const char *slash = strrchr(file->path.data, '/');
	size_t folder = slash ? (size_t)(slash + 1 - file->path.data) : 0;
	r = enter_folder(copying, file->seen.root, file->path.data, folder);
	if (r == -ENOMEM)
		return error_memory(err);
	if (r < 0)
		return file_failed(copying, file, -r, "open", err);
	/* O_NONBLOCK: a fifo put in the file's place must not stop it all. */
	const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY;
	const char *name = file->path.data + folder;
	file->fd = openat(copying->folder, name, flags | O_NOATIME);
	if (file->fd < 0 && errno == EPERM) /* it is not ours */
		file->fd = openat(copying->folder, name, flags);
	if (file->fd < 0)
		return file_failed(copying, file, errno, "open", err);
	source_settle(&file->seen);
	return check_file(copying, file, err);
}

/* ------------------------------------------------------------------------------------------- */
/* Bytes.                                                                                       */

static int write_bytes(
	struct copying *copying, size_t length, uint64_t place, struct ramet_error *err)
{
	int r = pwrite_full(copying->copy->out, copying->buffer, length, place);
	if (r < 0)
		return error_errno(err, -r, "cannot write the image");
	writeback_advance(&copying->writeback, place + length);
	return 0;
}

static void keep_pace(const struct copying *copying)
{
	const struct materialize_copy *copy = copying->copy;
	if (!copy->bandwidth)
		return;
	double due = copying->start + (double)copy->read / (double)copy->bandwidth;
	double wait = due - clock_seconds();
	if (wait <= 0)
		return;
	struct timespec time = {
		.tv_sec = (time_t)wait, .tv_nsec = (long)((wait - (double)(time_t)wait) * 1e9)};
	nanosleep(&time, NULL);
}

static int copy_metadata(
	struct copying *copying, const struct lazy_extent *extent, struct ramet_error *err)
{
	const struct lazy_base *base = copying->copy->base;
	int r = 0;
	for (uint64_t done = 0; done < extent->length && r == 0; done += BUFFER) {
		size_t length = MIN(extent->length - done, (uint64_t)BUFFER);
		ssize_t n = pread_full(base->fd, copying->buffer, length, extent->offset + done);
		if (n < 0)
			return error_errno(err, (int)-n, "cannot read %s", base->path);
		if ((size_t)n < length)
			return error_set(
				err, EUCLEAN, "%s became shorter while it was read", base->path);
		r = write_bytes(copying, length, extent->place + done, err);
	}
	return r;
}

static int copy_extent(struct copying *copying, const struct source_file *file,
	const struct lazy_extent *extent, struct ramet_error *err)
{
	struct materialize_copy *copy = copying->copy;
	int r = 0;
	for (uint64_t done = 0; done < extent->length && r == 0; done += copying->piece) {
		size_t length = MIN(extent->length - done, (uint64_t)copying->piece);
		ssize_t n = pread_full(file->fd, copying->buffer, length, extent->offset + done);
		if (n < 0)
			return file_failed(copying, file, (int)-n, "read", err);
		if ((size_t)n < length)
			return stale(copying, file, "became shorter", err);
		copy->read += length;
		r = write_bytes(copying, length, extent->place + done, err);
		meter_advance(&copying->meter, copy->read);
		keep_pace(copying);
	}
	return r;
}

/* The entries from first on that are of one file; *next is the first that is not. */
static int copy_file(
	struct copying *copying, uint64_t first, uint64_t *next, struct ramet_error *err)
{
	__attribute__((cleanup(source_file_close))) struct source_file file = {
		.index = ENTRY(first)->file, .fd = -1};
	int r = open_file(copying, &file, err);
	uint64_t i = first;
	for (; r == 0 && i < copying->entry_count && ENTRY(i)->file == file.index; i++) {
		struct lazy_extent extent;
		lazy_extent(copying->lazy, ENTRY(i)->index, &extent);
		r = copy_extent(copying, &file, &extent, err);
	}
	*next = i;
	return r == 0 ? check_file(copying, &file, err) : r;
}

static int compare_entries(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	if (x->file != y->file)
		return x->file < y->file ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

/* What is metadata is copied at once, the rest is put in order. */
static int take_extents(struct copying *copying, struct ramet_error *err)
{
	bool sorted = true;
	int r = 0;
	copying->entries = calloc(copying->facts.extents + 1, sizeof *copying->entries);
	if (!copying->entries)
		return error_memory(err);
	for (uint64_t i = 0; i < copying->facts.extents && r == 0; i++) {
		struct lazy_extent extent;
		lazy_extent(copying->lazy, i, &extent);
		if (extent.file == LAZY_METADATA) {
			r = copy_metadata(copying, &extent, err);
			continue;
		}
		uint64_t last = copying->entry_count;
		sorted = sorted && (!last || ENTRY(last - 1)->file <= extent.file);
		*ENTRY(copying->entry_count++) = (struct entry){extent.file, i};
	}
	if (!sorted)
		qsort(copying->entries, copying->entry_count, sizeof *copying->entries,
			compare_entries);
	return r;
}

static int copy_all(struct copying *copying, struct ramet_error *err)
{
	const struct materialize_copy *copy = copying->copy;
	int r = lazy_open(copy->base->fd, copy->base->path, &copying->lazy, err);
	if (r < 0)
		return r;
	lazy_describe(copying->lazy, &copying->facts);
	copying->meter.total = copying->facts.content_bytes;
	copying->buffer = aligned_alloc(4096, BUFFER);
	if (!copying->buffer)
		return error_memory(err);
	if (ftruncate(copy->out, (off_t)copying->facts.image_bytes) < 0)
		return error_errno(err, errno, "cannot make the image's file so large");
	r = take_extents(copying, err);
	/* Metadata may stand at the image's end: what is written from here on begins before it. */
	copying->writeback.begun = 0;
	copying->start = clock_seconds();
	for (uint64_t i = 0; i < copying->entry_count && r == 0;)
		r = copy_file(copying, i, &i, err);
	return r;
}

int materialize_copy(void *ctx, const struct work_reports *reports, struct ramet_error *err)
{
	struct materialize_copy *copy = ctx;
	__attribute__((cleanup(release))) struct copying copying = {
		.copy = copy,
		/* A tenth of a second's bytes at a time keep a low bandwidth even. */
		.piece = copy->bandwidth
				 ? (size_t)MAX(MIN(copy->bandwidth / 10, (uint64_t)BUFFER), 4096)
				 : BUFFER,
		.meter = {.report = reports->progress,
			.ctx = reports->progress_ctx,
			.step = "write"},
		.writeback = {.fd = copy->out},
		.folder = -1,
	};
	copy->read = 0;
	return copy_all(&copying, err);
}
