/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server inherits the fork's lock: as long as it lives nobody else runs, reads or removes the fork,
 * and no second VM gets its volume. It has a lock of its own besides, by which it is known to live.
 */
#include "api/attach.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/figures.h"
#include "api/server_start.h"
#include "api/user_word.h"
#include "base/cleanup.h"
#include "base/fd.h"

/* CLAIM_MS: between a fork's lock and its server's lock, which one that attaches takes at once. */
enum { START_MS = 20000, CLAIM_MS = 500, STEP_MS = 20, STALL_SECONDS = 30 };

int serving_choose(struct serving *serving, const char *kind, struct ramet_error *err)
{
	serving->ops = export_find(kind);
	if (serving->ops)
		return 0;
	_cleanup_text_ struct text names = {0};
	for (size_t i = 0; exports[i]; i++)
		text_format(&names, "%s, ", exports[i]->name);
	return error_set(err, EOPNOTSUPP, "there is no export called %s; there are %spath", kind,
		names.data ? names.data : "");
}

/* All that makes one attachment different from another, in one word. */
static int write_request(const struct ramet_attach_options *options, struct text *request)
{
	text_format(request, "%s address=%s user=%s all=%d ro=%d fail=%d stall=%u prefetch=%d/%llu",
		options->via, options->address ? options->address : "",
		options->user ? options->user : "", options->all, options->read_only,
		options->fail_stalled, options->stall_seconds, !options->no_prefetch,
		(unsigned long long)options->prefetch_bandwidth);
	for (size_t i = 0; options->sources && options->sources[i]; i++)
		text_format(request, " source=%s", options->sources[i]);
	return request->failed ? -ENOMEM : 0;
}

static int set_user(struct serving *serving, const struct ramet_attach_options *options,
	struct ramet_error *err)
{
	uid_t uid;
	gid_t gid;
	if (!options->user)
		return 0;
	if (serving->ops && serving->ops->place == EXPORT_KERNEL_DEVICE)
		return error_set(err, EINVAL,
			"a device of the kernel belongs to root: leave --user away, and give the "
			"device to its user where you make it known to the VMM");
	if (!options->address)
		return error_set(err, EINVAL,
			"say with --address where another user finds fork %s: nobody else gets into the "
			"store's folder",
			options->name);
	int r = user_word_parse(options->user, &uid, &gid, err);
	if (r < 0)
		return r;
	serving->config.uid = uid;
	serving->config.gid = gid;
	return 0;
}

int serving_set_policy(struct serving *serving, const struct ramet_attach_options *options,
	struct ramet_error *err)
{
	struct server_config *config = &serving->config;
	_cleanup_text_ struct text request = {0};
	unsigned seconds = options->stall_seconds ? options->stall_seconds : STALL_SECONDS;
	config->fail_stalled = options->fail_stalled;
	config->stall_ms = (int64_t)seconds * 1000;
	config->bandwidth = (int64_t)MIN(options->prefetch_bandwidth, (uint64_t)INT64_MAX);
	config->fork = strdup(options->name);
	config->kind = strdup(options->via);
	serving->attachment.kind = strdup(options->via);
	if (write_request(options, &request) < 0 || !config->fork || !config->kind ||
		!serving->attachment.kind)
		return error_memory(err);
	serving->attachment.request = TAKE_PTR(request.data);
	return set_user(serving, options, err);
}

static int open_in_fork(
	struct serving *serving, const char *name, int flags, struct ramet_error *err)
{
	_cleanup_text_ struct text path = {0};
	text_format(&path, "%s/%s", serving->fork.folder, name);
	if (path.failed)
		return error_memory(err);
	int fd = open(path.data, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | flags, 0600);
	if (fd < 0)
		return error_errno(err, errno, "cannot open %s", path.data);
	return serving_keep(serving, fd) < 0 ? error_memory(err) : fd;
}

static int note_answer(
	struct serving *serving, const struct server_answer *answer, struct ramet_error *err)
{
	struct attachment *attachment = &serving->attachment;
	if (answer->addresses.count != attachment->devices.count)
		return error_set(err, EPROTO,
			"the server of fork %s is of another version of ramet", serving->fork.name);
	attachment->pid = answer->pid;
	for (size_t i = 0; i < attachment->devices.count; i++) {
		struct attachment_device *device = &attachment->devices.items[i];
		struct stat st;
		device->address = strdup(answer->addresses.items[i]);
		if (!device->address)
			return error_memory(err);
		if (lstat(device->place, &st) == 0 && S_ISSOCK(st.st_mode))
			device->inode = st.st_ino;
	}
	return 0;
}

static int keep_lock(struct serving *serving, int fd)
{
	int r = serving_keep(serving, fd);
	int *place = r < 0 ? NULL : vector_push(&serving->config.locks);
	if (place)
		*place = fd;
	return place ? 0 : -ENOMEM;
}

