/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lazy image becomes a plain one. A child (materialize_copy.c) reads the lazy file and its sources; what
 * it has written gets its name here, and then the catalogue knows that the two are one image. Servers
 * that are running know nothing of it; whoever attaches next finds the plain file.
 */
#include <errno.h>
#include <linux/ioprio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "api/materialize_copy.h"
#include "api/publish.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/progress.h"
#include "store/images.h"

struct materialize {
	struct ramet_store *store; /* may be NULL */
	const struct ramet_materialize_options *options;
	struct lazy_base base;
	struct store_image image; /* the lazy file's row; id 0: none */
	bool beside;              /* the output's name was not given */
	struct text path;         /* of the output */
	struct outfile output;
	struct ramet_build_result written;
};

static void release(struct materialize *materialize)
{
	lazy_base_close(&materialize->base);
	store_image_free(&materialize->image);
	text_free(&materialize->path);
	outfile_close(&materialize->output);
}

/* "base.lazy" becomes "base.squashfs". */
static int name_output(struct materialize *materialize, struct ramet_error *err)
{
	static const char ending[] = ".lazy";
	const char *given = materialize->options->output, *lazy = materialize->base.path;
	size_t length = strlen(lazy), end = sizeof ending - 1;
	materialize->beside = !given;
	if (given) {
		text_append(&materialize->path, given);
	} else {
		if (length > end && strcmp(lazy + length - end, ending) == 0)
			length -= end;
		text_append_bytes(&materialize->path, lazy, length);
		text_format(&materialize->path, ".%s", materialize->base.format->name);
	}
	return materialize->path.failed ? error_memory(err) : 0;
}

static int refuse_itself(const struct materialize *materialize, struct ramet_error *err)
{
	struct stat lazy, output;
	if (fstat(materialize->base.fd, &lazy) == 0 && stat(materialize->path.data, &output) == 0 &&
		lazy.st_ino == output.st_ino && lazy.st_dev == output.st_dev)
		return error_set(err, EINVAL,
			"%s is the lazy image itself; give the plain one another name",
			materialize->path.data);
	return 0;
}

/* What the operator has of the machine comes first. Where the kernel has no such priorities all have the
 * same. */
static int take_priority(int priority)
{
	int before = (int)syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0);
	syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, priority);
	return before < 0 ? IOPRIO_PRIO_VALUE(IOPRIO_CLASS_NONE, 0) : before;
}

static int copy_image(struct materialize *materialize, struct ramet_error *err)
{
	const struct ramet_materialize_options *options = materialize->options;
	struct lazy_base *base = &materialize->base;
	int r = lazy_base_open_roots(base, options->sources, materialize->image.made, err);
	if (r < 0)
		return r;
	struct materialize_copy copy = {
		.base = base,
		.out = materialize->output.fd,
		.bandwidth = options->bandwidth,
	};
	VECTOR(int) fds = {0};
	VECTOR(const char *) folders = {0};
	for (size_t i = 0; i < base->roots.count + 2 && r == 0; i++) {
		int *fd = vector_push(&fds);
		const char **folder = i >= 2 ? vector_push(&folders) : NULL;
		if (!fd || (i >= 2 && !folder)) {
			r = error_memory(err);
			break;
		}
		*fd = i == 0 ? base->fd : i == 1 ? copy.out : base->fds.items[i - 2];
		if (folder)
			*folder = base->places.items[i - 2];
	}
	const struct work work = {
		.hostile = true,
		.what = base->path,
		.fds = fds.items,
		.fd_count = fds.count,
		.maps = true,
		.folders = folders.items,
		.folder_count = folders.count,
		.reports = {.progress = options->progress, .progress_ctx = options->progress_ctx},
		.answer = &copy,
		.answer_size = sizeof copy,
		.run = materialize_copy,
		.ctx = &copy,
	};
	if (r == 0)
		r = work_run(&work, err);
	vector_free(&fds);
	vector_free(&folders);
	materialize->written.bytes_read = copy.read;
	return r;
}

/* The child says that it wrote an image. */
static int check_written(struct materialize *materialize, struct ramet_error *err)
{
	const struct image_format *format;
	struct stat now;
	int r = image_identify(materialize->output.fd, materialize->path.data, &format, err);
	if (r < 0 || format != materialize->base.format)
		return error_set(err, EUCLEAN,
			"what %s holds and points to is no %s image; build it anew",
			materialize->base.path, materialize->base.format->name);
	if (fstat(materialize->base.fd, &now) < 0 || now.st_size != materialize->image.st.st_size ||
		stat_mtime_ns(&now) != stat_mtime_ns(&materialize->image.st))
		return error_set(
			err, ESTALE, "%s was changed while it was read", materialize->base.path);
	return 0;
}

/* In the store, what no fork stands on is swept away (fork_lazy.h): not between the file's birth and the
 * catalogue's word for it. The lock ends with the folder's fd. */
static int hold_off_sweep(const struct materialize *materialize, struct ramet_error *err)
{
	if (!materialize->image.owned || flock(materialize->output.dirfd, LOCK_SH) == 0)
		return 0;
	return error_errno(err, errno, "cannot lock the folder of %s", materialize->path.data);
}

static int make_plain(struct materialize *materialize, struct ramet_error *err)
{
	int r = outfile_open(&materialize->output, materialize->path.data, err);
	if (r == 0)
		r = copy_image(materialize, err);
	if (r == 0)
		r = check_written(materialize, err);
	if (r == 0)
		r = hold_off_sweep(materialize, err);
	if (r < 0)
		return error_prefix(err, r, "cannot make %s", materialize->path.data);
	if (materialize->options->progress) {
		const struct ramet_progress progress = {"sync", 0, 0};
		materialize->options->progress(materialize->options->progress_ctx, &progress);
	}
	materialize->written.image_bytes = materialize->base.image_bytes;
	return publish_image(&materialize->output, &materialize->written, err);
}

