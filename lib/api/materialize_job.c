/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A child (materialize_copy.c) reads the lazy file and its sources; what it has written gets its name here,
 * and then the catalogue knows that the two are one image. Servers that are running know nothing of it;
 * whoever attaches next finds the plain file.
 *
 * The image's row is what is locked (materializing.h), so it gets one before the work begins.
 */
#include "api/materialize_job.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/ioprio.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "api/fork_lazy.h"
#include "api/materialize_copy.h"
#include "api/publish.h"
#include "base/cleanup.h"
#include "base/progress.h"

int materialize_add(struct materialize_jobs *jobs, struct ramet_store *store,
	const struct ramet_materialize_options *options, const char *path, struct ramet_error *err)
{
	struct materialize_job *job = vector_push(jobs);
	if (!job)
		return error_memory(err);
	*job = (struct materialize_job){.store = store,
		.options = options,
		.lazy = strdup(path),
		.base = LAZY_BASE_NONE,
		.output = OUTFILE_NONE,
		.work = MATERIALIZING_WORK_NONE};
	return job->lazy ? 0 : error_memory(err);
}

void materialize_jobs_free(struct materialize_jobs *jobs)
{
	for (size_t i = 0; i < jobs->count; i++) {
		struct materialize_job *job = &jobs->items[i];
		materializing_end(&job->work);
		materializing_free(&job->other);
		outfile_close(&job->output);
		text_free(&job->path);
		store_image_free(&job->image);
		lazy_base_close(&job->base);
		free(job->lazy);
	}
	vector_free(jobs);
}

/* ------------------------------------------------------------------------------------------- */
/* Before.                                                                                      */

static int append_absolute(struct text *path, const char *name, struct ramet_error *err)
{
	if (*name != '/') {
		_cleanup_free_ char *folder = getcwd(NULL, 0);
		if (!folder)
			return error_errno(
				err, errno, "cannot tell the folder that %s is in", name);
		text_format(path, "%s/", folder);
	}
	text_append(path, name);
	return path->failed ? error_memory(err) : 0;
}

static int make_absolute(struct materialize_job *job, struct ramet_error *err)
{
	_cleanup_text_ struct text path = {0};
	int r = append_absolute(&path, job->lazy, err);
	if (r < 0)
		return r;
	free(job->lazy);
	job->lazy = TAKE_PTR(path.data);
	return 0;
}

/* "base.lazy" becomes "base.squashfs". */
static int name_output(struct materialize_job *job, struct ramet_error *err)
{
	static const char ending[] = ".lazy";
	const char *given = job->options->output;
	size_t length = strlen(job->lazy), end = sizeof ending - 1;
	job->beside = !given;
	if (given && job->options->background)
		return append_absolute(&job->path, given, err);
	if (given) {
		text_append(&job->path, given);
	} else {
		if (length > end && strcmp(job->lazy + length - end, ending) == 0)
			length -= end;
		text_append_bytes(&job->path, job->lazy, length);
		text_format(&job->path, ".%s", job->base.format->name);
	}
	return job->path.failed ? error_memory(err) : 0;
}

static int refuse_itself(const struct materialize_job *job, struct ramet_error *err)
{
	struct stat lazy, output;
	if (fstat(job->base.fd, &lazy) == 0 && stat(job->path.data, &output) == 0 &&
		lazy.st_ino == output.st_ino && lazy.st_dev == output.st_dev)
		return error_set(err, EINVAL,
			"%s is the lazy image itself; give the plain one another name",
			job->path.data);
	return 0;
}

