/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the child says is a message of a kind of enum message, and is distrusted: a step that nobody
 * knows is passed over, a note is shown without control characters.
 *
 * The time: reading a stream twice and compressing what comes out of it takes well below the
 * SECONDS_PER_BYTE granted, with the slowest compression too; a stream that unpacks to much more
 * than it is large (a bomb) runs into the limit.
 */
#include "api/work.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/sandbox.h"

#define SECONDS_AT_LEAST 600
#define BYTES_PER_SECOND ((uint64_t)64 * 1024)
#define SECONDS_FOLDERS  86400 /* how much is in a folder is not known before */

enum message { PROGRESS, NOTE, TEXT };

/* ------------------------------------------------------------------------------------------- */
/* In the child.                                                                                */

struct child {
	const struct work *work;
	struct sandbox_line line;
};

struct step {
	uint64_t done, total;
	char name[16];
};

static void say_progress(void *ctx, const struct ramet_progress *progress)
{
	const struct child *child = ctx;
	struct step step = {.done = progress->done, .total = progress->total};
	snprintf(step.name, sizeof step.name, "%s", progress->step);
	(void)sandbox_say(&child->line, PROGRESS, &step, sizeof step);
}

static void say_note(void *ctx, const char *sentence)
{
	const struct child *child = ctx;
	size_t length = MIN(strlen(sentence), SANDBOX_MESSAGE_MAX);
	(void)sandbox_say(&child->line, NOTE, sentence, length);
}

static int say_texts(const struct child *child, struct ramet_error *err)
{
	for (size_t i = 0; i < child->work->text_count; i++) {
		const struct text *text = child->work->texts[i];
		int r = text->length ? sandbox_say(&child->line, TEXT + (unsigned)i, text->data,
					       text->length)
				     : 0;
		if (r < 0)
			return error_errno(err, -r, "cannot hand over what was read");
	}
	return 0;
}

static int run_in_child(void *ctx, struct ramet_error *err)
{
	struct child *child = ctx;
	const struct work *work = child->work;
	const struct work_reports reports = {
		.progress = work->reports.progress ? say_progress : NULL,
		.progress_ctx = child,
		.note = work->reports.note ? say_note : NULL,
		.note_ctx = child,
	};
	int r = work->run(work->ctx, &reports, err);
	return r < 0 ? r : say_texts(child, err);
}

/* ------------------------------------------------------------------------------------------- */
/* In the parent.                                                                               */

static void hear_progress(const struct work *work, const struct step *heard)
{
	static const char *const steps[] = {"walk", "compare", "write", "sync"};
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		if (strncmp(steps[i], heard->name, sizeof heard->name) == 0) {
			const struct ramet_progress progress = {
				steps[i], heard->done, heard->total};
			work->reports.progress(work->reports.progress_ctx, &progress);
		}
}

static void hear(void *ctx, unsigned kind, const void *bytes, size_t length)
{
	const struct work *work = ctx;
	struct step step;
	if (kind == PROGRESS && work->reports.progress && length == sizeof step) {
		memcpy(&step, bytes, sizeof step);
		hear_progress(work, &step);
	} else if (kind == NOTE && work->reports.note) {
		_cleanup_text_ struct text note = {0};
		text_append_bytes(&note, bytes, length);
		if (!note.failed)
			work->reports.note(work->reports.note_ctx, text_disarm(note.data));
	} else if (kind >= TEXT && kind - TEXT < work->text_count) {
		text_truncate(work->texts[kind - TEXT], 0);
		text_append_bytes(work->texts[kind - TEXT], bytes, length);
	}
}

/* The fds that the child keeps, and those of the folders that it reads. */
struct kept {
	VECTOR(int) fds, folders;
};

static void kept_release(struct kept *kept)
{
	for (size_t i = 0; i < kept->folders.count; i++)
		cleanup_close(&kept->folders.items[i]);
	vector_free(&kept->fds);
	vector_free(&kept->folders);
}