int serving_claim(struct serving *serving, struct ramet_store *store, const char *name,
	struct ramet_error *err)
{
	int r = attachment_clear(store, name, err);
	_cleanup_close_ int folder = r < 0 ? r : attachment_folder(store, name, err);
	int alive = folder < 0 ? folder : attachment_lock(folder, name, err);
	if (alive < 0)
		return alive;
	return keep_lock(serving, alive) < 0 ? error_memory(err) : 0;
}

/* What the server needs besides the drives: log, figures, the fork's lock, the pipe. */
static int open_rest(
	struct serving *serving, const struct store_lock *lock, int life, struct ramet_error *err)
{
	const char *name = serving->fork.name;
	serving->config.serial = figures_next(serving->fork.folder, err);
	if (serving->config.serial < 0)
		return (int)serving->config.serial;
	int r = (int)(serving->config.log = open_in_fork(serving, "log", 0, err));
	if (r >= 0)
		r = (int)(serving->config.stats = open_in_fork(serving, "figures", O_TRUNC, err));
	if (r < 0)
		return r;
	int held = fcntl(lock->fd, F_DUPFD_CLOEXEC, 3);
	if (held < 0 || keep_lock(serving, held) < 0)
		return error_errno(err, errno, "cannot start the server of fork %s", name);
	if (life < 0)
		return 0;
	int end = fcntl(life, F_DUPFD_CLOEXEC, 3);
	if (end < 0 || serving_keep(serving, end) < 0)
		return error_errno(err, errno, "cannot start the server of fork %s", name);
	serving->config.life = end;
	return 0;
}

int serving_start(struct serving *serving, struct ramet_store *store, const struct store_lock *lock,
	int life, struct ramet_error *err)
{
	const char *name = serving->fork.name;
	_cleanup_close_ int folder = attachment_folder(store, name, err);
	if (folder < 0)
		return folder;
	_cleanup_server_answer_ struct server_answer answer = {0};
	int r = open_rest(serving, lock, life, err);
	if (r == 0)
		r = server_start(
			&serving->config, serving->fds.items, serving->fds.count, &answer, err);
	if (r == 0)
		r = note_answer(serving, &answer, err);
	if (r == 0)
		r = attachment_save(folder, &serving->attachment, err);
	if (r == 0)
		/* Only a name for messages; the lock itself is inherited. */
		(void)store_lock_add_holder(lock, answer.pid);
	return r;
}

/* "path": there is nothing to serve where all images are plain files. */
static int tell_paths(struct ramet_store *store, const struct ramet_attach_options *options,
	ramet_attachment_fn each, void *ctx, struct ramet_error *err)
{
	_cleanup_serving_ struct serving serving = SERVING_NONE;
	const struct ramet_attach_options all = {
		.name = options->name, .via = "path", .all = true, .no_prefetch = true};
	int r = store_fork_find(store, options->name, &serving.fork, err);
	if (r == 0)
		r = store_fork_check_base(&serving.fork, err);
	bool lazy = r == 0 && !serving.fork.base_plain;
	for (size_t i = 0; r == 0 && i < serving.fork.layers.count; i++)
		lazy = lazy || !serving.fork.layers.items[i].plain;
	if (lazy)
		return error_set(err, EOPNOTSUPP,
			"fork %s stands on a lazy image, which has no file with its bytes; 'ramet "
			"materialize %s' makes one, or attach it in another way",
			options->name, options->name);
	if (r == 0)
		r = serving_set_policy(&serving, &all, err);
	if (r == 0)
		r = serving_add_drives(&serving, store, &all, -1, err);
	for (size_t i = 0; r == 0 && i < serving.attachment.devices.count; i++) {
		struct attachment_device *device = &serving.attachment.devices.items[i];
		device->address = strdup(device->file);
		r = device->address ? 0 : error_memory(err);
	}
	return r < 0 ? r
		     : attachment_tell(store, options->name, &serving.attachment, each, ctx, err);
}

static int refuse_other(
	const char *name, const struct attachment *attachment, struct ramet_error *err)
{
	const char *address = attachment->devices.count ? attachment->devices.items[0].address : "";
	if (attachment->for_run)
		return error_set(
			err, EBUSY, "fork %s is run, and its drives are served to that VM", name);
	return error_set(err, EBUSY,
		"fork %s is attached in another way, via %s at %s by process %d; 'ramet detach %s' "
		"ends that",
		name, attachment->kind, address, (int)attachment->pid, name);
}

/* Somebody has the fork. 1: it is served in just this way, and that was told; 0: its server starts;
 * -EAGAIN: there is none, or not yet. */