/* What is replaced is no fork's base. */
static int refuse_base(const struct materialize_job *job, struct ramet_error *err)
{
	_cleanup_image_ struct store_image there = {0};
	_cleanup_names_ struct store_names forks = {0};
	_cleanup_close_ int fd = -1;
	if (job->store)
		fd = open(job->path.data, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	int r = store_image_find(job->store, fd, job->path.data, &there, err);
	if (r == 0 && there.id)
		r = store_image_forks(job->store, there.id, &forks, err);
	if (r < 0 || !forks.count)
		return r;
	return error_set(err, EBUSY,
		"the fork %s stands on %s, which would be replaced; give the image another name",
		forks.items[0], job->path.data);
}

static int find_image(struct materialize_job *job, struct ramet_error *err)
{
	store_image_free(&job->image);
	if (job->store)
		return store_image_find(job->store, job->base.fd, job->lazy, &job->image, err);
	if (fstat(job->base.fd, &job->image.st) < 0)
		return error_errno(err, errno, "cannot look at %s", job->lazy);
	return 0;
}

/* Whether what is asked for is there: said, and all. */
static bool is_there(const struct materialize_job *job)
{
	const char *plain = job->image.plain, *output = job->options->output;
	if (!plain)
		return false;
	_cleanup_free_ char *wanted = output ? realpath(job->path.data, NULL) : NULL;
	return !output || (wanted && strcmp(wanted, plain) == 0);
}

/* Where the filesystem packs what it gets nobody knows how much it will take. */
static int check_room(const struct materialize_job *job, struct ramet_error *err)
{
	struct statfs fs;
	char need[32], has[32];
	if (fstatfs(job->output.dirfd, &fs) < 0 || fs.f_type == BTRFS_SUPER_MAGIC ||
		fs.f_type == 0x2fc12fc1 /* ZFS */ || !fs.f_bsize)
		return 0;
	uint64_t room = (uint64_t)fs.f_bavail, block = (uint64_t)fs.f_bsize;
	if (room >= job->base.content_bytes / block)
		return 0;
	return error_errno(err, ENOSPC,
		"cannot make %s: it needs %s, and its filesystem has %s free", job->path.data,
		text_size(job->base.content_bytes, need), text_size(room * block, has));
}

/* The row to lock. */
static int take_lock(struct materialize_job *job, struct ramet_error *err)
{
	const struct store_image_facts facts = {.format = job->base.format->name, .lazy = true};
	int r = job->image.id ? 0 : store_image_insert(job->store, &job->image, &facts, err);
	if (r < 0)
		return r;
	job->work.state.background = job->options->background;
	r = materializing_begin(job->store, job->image.id, job->lazy, &job->work, &job->other, err);
	job->under_way = r == -EBUSY && job->options->background && job->other.background &&
			 job->other.pid && !job->options->output;
	if (r < 0)
		return job->under_way ? 0 : r;
	/* It may be there since the look before the lock. */
	r = find_image(job, err);
	job->already = r == 0 && is_there(job);
	if (job->already)
		materializing_done(&job->work);
	return r;
}

/* Where the filesystem has no files without names, who opens the output clears away what one before left
 * there: so not without the lock. */
static int open_all(struct materialize_job *job, struct ramet_error *err)
{
	_cleanup_source_words_ struct source_words words = {0};
	int r = source_words_load(&words, job->store, job->image.id, job->options->sources, err);
	if (r == 0)
		r = lazy_base_open_roots(&job->base, &words, job->image.made, err);
	if (r < 0)
		return error_prefix(err, r, "cannot make %s", job->path.data);
	r = job->store ? take_lock(job, err) : 0;
	if (r < 0 || job->already || job->under_way)
		return r;
	r = outfile_open(&job->output, job->path.data, err);
	return r < 0 ? error_prefix(err, r, "cannot make %s", job->path.data)
		     : check_room(job, err);
}

int materialize_prepare(struct materialize_job *job, struct ramet_error *err)
{
	int r = job->options->background ? make_absolute(job, err) : 0;
	if (r == 0)
		r = lazy_base_open(&job->base, job->lazy, err);
	if (r == 0)
		r = find_image(job, err);
	if (r == 0)
		r = name_output(job, err);
	if (r == 0)
		r = refuse_itself(job, err);
	job->already = r == 0 && is_there(job);
	if (r == 0 && !job->already)
		r = refuse_base(job, err);
	return r < 0 || job->already ? r : open_all(job, err);
}

/* ------------------------------------------------------------------------------------------- */
/* The work.                                                                                    */

/* What the operator has of the machine comes first. Where the kernel has no such priorities all have the
 * same. */
static int take_priority(int priority)
{
	int before = (int)syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0);
	syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, priority);
	return before < 0 ? IOPRIO_PRIO_VALUE(IOPRIO_CLASS_NONE, 0) : before;
}

static void report(void *ctx, const struct ramet_progress *progress)
{
	struct materialize_job *job = ctx;
	materializing_advance(&job->work, progress->done, progress->total);
	if (job->options->progress)
		job->options->progress(job->options->progress_ctx, progress);
}

static int run_copy(struct materialize_job *job, struct materialize_copy *copy, const int *fds,
	size_t fd_count, struct ramet_error *err)
{
	const struct lazy_base *base = &job->base;
	const struct work work = {
		.hostile = true,
		.what = base->path,
		.fds = fds,
		.fd_count = fd_count,
		.maps = true,
		.folders = (const char *const *)base->places.items,
		.folder_count = base->places.count,
		.reports = {.progress = report, .progress_ctx = job},
		.answer = copy,
		.answer_size = sizeof *copy,
		.run = materialize_copy,
		.ctx = copy,
	};
	int r = work_run(&work, err);
	job->written.bytes_read = copy->read;
	return r;
}

