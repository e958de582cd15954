/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source -> tree -> image. The output is opened first, without a name: so the walk can tell when
 * it is about to take in the folder it writes to, and a name appears only once all is on disk.
 *
 * Walk and writing are one piece of work (work.h), which a hostile source puts into a sandbox. What
 * is opened before it and published after it belongs to this process.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/build.h"
#include "api/build_lazy.h"
#include "api/delta.h"
#include "api/publish.h"
#include "api/sources.h"
#include "api/work.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/progress.h"
#include "base/text.h"
#include "image/image.h"
#include "init/names.h"
#include "init/program.h"
#include "source/source.h"
#include "store/store.h"

struct build {
	struct ramet_store *store; /* may be NULL */
	const struct ramet_build_options *options;
	struct ramet_build_result *result;
	const struct image_format *format;
	struct outfile output;
	int spool;                       /* of a lazy image */
	uid_t user;                      /* who makes it; a sandbox does not tell */
	VECTOR(struct source *) sources; /* each lies on the one before */
	struct tree *tree;
	struct stat folder; /* the output's */
	struct delta delta;
	struct text read_only; /* paths in the image, a line each */
	struct text process;   /* the default command that the source names (process.h) */
	const struct work_reports *reports;
};

static void build_release(struct build *build)
{
	outfile_close(&build->output);
	cleanup_close(&build->spool);
	tree_free(build->tree);
	for (size_t i = 0; i < build->sources.count; i++)
		source_close(build->sources.items[i]);
	vector_free(&build->sources);
	delta_close(&build->delta);
	text_free(&build->read_only);
	text_free(&build->process);
}

static int choose_format(struct build *build, struct ramet_error *err)
{
	const char *name = build->options->format ? build->options->format : "squashfs";
	build->format = image_format_find(name);
	if (!build->format)
		return error_set(err, EINVAL, "there is no image format '%s'", name);
	return 0;
}

static int graft(struct build *build, const struct ramet_bind *bind,
	const struct source_options *options, struct ramet_error *err)
{
	_cleanup_free_ char *resolved = NULL;
	int r = tree_graft(build->tree, bind->source, bind->target, options, &resolved, err);
	if (r < 0 || !bind->read_only)
		return r;
	if (strchr(resolved, '\n'))
		return error_set(err, EINVAL,
			"cannot bind %s read-only: its name in the image has a line break in it",
			bind->source);
	text_append(&build->read_only, resolved);
	text_append(&build->read_only, "\n");
	return build->read_only.failed ? error_memory(err) : 0;
}

/* What came with a source: the user's own binds lie above. */
static int graft_source_binds(struct build *build, const struct source *source,
	const struct source_options *options, struct ramet_error *err)
{
	int r = 0;
	if (source->read_only)
		text_append(&build->read_only, "/\n");
	if (source->read_only_paths)
		text_append(&build->read_only, source->read_only_paths);
	for (size_t i = 0; i < source->binds.count && r == 0; i++) {
		const struct source_bind *bind = &source->binds.items[i];
		r = graft(build, &(struct ramet_bind){bind->source, bind->target, bind->read_only},
			options, err);
	}
	return r == 0 && build->read_only.failed ? error_memory(err) : r;
}

/* The default command that the topmost source with one names. */
static const char *find_process(const struct build *build)
{
	for (size_t i = build->sources.count; i-- > 0;)
		if (build->sources.items[i]->process)
			return build->sources.items[i]->process;
	return NULL;
}

static int walk(struct build *build, struct ramet_error *err)
{
	const struct ramet_build_options *options = build->options;
	struct meter meter = {.report = build->reports->progress,
		.ctx = build->reports->progress_ctx,
		.step = "walk"};
	uint64_t walked = 0;
	const struct source_options source = {.avoid = &build->folder,
		.meter = &meter,
		.walked = &walked,
		.note = build->reports->note,
		.note_ctx = build->reports->note_ctx};
	int r = tree_new(&build->tree, err);
	for (size_t i = 0; i < build->sources.count && r == 0; i++) {
		struct source *from = build->sources.items[i];
		r = from->ops->walk(from, build->tree, &source, err);
	}
	for (size_t i = 0; i < build->sources.count && r == 0; i++)
		r = graft_source_binds(build, build->sources.items[i], &source, err);
	const char *process = find_process(build);
	if (r == 0 && process)
		text_append(&build->process, process);
	for (size_t i = 0; i < options->bind_count && r == 0; i++)
		r = graft(build, &options->binds[i], &source, err);
	if (r == 0 && options->init)
		r = tree_add_file(build->tree, INIT_IN_IMAGE_PATH, 0755, init_program,
			init_program_size, err);
	return r < 0 ? r : tree_finish(build->tree, err);
}