static int meet_other(struct ramet_store *store, const struct ramet_attach_options *options,
	ramet_attachment_fn each, void *ctx, struct ramet_error *err)
{
	_cleanup_attachment_ struct attachment attachment = {0};
	_cleanup_text_ struct text request = {0};
	struct ramet_error failure = {0};
	int state = attachment_find(store, options->name, &attachment, &failure);
	if (state < 0)
		return error_set(err, -state, "%s", failure.message);
	if (state != ATTACHMENT_LIVES)
		return state == ATTACHMENT_STARTS ? 0 : -EAGAIN;
	if (write_request(options, &request) < 0)
		return error_memory(err);
	if (attachment.for_run || strcmp(attachment.request, request.data) != 0)
		return refuse_other(options->name, &attachment, err);
	int r = attachment_tell(store, options->name, &attachment, each, ctx, err);
	return r == 0 ? 1 : r;
}

/* The lock of the fork; or 1, and all is done. */
static int take_fork(struct ramet_store *store, const struct ramet_attach_options *options,
	struct store_lock *lock, ramet_attachment_fn each, void *ctx, struct ramet_error *err)
{
	for (int waited = 0;; waited += STEP_MS) {
		struct ramet_error failure = {0};
		int r = store_fork_lock(store, options->name, lock, &failure);
		if (r == -EBUSY) {
			int met = meet_other(store, options, each, ctx, &failure);
			if (met == 1)
				return 1;
			if ((met == 0 && waited < START_MS) ||
				(met == -EAGAIN && waited < CLAIM_MS)) {
				poll(NULL, 0, STEP_MS);
				continue;
			}
		}
		return r < 0 ? error_set(err, -r, "%s", failure.message) : 0;
	}
}

static int check_options(const struct ramet_attach_options *options, struct ramet_error *err)
{
	if (!options->via || !*options->via)
		return error_set(
			err, EINVAL, "say how to attach fork %s, with --via", options->name);
	bool serves = strcmp(options->via, "path") != 0;
	if (!serves && (options->address || options->user || options->read_only ||
			       (options->sources && options->sources[0]) || options->fail_stalled ||
			       options->stall_seconds || options->no_prefetch ||
			       options->prefetch_bandwidth))
		return error_set(err, EINVAL,
			"via path nothing is served, and the files are what they are: leave what is said of a "
			"server away (--address, --user, --read-only, --source, --on-stall, "
			"--stall-timeout and those of prefetching)");
	if (options->stall_seconds > 86400)
		return error_set(err, EINVAL, "a source can be waited for for a day at most");
	return 0;
}

/* Until it is noted nobody would find the server to end it: it lives by itself from then on. */
static int start(struct serving *serving, struct ramet_store *store, const struct store_lock *lock,
	struct ramet_error *err)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_errno(err, errno, "cannot make a pipe to a server");
	_cleanup_close_ int theirs = ends[0];
	_cleanup_close_ int ours = ends[1];
	int r = serving_start(serving, store, lock, theirs, err);
	if (r == 0 && write_full(ours, "", 1) < 0)
		r = error_set(
			err, EIO, "cannot speak to the server of fork %s", serving->fork.name);
	return r;
}

static int serve(struct serving *serving, struct ramet_store *store, const struct store_lock *lock,
	const struct ramet_attach_options *options, struct ramet_error *err)
{
	int r = store_fork_find(store, options->name, &serving->fork, err);
	if (r == 0)
		r = store_fork_check_base(&serving->fork, err);
	if (r == 0)
		r = serving_set_policy(serving, options, err);
	if (r == 0)
		r = serving_add_drives(serving, store, options, -1, err);
	if (r == 0)
		r = serving_add_places(serving, options->address, err);
	return r < 0 ? r : start(serving, store, lock, err);
}

int ramet_attach(struct ramet_store *store, const struct ramet_attach_options *options,
	ramet_attachment_fn each, void *ctx, struct ramet_error *err)
{
	int r = check_options(options, err);
	if (r == 0 && strcmp(options->via, "path") == 0)
		return tell_paths(store, options, each, ctx, err);
	_cleanup_serving_ struct serving serving = SERVING_NONE;
	_cleanup_lock_ struct store_lock lock = STORE_LOCK_NONE;
	if (r == 0)
		r = serving_choose(&serving, options->via, err);
	if (r == 0)
		r = take_fork(store, options, &lock, each, ctx, err);
	if (r != 0)
		return MIN(r, 0);
	r = serving_claim(&serving, store, options->name, err);
	if (r < 0)
		return r;
	r = serve(&serving, store, &lock, options, err);
	serving_let_go(&serving);
	struct ramet_error ignored;
	if (r < 0)
		attachment_clear(store, options->name, &ignored);
	return r < 0 ? r
		     : attachment_tell(store, options->name, &serving.attachment, each, ctx, err);
}

const struct ramet_export_info *ramet_exports(void)
{
	static struct ramet_export_info infos[16];
	for (size_t i = 0; exports[i] && i + 1 < ARRAY_SIZE(infos); i++)
		infos[i] = (struct ramet_export_info){exports[i]->name, exports[i]->summary};
	return infos;
}