static int keep_fds(struct kept *kept, const int *fds, size_t count, struct ramet_error *err)
{
	for (size_t i = 0; i < count; i++) {
		int *place = fds[i] >= 0 ? vector_push(&kept->fds) : NULL;
		if (place)
			*place = fds[i];
		else if (fds[i] >= 0)
			return error_memory(err);
	}
	return 0;
}

static int keep_folder(struct kept *kept, const char *path, struct ramet_error *err)
{
	int fd = open(path, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return error_errno(err, errno, "cannot open %s", path);
	int *place = vector_push(&kept->folders);
	if (!place) {
		close(fd);
		return error_memory(err);
	}
	*place = fd;
	return 0;
}

static int keep(const struct work *work, struct kept *kept, struct ramet_error *err)
{
	int r = keep_fds(kept, work->fds, work->fd_count, err);
	for (size_t i = 0; i < work->folder_count && r == 0; i++)
		r = keep_folder(kept, work->folders[i], err);
	for (size_t i = 0; i < work->source_count && r == 0; i++) {
		const struct source *source = work->sources[i];
		r = keep_fds(kept, source->fds.items, source->fds.count, err);
		for (size_t j = 0; j < source->folders.count && r == 0; j++)
			r = keep_folder(kept, source->folders.items[j], err);
		for (size_t j = 0; j < source->binds.count && r == 0; j++)
			r = keep_folder(kept, source->binds.items[j].source, err);
	}
	return r;
}

static unsigned seconds_for(const struct kept *kept)
{
	uint64_t bytes = 0;
	struct stat st;
	for (size_t i = 0; i < kept->fds.count; i++)
		if (fstat(kept->fds.items[i], &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0)
			bytes += MIN((uint64_t)st.st_size, (uint64_t)1 << 48);
	uint64_t seconds = SECONDS_AT_LEAST + bytes / BYTES_PER_SECOND +
			   (kept->folders.count ? SECONDS_FOLDERS : 0);
	return (unsigned)MIN(seconds, (uint64_t)INT32_MAX);
}

static int run_confined(const struct work *work, const char *what, struct ramet_error *err)
{
	__attribute__((cleanup(kept_release))) struct kept kept = {0};
	int r = keep(work, &kept, err);
	if (r < 0)
		return r;
	struct child child = {.work = work};
	const struct sandbox_job job = {
		.what = what,
		.limits = {.memory = WORK_MEMORY, .cpu_seconds = seconds_for(&kept)},
		.work = run_in_child,
		.ctx = &child,
		.fds = kept.fds.items,
		.fd_count = kept.fds.count,
		.answer = work->answer,
		.answer_size = work->answer_size,
		.threads = true,
		.files = true,
		.maps = work->maps,
		.folders = kept.folders.items,
		.folder_count = kept.folders.count,
		.line = &child.line,
		.hear = hear,
		.hear_ctx = (void *)work,
	};
	r = sandbox_run_job(&job, err);
	if (r == -ENOMEM)
		error_prefix(err, r, "cannot work on %s in %zu MiB", what, WORK_MEMORY >> 20);
	for (size_t i = 0; i < work->text_count && r == 0; i++)
		if (work->texts[i]->failed)
			r = error_memory(err);
	return r;
}

static const struct source *first_hostile(const struct work *work)
{
	for (size_t i = 0; i < work->source_count; i++)
		if (work->sources[i]->ops->hostile)
			return work->sources[i];
	return NULL;
}

bool work_is_hostile(const struct work *work)
{
	return work->hostile || first_hostile(work);
}

int work_run(const struct work *work, struct ramet_error *err)
{
	if (!work_is_hostile(work))
		return work->run(work->ctx, &work->reports, err);
	const struct source *first = first_hostile(work);
	return run_confined(work,
		work->what ? work->what
		: first    ? first->place
			   : "the source",
		err);
}
