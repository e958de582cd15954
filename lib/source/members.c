/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The archive is parsed in a child, which writes what it found into a nameless file in memory: a
 * record for each member, and its strings. What comes back is a stranger's word still: lengths are
 * checked here, and places are cut to the archive by reel_part().
 */
#include "source/members.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/document.h"
#include "base/fd.h"
#include "base/sandbox.h"

#define LINKS_MAX 8
#define BYTES_MAX ((size_t)32 << 20)
#define PATH_MOST 4096

struct record {
	uint64_t offset, size;
	uint32_t name_length, link_length; /* with their NUL; 0: no link */
	uint32_t hard;
};

struct job {
	const struct reel *reel;
	const struct archive_library *lib;
	bool (*wanted)(const char *name);
	int out;
	size_t count, bytes;
	/* The answer. */
	bool packed, foreign;
};

/* Reading a compressed archive of any size to its end. */
static struct sandbox_limits limits_of(const struct reel *reel)
{
	uint64_t seconds = 60 + (reel->length >> 20);
	return (struct sandbox_limits){
		.memory = (size_t)512 << 20, .cpu_seconds = (unsigned)MIN(seconds, 1u << 20)};
}

static int run(
	struct job *job, int (*work)(void *ctx, struct ramet_error *err), struct ramet_error *err)
{
	const struct reel *file = job->reel;
	while (file->inside)
		file = file->inside;
	const struct sandbox_limits limits = limits_of(file);
	const int fds[] = {file->fd, job->out};
	return sandbox_run(
		file->name, &limits, work, job, fds, ARRAY_SIZE(fds), job, sizeof *job, err);
}

static int note_member(void *ctx, const struct stream_member *member, struct ramet_error *err)
{
	struct job *job = ctx;
	if (job->wanted && !job->wanted(member->name)) {
		job->foreign = true;
		return 1;
	}
	if (!member->link && !S_ISREG(member->mode))
		return 0;
	struct record record = {
		.offset = member->offset,
		.size = member->size,
		.name_length = (uint32_t)strnlen(member->name, PATH_MOST) + 1,
		.link_length = member->link ? (uint32_t)strnlen(member->link, PATH_MOST) + 1 : 0,
		.hard = member->link && !S_ISLNK(member->mode),
	};
	job->bytes += sizeof record + record.name_length + record.link_length;
	if (++job->count > MEMBERS_MAX || job->bytes > BYTES_MAX ||
		record.name_length > PATH_MOST || record.link_length > PATH_MOST)
		return error_set(err, E2BIG,
			"%s has more members than an archive of images can have (%d)",
			job->reel->name, MEMBERS_MAX);
	int r = write_full(job->out, &record, sizeof record);
	if (r == 0)
		r = write_full(job->out, member->name, record.name_length);
	if (r == 0 && record.link_length)
		r = write_full(job->out, member->link, record.link_length);
	return r < 0 ? error_errno(err, -r, "cannot list %s", job->reel->name) : 0;
}

static int list_work(void *ctx, struct ramet_error *err)
{
	struct job *job = ctx;
	struct stream *stream;
	int r = stream_new(&stream, job->reel, job->lib, err);
	if (r < 0)
		return r;
	r = stream_list(stream, note_member, job, &job->packed, err);
	stream_free(stream);
	return MIN(r, 0);
}

/* All that the child wrote, with a NUL behind it. */
static int take_back(int fd, size_t most, char **data, size_t *length, struct ramet_error *err)
{
	struct stat st;
	if (fstat(fd, &st) < 0 || st.st_size < 0 || (uint64_t)st.st_size > most)
		return error_set(err, EUCLEAN, "the reader of an archive said too much");
	_cleanup_free_ char *buffer = malloc((size_t)st.st_size + 1);
	if (!buffer)
		return error_memory(err);
	ssize_t n = pread_full(fd, buffer, (size_t)st.st_size, 0);
	if (n < 0)
		return error_errno(err, (int)-n, "cannot hear from the reader of an archive");
	buffer[n] = '\0';
	*length = (size_t)n;
	*data = TAKE_PTR(buffer);
	return 0;
}

static bool take_string(const char **at, const char *end, uint32_t length, const char **string)
{
	*string = *at;
	if (length == 0 || length > (size_t)(end - *at) || (*at)[length - 1])
		return false;
	*at += length;
	return true;
}