/* From now on the two are one image. */
static int note_plain(struct materialize *materialize, struct ramet_error *err)
{
	struct ramet_store *store = materialize->store;
	struct store_image *image = &materialize->image;
	_cleanup_layers_ struct store_layers parents = {0};
	_cleanup_image_ struct store_image plain = {0};
	int64_t below[RAMET_CHAIN_MAX];
	struct store_image_facts facts = {.format = materialize->base.format->name, .lazy = true};
	int r = image->id ? 0 : store_image_insert(store, image, &facts, err);
	if (r == 0)
		r = store_image_parents(store, image->id, &parents, err);
	if (r == 0)
		r = store_image_find(
			store, materialize->output.fd, materialize->path.data, &plain, err);
	if (r < 0)
		return r;
	facts.lazy = false;
	facts.owned = image->owned && materialize->beside;
	facts.digest = materialize->written.digest;
	facts.process = image->process;
	facts.read_only_paths = image->read_only_paths;
	facts.parents = below;
	for (; facts.parent_count < MIN(parents.count, (size_t)RAMET_CHAIN_MAX);
		facts.parent_count++)
		below[facts.parent_count] = parents.items[facts.parent_count].image;
	r = store_image_insert(store, &plain, &facts, err);
	return r < 0 ? r : store_image_set_materialized(store, image->id, plain.id, err);
}

/* Whether what is asked for is there: said, and all. */
static bool is_there(const struct materialize *materialize)
{
	const char *plain = materialize->image.plain, *output = materialize->options->output;
	if (!plain)
		return false;
	_cleanup_free_ char *wanted = output ? realpath(output, NULL) : NULL;
	return !output || (wanted && strcmp(wanted, plain) == 0);
}

static void tell(const struct materialize *materialize, bool already, double seconds)
{
	const struct ramet_materialized image = {
		.lazy = materialize->base.path,
		.image = already ? materialize->image.plain : materialize->path.data,
		.format = materialize->base.format->name,
		.already = already,
		.image_bytes = materialize->base.image_bytes,
		.content_bytes = materialize->written.bytes_read,
		.bytes_written = materialize->written.bytes_written,
		.seconds = seconds,
		.digest = already ? "" : materialize->written.digest,
	};
	if (materialize->options->done)
		materialize->options->done(materialize->options->done_ctx, &image);
}

static int materialize_file(struct ramet_store *store, const char *path,
	const struct ramet_materialize_options *options, struct ramet_error *err)
{
	double start = clock_seconds();
	__attribute__((cleanup(release))) struct materialize materialize = {
		.store = store, .options = options, .base = LAZY_BASE_NONE, .output = OUTFILE_NONE};
	int r = lazy_base_open(&materialize.base, path, err);
	if (r == 0 && store)
		r = store_image_find(store, materialize.base.fd, path, &materialize.image, err);
	else if (r == 0 && fstat(materialize.base.fd, &materialize.image.st) < 0)
		r = error_errno(err, errno, "cannot look at %s", path);
	if (r == 0)
		r = name_output(&materialize, err);
	if (r == 0)
		r = refuse_itself(&materialize, err);
	if (r < 0)
		return r;
	bool already = is_there(&materialize);
	if (!already) {
		int before = take_priority(IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0));
		r = make_plain(&materialize, err);
		take_priority(before);
	}
	if (r == 0 && !already && store)
		r = note_plain(&materialize, err);
	if (r == 0)
		tell(&materialize, already, clock_seconds() - start);
	return r;
}

/* All lazy images that a fork stands on. */
static int materialize_fork(struct ramet_store *store, const struct store_fork *fork,
	const struct ramet_materialize_options *options, struct ramet_error *err)
{
	size_t lazy = fork->base_lazy;
	for (size_t i = 0; i < fork->layers.count; i++)
		lazy += fork->layers.items[i].lazy;
	if (!lazy)
		return error_set(err, EINVAL,
			"the fork %s stands on no lazy image: there is nothing to materialize",
			fork->name);
	if (lazy > 1 && options->output)
		return error_set(err, EINVAL,
			"the fork %s stands on %zu lazy images: name the one that is meant by its "
			"file",
			fork->name, lazy);
	int r = fork->base_lazy ? materialize_file(store, fork->base, options, err) : 0;
	for (size_t i = 0; i < fork->layers.count && r == 0; i++)
		if (fork->layers.items[i].lazy)
			r = materialize_file(store, fork->layers.items[i].path, options, err);
	return r;
}

int ramet_materialize(struct ramet_store *store, const struct ramet_materialize_options *options,
	struct ramet_error *err)
{
	_cleanup_fork_ struct store_fork fork = {0};
	if (!store || strchr(options->name, '/'))
		return materialize_file(store, options->name, options, err);
	struct ramet_error none = {0};
	int r = store_fork_find(store, options->name, &fork, &none);
	if (r == 0)
		return materialize_fork(store, &fork, options, err);
	if (r != -ENOENT) {
		if (err)
			*err = none;
		return r;
	}
	struct stat st;
	if (stat(options->name, &st) < 0)
		return error_set(err, ENOENT, "there is neither a fork nor a lazy image called %s",
			options->name);
	return materialize_file(store, options->name, options, err);
}