static int copy_image(struct materialize_job *job, struct ramet_error *err)
{
	struct lazy_base *base = &job->base;
	struct materialize_copy copy = {
		.base = base, .out = job->output.fd, .bandwidth = job->options->bandwidth};
	size_t count = base->fds.count + 2;
	int *fds = calloc(count, sizeof *fds);
	if (!fds)
		return error_memory(err);
	fds[0] = base->fd;
	fds[1] = copy.out;
	for (size_t i = 2; i < count; i++)
		fds[i] = base->fds.items[i - 2];
	int r = run_copy(job, &copy, fds, count, err);
	free(fds);
	return r;
}

/* The child says that it wrote an image. A lazy file that was removed meanwhile says no less than before. */
static int check_written(struct materialize_job *job, struct ramet_error *err)
{
	const struct image_format *format;
	const struct stat *st = &job->image.st;
	struct stat now, other;
	int r = image_identify(job->output.fd, job->path.data, &format, err);
	if (r < 0 || format != job->base.format)
		return error_set(err, EUCLEAN,
			"what %s holds and points to is no %s image; build it anew", job->lazy,
			job->base.format->name);
	bool replaced = stat(job->lazy, &other) == 0 &&
			(other.st_ino != st->st_ino || other.st_dev != st->st_dev);
	if (replaced || fstat(job->base.fd, &now) < 0 || now.st_size != st->st_size ||
		stat_mtime_ns(&now) != stat_mtime_ns(st))
		return error_set(err, ESTALE, "%s was changed while it was read", job->lazy);
	return 0;
}

/* In the store, what no fork stands on is swept away (fork_lazy.h): not between the file's birth and the
 * catalogue's word for it. The lock ends with the folder's fd. */
static int hold_off_sweep(const struct materialize_job *job, struct ramet_error *err)
{
	if (!job->image.owned || flock(job->output.dirfd, LOCK_SH) == 0)
		return 0;
	return error_errno(err, errno, "cannot lock the folder of %s", job->path.data);
}

static int make_plain(struct materialize_job *job, struct ramet_error *err)
{
	int r = copy_image(job, err);
	if (r == 0)
		r = check_written(job, err);
	if (r == 0)
		r = hold_off_sweep(job, err);
	if (r < 0)
		return error_prefix(err, r, "cannot make %s", job->path.data);
	if (job->options->progress) {
		const struct ramet_progress progress = {"sync", 0, 0};
		job->options->progress(job->options->progress_ctx, &progress);
	}
	job->written.image_bytes = job->base.image_bytes;
	return publish_image(&job->output, &job->written, err);
}

/* From now on the two are one image. */
static int note_plain(struct materialize_job *job, struct ramet_error *err)
{
	struct ramet_store *store = job->store;
	struct store_image *image = &job->image;
	_cleanup_layers_ struct store_layers parents = {0};
	_cleanup_image_ struct store_image plain = {0};
	int64_t below[RAMET_CHAIN_MAX];
	struct store_image_facts facts = {.format = job->base.format->name};
	int r = store_image_parents(store, image->id, &parents, err);
	if (r == 0)
		r = store_image_find(store, job->output.fd, job->path.data, &plain, err);
	if (r < 0)
		return r;
	facts.owned = image->owned && job->beside;
	facts.digest = job->written.digest;
	facts.process = image->process;
	facts.read_only_paths = image->read_only_paths;
	facts.parents = below;
	for (; facts.parent_count < MIN(parents.count, (size_t)RAMET_CHAIN_MAX);
		facts.parent_count++)
		below[facts.parent_count] = parents.items[facts.parent_count].image;
	r = store_image_insert(store, &plain, &facts, err);
	return r < 0 ? r : store_image_set_materialized(store, image->id, plain.id, err);
}

int materialize_make(struct materialize_job *job, struct ramet_error *err)
{
	double start = clock_seconds();
	struct ramet_error failure = {0};
	materializing_note(&job->work, "begins %s", job->path.data);
	int before = take_priority(IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0));
	int r = make_plain(job, &failure);
	take_priority(before);
	if (r == 0 && job->store)
		r = note_plain(job, &failure);
	/* The forks may have gone meanwhile. */
	bool owned = job->image.owned && job->store;
	outfile_close(&job->output);
	if (r == 0)
		materializing_note(&job->work, "made %s", job->path.data);
	if (r == 0)
		materializing_done(&job->work);
	else
		materializing_fail(&job->work, &failure);
	if (owned)
		fork_lazy_sweep(job->store);
	job->seconds = clock_seconds() - start;
	return r < 0 ? error_set(err, -r, "%s", failure.message) : 0;
}
