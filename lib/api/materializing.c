/* SPDX-License-Identifier: Apache-2.0 */
/* What is in the state comes from a process of the same user, and is believed as far as it is whole. */
#include "api/materializing.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/file_lock.h"
#include "base/folder.h"
#include "store/images.h"

#define FOLDER "materializing"

enum { STATE_MOST = 8192, LOG_MOST = 128 << 10, EVERY_MS = 500 };
enum { END_MS = 5000, KILL_MS = 5000, STEP_MS = 20 };

void materializing_free(struct materializing *materializing)
{
	free(materializing->failed);
	free(materializing->log);
	*materializing = (struct materializing){0};
}

static int path_of(int64_t image, struct text *path)
{
	text_format(path, FOLDER "/%" PRId64, image);
	return path->failed ? -ENOMEM : 0;
}

static int open_folder(struct ramet_store *store, int64_t image)
{
	_cleanup_text_ struct text path = {0};
	if (path_of(image, &path) < 0)
		return -ENOMEM;
	int fd = openat(store->dirfd, path.data, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* By one who has the lock. */
static void remove_folder(struct ramet_store *store, int64_t image)
{
	char name[32];
	snprintf(name, sizeof name, "%" PRId64, image);
	_cleanup_close_ int folder = openat(
		store->dirfd, FOLDER, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (folder >= 0)
		(void)folder_remove(folder, name);
}

static bool is_locked(int folder)
{
	_cleanup_close_ int fd = openat(folder, "lock", O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	return fd >= 0 && file_is_locked(fd);
}

/* ------------------------------------------------------------------------------------------- */
/* The state.                                                                                   */

static void write_state(const struct materializing_work *work)
{
	const struct materializing *state = &work->state;
	_cleanup_text_ struct text text = {0};
	text_format(&text,
		"pid %d background %d since %" PRId64 " done %" PRIu64 " total %" PRIu64 "\n%s",
		(int)state->pid, state->background, state->since, state->done, state->total,
		state->failed ? state->failed : "");
	_cleanup_close_ int fd = openat(work->folder, "state.new",
		O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	/* A disk that is full has the state of before. */
	if (fd >= 0 && !text.failed && write_full(fd, text.data, text.length) == 0)
		(void)renameat(work->folder, "state.new", work->folder, "state");
}

/* -ENOENT: there is none. */
static int read_state(int folder, struct materializing *state)
{
	_cleanup_free_ char *text = NULL;
	int pid, background, length = -1;
	int r = read_file(folder, "state", STATE_MOST, &text, NULL);
	if (r < 0)
		return r;
	if (sscanf(text,
		    "pid %d background %d since %" SCNd64 " done %" SCNu64 " total %" SCNu64 "%n",
		    &pid, &background, &state->since, &state->done, &state->total, &length) != 5 ||
		length < 0 || text[length] != '\n')
		return -ENOENT;
	state->pid = (pid_t)pid;
	state->background = background;
	text_disarm(text + length + 1);
	if (text[length + 1] && !(state->failed = strdup(text + length + 1)))
		return -ENOMEM;
	return 0;
}

int materializing_find(struct ramet_store *store, int64_t image,
	struct materializing *materializing, struct ramet_error *err)
{
	*materializing = (struct materializing){0};
	_cleanup_close_ int folder = open_folder(store, image);
	if (folder < 0)
		return 0;
	/* Whoever ends after the first look has left its last state by the second. */
	bool at_work = is_locked(folder);
	int r = read_state(folder, materializing);
	if (r == -ENOMEM)
		return error_memory(err);
	_cleanup_text_ struct text log = {0};
	text_format(&log, "%s/" FOLDER "/%" PRId64 "/log", store->root, image);
	materializing->found = at_work || r == 0;
	materializing->at_work = at_work;
	if (r < 0 || (at_work && materializing->failed)) {
		/* Of another one, before. */
		free(TAKE_PTR(materializing->failed));
		materializing->pid = 0;
		materializing->done = materializing->total = 0;
	}
	/* Between the two looks somebody may have begun. */
	bool killed = r == 0 && !at_work && !materializing->failed;
	if (killed && (at_work = is_locked(folder)))
		killed = !(materializing->at_work = true);
	if (killed)
		materializing->failed = strdup("its process was killed before it was done");
	materializing->log = TAKE_PTR(log.data);
	if (!materializing->log || (r == 0 && !at_work && !materializing->failed)) {
		materializing_free(materializing);
		return error_memory(err);
	}
	return 0;
}

const struct ramet_materializing *materializing_tell(
	const struct materializing *materializing, struct ramet_materializing *told)
{
	if (!materializing->found)
		return NULL;
	*told = (struct ramet_materializing){.at_work = materializing->at_work,
		.background = materializing->background,
		.pid = materializing->pid,
		.done = materializing->done,
		.total = materializing->total,
		.since = materializing->since,
		.failed = materializing->failed,
		.log = materializing->log};
	return told;
}

/* ------------------------------------------------------------------------------------------- */
/* Whoever does it.                                                                             */

static int make_folder(struct ramet_store *store, int64_t image, struct ramet_error *err)
{
	_cleanup_text_ struct text path = {0};
	if (path_of(image, &path) < 0)
		return error_memory(err);
	if ((mkdirat(store->dirfd, FOLDER, 0755) < 0 && errno != EEXIST) ||
		(mkdirat(store->dirfd, path.data, 0755) < 0 && errno != EEXIST))
		return error_errno(
			err, errno, "cannot make the folder %s/%s", store->root, path.data);
	int fd = open_folder(store, image);
	return fd < 0 ? error_errno(
				err, -fd, "cannot open the folder %s/%s", store->root, path.data)
		      : fd;
}

static int refuse(const char *path, const struct materializing *other, struct ramet_error *err)
{
	if (other->background)
		return error_set(err, EBUSY,
			"%s is being made a plain file by process %d in the background; wait for "
			"that, or end it with 'ramet materialize %s --stop'",
			path, (int)other->pid, path);
	if (other->pid)
		return error_set(err, EBUSY, "%s is being made a plain file by process %d", path,
			(int)other->pid);
	return error_set(err, EBUSY, "%s is being made a plain file by another process", path);
}

/* The lock's fd; -EAGAIN: who had it has removed the folder meanwhile. */
static int take_lock(int folder)
{
	struct stat st;
	_cleanup_close_ int fd = openat(
		folder, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return errno == ENOENT ? -EAGAIN : -errno;
	int r = file_lock(fd);
	if (r == 0 && fstat(fd, &st) == 0 && st.st_nlink == 0)
		r = -EAGAIN;
	return r < 0 ? r : TAKE_FD(fd);
}

int materializing_begin(struct ramet_store *store, int64_t image, const char *path,
	struct materializing_work *work, struct materializing *other, struct ramet_error *err)
{
	do {
		cleanup_close(&work->folder);
		work->folder = make_folder(store, image, err);
		if (work->folder < 0)
			return work->folder;
		work->lock = take_lock(work->folder);
	} while (work->lock == -EAGAIN);
	if (work->lock == -EBUSY) {
		int r = materializing_find(store, image, other, err);
		return r < 0 ? r : refuse(path, other, err);
	}
	if (work->lock < 0)
		return error_errno(
			err, -work->lock, "cannot lock %s/" FOLDER "/%" PRId64, store->root, image);
	work->store = store;
	work->image = image;
	work->state.pid = getpid();
	work->state.since = (int64_t)time(NULL);
	write_state(work);
	return 0;
}

static bool is_due(struct timespec *last)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	int64_t passed = (int64_t)(now.tv_sec - last->tv_sec) * 1000 +
			 (now.tv_nsec - last->tv_nsec) / 1000000;
	if (passed < EVERY_MS)
		return false;
	*last = now;
	return true;
}

void materializing_advance(struct materializing_work *work, uint64_t done, uint64_t total)
{
	if (work->lock < 0 || !is_due(&work->written))
		return;
	work->state.done = done;
	work->state.total = total;
	write_state(work);
}

int materializing_log(const struct materializing_work *work)
{
	struct stat st;
	int fd = openat(
		work->folder, "log", O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	/* There are two lines for each try, as a rule. */
	if (fstat(fd, &st) == 0 && st.st_size > LOG_MOST)
		(void)!ftruncate(fd, 0);
	return fd;
}

void materializing_note(const struct materializing_work *work, const char *format, ...)
{
	if (!work->state.background)
		return;
	char sentence[2304], when[32];
	time_t now = time(NULL);
	struct tm utc;
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(sentence, sizeof sentence, format, arguments);
	va_end(arguments);
	strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
	_cleanup_text_ struct text line = {0};
	text_format(&line, "%s %s\n", when, text_disarm(sentence));
	_cleanup_close_ int fd = materializing_log(work);
	if (fd >= 0 && !line.failed)
		(void)write_full(fd, line.data, line.length);
}

void materializing_done(struct materializing_work *work)
{
	if (work->lock < 0)
		return;
	remove_folder(work->store, work->image);
	materializing_end(work);
}

void materializing_fail(struct materializing_work *work, const struct ramet_error *err)
{
	if (work->lock < 0)
		return;
	work->state.failed = strdup(err && *err->message ? err->message : "it failed");
	if (work->state.failed)
		text_disarm(work->state.failed);
	write_state(work);
	materializing_note(work, "failed: %s", work->state.failed ? work->state.failed : "");
	materializing_end(work);
}

void materializing_end(struct materializing_work *work)
{
	materializing_free(&work->state);
	cleanup_close(&work->lock);
	cleanup_close(&work->folder);
	*work = (struct materializing_work)MATERIALIZING_WORK_NONE;
}

/* ------------------------------------------------------------------------------------------- */
/* Ending it.                                                                                   */

static bool await_end(int folder, int milliseconds)
{
	for (int waited = 0; is_locked(folder); waited += STEP_MS) {
		if (waited >= milliseconds)
			return false;
		poll(NULL, 0, STEP_MS);
	}
	return true;
}

/* Its pid is known from the state, that it is that one from the lock: it is held before and after. */
static int end_worker(int folder, pid_t pid, const char *path, struct ramet_error *err)
{
	_cleanup_close_ int pidfd = pid > 0 ? pidfd_open(pid, 0) : -1;
	if (pidfd < 0 || !is_locked(folder))
		return 0;
	if (pidfd_send_signal(pidfd, SIGTERM, NULL, 0) < 0 && errno == EPERM)
		return error_errno(err, EPERM,
			"cannot end process %d, which makes a plain file of %s", (int)pid, path);
	if (await_end(folder, END_MS))
		return 0;
	pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
	if (await_end(folder, KILL_MS))
		return 0;
	return error_set(err, ETIMEDOUT,
		"process %d, which makes a plain file of %s, does not end: a source that it reads "
		"hangs in the kernel; bring that back, or end it",
		(int)pid, path);
}

/* What a dead one left; unless somebody has begun anew. */
static void forget_state(struct ramet_store *store, int64_t image, int folder)
{
	_cleanup_close_ int fd = take_lock(folder);
	if (fd >= 0)
		remove_folder(store, image);
}

int materializing_stop(struct ramet_store *store, int64_t image, const char *path, bool *stopped,
	struct ramet_error *err)
{
	*stopped = false;
	_cleanup_materializing_ struct materializing state = {0};
	_cleanup_close_ int folder = open_folder(store, image);
	if (folder < 0)
		return 0;
	int r = materializing_find(store, image, &state, err);
	if (r == 0 && state.at_work && !state.background)
		return refuse(path, &state, err);
	if (r == 0 && state.at_work)
		r = end_worker(folder, state.pid, path, err);
	if (r < 0)
		return r;
	*stopped = state.at_work;
	forget_state(store, image, folder);
	return 0;
}

void materializing_forget(struct ramet_store *store, int64_t image)
{
	bool stopped;
	struct ramet_error ignored;
	(void)materializing_stop(store, image, "an image", &stopped, &ignored);
}

static void sweep_one(struct ramet_store *store, const char *name)
{
	bool exists = true;
	uint64_t image;
	struct ramet_error ignored;
	if (text_parse_uint(name, INT64_MAX, &image) < 0 ||
		store_image_exists(store, (int64_t)image, &exists, &ignored) < 0 || exists)
		return;
	_cleanup_close_ int folder = open_folder(store, (int64_t)image);
	if (folder >= 0)
		forget_state(store, (int64_t)image, folder);
}

void materializing_sweep(struct ramet_store *store)
{
	int fd = openat(store->dirfd, FOLDER, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	if (!directory) {
		cleanup_close(&fd);
		return;
	}
	for (struct dirent *entry; (entry = readdir(directory));)
		sweep_one(store, entry->d_name);
	closedir(directory);
}