static int open_source(struct build *build, const char *word, bool layer, struct ramet_error *err)
{
	const struct ramet_build_options *options = build->options;
	const struct source_request request = {
		.layer = layer,
		.platform = options->platform,
		.spool_dirfd = build->output.dirfd,
		.store = build->store,
		.note = options->note,
		.note_ctx = options->note_ctx,
	};
	struct source **source = vector_push(&build->sources);
	if (!source)
		return error_memory(err);
	*source = NULL;
	return sources_open(word, &request, source, err);
}

static int open_sources(struct build *build, struct ramet_error *err)
{
	const struct ramet_build_options *options = build->options;
	if (!options->source && !options->layer_count)
		return error_set(err, EINVAL, "there is neither a source nor a layer");
	int r = options->source ? open_source(build, options->source, false, err) : 0;
	for (size_t i = 0; i < options->layer_count && r == 0; i++)
		r = open_source(build, options->layers[i], true, err);
	return r;
}

/* Whether the image holds what one folder of the host holds, and nothing else. */
static bool is_plain_directory(const struct build *build)
{
	const struct ramet_build_options *options = build->options;
	return build->sources.count == 1 && !options->layer_count && !options->bind_count &&
	       !options->init && !options->parent && !build->sources.items[0]->binds.count &&
	       strcmp(build->sources.items[0]->ops->name, "directory") == 0;
}

static int write_image(struct build *build, struct ramet_error *err)
{
	const struct ramet_build_options *options = build->options;
	const struct image_options image = {
		.compression = options->compression,
		.size = options->size,
		.plain_directory = is_plain_directory(build),
		.dedupe = options->dedupe,
		.progress = build->reports->progress,
		.progress_ctx = build->reports->progress_ctx,
	};
	struct image_figures figures;
	int r = options->lazy ? build_lazy_write(build->format, build->tree, &image, build->spool,
					build->output.fd, &figures, build->result, err)
			      : build->format->write(
					build->tree, build->output.fd, &image, &figures, err);
	if (r < 0)
		return error_prefix(err, r, "cannot build %s", options->output);
	build->result->bytes_read = figures.bytes_read;
	build->result->image_bytes = figures.image_bytes;
	build->result->omitted_xattrs = figures.omitted_xattrs;
	memcpy(build->result->written_by, figures.written_by, sizeof figures.written_by);
	return 0;
}

static int publish(struct build *build, struct ramet_error *err)
{
	const struct ramet_build_options *options = build->options;
	if (options->progress) {
		const struct ramet_progress progress = {"sync", 0, 0};
		options->progress(options->progress_ctx, &progress);
	}
	int r = publish_image(&build->output, build->result, err);
	if (r == 0 && options->lazy)
		build->result->bytes_written = build->result->lazy_metadata_bytes +
					       build->result->lazy_table_bytes;
	return r;
}

/* What counts from here on is the layer. */
static int keep_changes(struct build *build, struct ramet_error *err)
{
	struct delta *delta = &build->delta;
	struct ramet_build_result *result = build->result;
	if (!delta->wanted)
		return 0;
	int r = delta_read_only(delta, build->tree, &build->read_only, err);
	if (r == 0)
		r = delta_make(delta, build->tree, "the new tree", err);
	if (r < 0)
		return error_prefix(err, r, "cannot build %s", build->options->output);
	result->added = delta->figures.added;
	result->modified = delta->figures.modified;
	result->deleted = delta->figures.deleted;
	result->retyped = delta->figures.retyped;
	result->files_compared = delta->figures.compared;
	result->files_by_time = delta->figures.timed;
	return 0;
}

/* From the opened source to the written image: all that reads what others wrote. */
static int make_image(void *ctx, const struct work_reports *reports, struct ramet_error *err)
{
	struct build *build = ctx;
	struct ramet_build_result *result = build->result;
	double start = clock_seconds();
	build->reports = reports;
	int r = walk(build, err);
	if (r == 0)
		r = keep_changes(build, err);
	if (r < 0)
		return r;
	result->entries = build->tree->entries;
	result->content_bytes = build->tree->content_bytes;
	if (build->options->lazy)
		build_lazy_tell_unreadable(build->tree, build->user, reports);
	double walked = clock_seconds();
	r = write_image(build, err);
	result->walk_seconds += walked - start;
	result->write_seconds = clock_seconds() - walked;
	return r;
}