static int parse(struct members *members, size_t length, struct ramet_error *err)
{
	const char *at = members->memory, *end = at + length;
	while (at < end) {
		struct record record;
		struct member member = {0};
		bool sound = (size_t)(end - at) >= sizeof record;
		if (sound) {
			memcpy(&record, at, sizeof record);
			at += sizeof record;
			sound = take_string(&at, end, record.name_length, &member.name) &&
				(!record.link_length ||
					take_string(&at, end, record.link_length, &member.link));
		}
		if (!sound)
			return error_set(err, EUCLEAN, "the reader of an archive was confused");
		member.hard = record.hard;
		member.offset = record.offset;
		member.size = record.size;
		struct member *place = vector_push(&members->list);
		if (!place)
			return error_memory(err);
		*place = member;
	}
	return 0;
}

int members_list(struct members *members, const struct reel *reel,
	const struct archive_library *lib, bool (*wanted)(const char *name),
	struct ramet_error *err)
{
	*members = (struct members){0};
	_cleanup_close_ int out = memfd_create("ramet-members", MFD_CLOEXEC);
	if (out < 0)
		return error_errno(err, errno, "cannot list %s", reel->name);
	struct job job = {.reel = reel, .lib = lib, .wanted = wanted, .out = out};
	size_t length;
	int r = run(&job, list_work, err);
	if (r == 0)
		r = take_back(out, BYTES_MAX, &members->memory, &length, err);
	if (r < 0)
		return r;
	members->packed = job.packed;
	members->foreign = job.foreign;
	return parse(members, length, err);
}

void members_free(struct members *members)
{
	vector_free(&members->list);
	free(members->memory);
	members->memory = NULL;
}

/* Put a symlink's target behind its folder: "a/b/../x" becomes "a/x". False: out of the archive. */
static bool resolve(const struct member *member, char path[static PATH_MOST])
{
	char joined[2 * PATH_MOST];
	const char *slash = strrchr(member->name, '/');
	int folder = member->hard || !slash ? 0 : (int)(slash - member->name + 1);
	snprintf(joined, sizeof joined, "%.*s%s", folder, member->name, member->link);
	size_t used = 0;
	for (const char *at = joined; *at;) {
		size_t length = strcspn(at, "/");
		if (length == 2 && memcmp(at, "..", 2) == 0) {
			if (used == 0)
				return false;
			while (used > 0 && path[--used] != '/')
				;
		} else if (length > 0 && !(length == 1 && *at == '.')) {
			if (used + length + 2 > PATH_MOST)
				return false;
			if (used)
				path[used++] = '/';
			memcpy(path + used, at, length);
			used += length;
		}
		at += length + (at[length] == '/');
	}
	path[used] = '\0';
	return used > 0;
}

static const struct member *find_last(const struct members *members, const char *name)
{
	for (size_t i = members->list.count; i-- > 0;)
		if (strcmp(members->list.items[i].name, name) == 0)
			return &members->list.items[i];
	return NULL;
}

const struct member *members_find(const struct members *members, const char *name)
{
	char path[PATH_MOST];
	while (strncmp(name, "./", 2) == 0)
		name += 2;
	const struct member *member = find_last(members, name);
	for (unsigned links = 0; member && member->link; links++) {
		if (links == LINKS_MAX || !resolve(member, path))
			return NULL;
		member = find_last(members, path);
	}
	return member;
}

struct reel members_reel(const struct members *members, const struct member *member,
	const struct reel *archive, const char *name)
{
	return members->packed ? reel_part_unpacked(archive, name, member->offset, member->size)
			       : reel_part(archive, name, member->offset, member->size);
}

static int load_work(void *ctx, struct ramet_error *err)
{
	const struct job *job = ctx;
	_cleanup_free_ char *data = NULL;
	size_t length;
	int r = reel_load(job->reel, job->lib, DOCUMENT_BYTES_MAX, &data, &length, err);
	if (r < 0)
		return r;
	r = write_full(job->out, data, length);
	return r < 0 ? error_errno(err, -r, "cannot read %s", job->reel->name) : 0;
}

int members_load(const struct members *members, const struct member *member,
	const struct reel *reel, const struct archive_library *lib, char **data, size_t *length,
	struct ramet_error *err)
{
	const struct reel part = members_reel(members, member, reel, reel->name);
	if (member->size > DOCUMENT_BYTES_MAX)
		return error_set(err, E2BIG, "%s: %s has %llu bytes; a description has %zu at most",
			reel->name, member->name, (unsigned long long)member->size,
			DOCUMENT_BYTES_MAX);
	_cleanup_close_ int out = memfd_create("ramet-member", MFD_CLOEXEC);
	if (out < 0)
		return error_errno(err, errno, "cannot read %s", reel->name);
	struct job job = {.reel = &part, .lib = lib, .out = out};
	int r = run(&job, load_work, err);
	if (r == 0)
		r = take_back(out, DOCUMENT_BYTES_MAX, data, length, err);
	if (r == 0 && *length != member->size)
		r = error_set(err, EUCLEAN, "%s: %s is cut off", reel->name, member->name);
	return r;
}