static int run_work(struct build *build, struct ramet_error *err)
{
	const struct ramet_build_options *options = build->options;
	int fds[CHAIN_FDS + 2] = {build->output.fd, build->spool};
	size_t fd_count = 2 + chain_fds(&build->delta.chain, fds + 2);
	VECTOR(const char *) folders = {0};
	for (size_t i = 0; i < options->bind_count; i++) {
		const char **folder = vector_push(&folders);
		if (!folder) {
			vector_free(&folders);
			return error_memory(err);
		}
		*folder = options->binds[i].source;
	}
	struct text *const texts[] = {&build->read_only, &build->process};
	const struct work work = {
		.sources = build->sources.items,
		.source_count = build->sources.count,
		.hostile = build->delta.wanted,
		.what = options->parent,
		.fds = fds,
		.fd_count = fd_count,
		.folders = folders.items,
		.folder_count = folders.count,
		.reports = {options->progress, options->progress_ctx, options->note,
			options->note_ctx},
		.answer = build->result,
		.answer_size = sizeof *build->result,
		.texts = texts,
		.text_count = ARRAY_SIZE(texts),
		.run = make_image,
		.ctx = build,
	};
	int r = work_run(&work, err);
	if (r == 0 && options->lazy && work_is_hostile(&work))
		r = build_lazy_check_roots(&work, build->output.fd, options->output, err);
	vector_free(&folders);
	return r;
}

static int prepare_lazy(struct build *build, struct ramet_error *err)
{
	int r = build_lazy_check(build->options, err);
	if (r == 0)
		r = build->spool = build_lazy_spool(err);
	return r < 0 ? r : 0;
}

static int build_run(struct build *build, struct ramet_error *err)
{
	struct ramet_build_result *result = build->result;
	double start = clock_seconds();
	int r = choose_format(build, err);
	if (r == 0 && build->options->lazy)
		r = prepare_lazy(build, err);
	if (r == 0)
		r = outfile_open(&build->output, build->options->output, err);
	if (r == 0 && fstat(build->output.dirfd, &build->folder) < 0)
		r = error_errno(
			err, errno, "cannot look at the folder of %s", build->options->output);
	if (r == 0)
		r = open_sources(build, err);
	if (r == 0)
		r = delta_open(&build->delta, build->store, build->options, err);
	result->walk_seconds = clock_seconds() - start;
	if (r == 0)
		r = run_work(build, err);
	double written = clock_seconds();
	if (r == 0)
		r = chain_check_unchanged(&build->delta.chain, "built on", err);
	if (r == 0)
		r = publish(build, err);
	result->sync_seconds = clock_seconds() - written;
	return r;
}

static int note_image(struct build *build, struct ramet_error *err)
{
	int64_t parents[RAMET_CHAIN_MAX];
	const struct chain *chain = &build->delta.chain;
	for (size_t i = 0; i < chain->count; i++)
		parents[i] = chain->items[i].image.id;
	const struct store_image_facts facts = {.format = build->format->name,
		.read_only_paths = build->read_only.data,
		.process = build->process.data,
		.digest = build->result->digest,
		.parents = parents,
		.parent_count = chain->count,
		.lazy = build->options->lazy,
		.made = build->options->lazy};
	return store_image_add(build->store, build->options->output, &facts, err);
}

void build_told_free(struct build_told *told)
{
	free(told->read_only_paths);
	free(told->process);
}

int build_image(struct ramet_store *store, const struct ramet_build_options *options,
	struct ramet_build_result *result, struct build_told *told, struct ramet_error *err)
{
	*result = (struct ramet_build_result){0};
	__attribute__((cleanup(build_release))) struct build build = {.store = store,
		.options = options,
		.result = result,
		.output = OUTFILE_NONE,
		.spool = -1,
		.user = geteuid()};
	int r = build_run(&build, err);
	if (r == 0 && store)
		r = note_image(&build, err);
	if (r == 0 && told) {
		told->format = build.format->name;
		told->read_only_paths = TAKE_PTR(build.read_only.data);
		told->process = TAKE_PTR(build.process.data);
	}
	return r;
}

int ramet_build(struct ramet_store *store, const struct ramet_build_options *options,
	struct ramet_build_result *result, struct ramet_error *err)
{
	struct ramet_build_result ignored;
	return build_image(store, options, result ? result : &ignored, NULL, err);
}
