/* SPDX-License-Identifier: Apache-2.0 */
/* What is in the file comes from a process of the same user, and is believed as far as it is whole. */
#include "api/attachment.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/document.h"
#include "base/fd.h"
#include "base/file_lock.h"
#include "base/folder.h"
#include "export/fuse.h"
#include "export/nbd_device.h"
#include "export/server.h"
#include "export/ublk.h"

enum { RECORD_MOST = 4 << 20, END_MS = 8000, KILL_MS = 3000, STEP_MS = 20 };

void attachment_free(struct attachment *attachment)
{
	for (size_t i = 0; i < attachment->devices.count; i++) {
		struct attachment_device *device = &attachment->devices.items[i];
		free(device->name);
		free(device->address);
		free(device->place);
		free(device->file);
	}
	vector_free(&attachment->devices);
	free(attachment->kind);
	free(attachment->request);
	*attachment = (struct attachment){0};
}

struct attachment_device *attachment_add(struct attachment *attachment)
{
	struct attachment_device *device = vector_push(&attachment->devices);
	if (device)
		*device = (struct attachment_device){0};
	return device;
}

static int open_folder(struct ramet_store *store, const char *name)
{
	_cleanup_close_ int fork = openat(
		store->forks_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int fd = fork < 0 ? -1
			  : openat(fork, "export", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int attachment_folder(struct ramet_store *store, const char *name, struct ramet_error *err)
{
	_cleanup_text_ struct text path = {0};
	text_format(&path, "%s/export", name);
	if (path.failed)
		return error_memory(err);
	if (mkdirat(store->forks_fd, path.data, 0700) < 0 && errno != EEXIST)
		return error_errno(
			err, errno, "cannot make the folder %s/forks/%s", store->root, path.data);
	int fd = open_folder(store, name);
	return fd < 0 ? error_errno(err, -fd, "cannot open the folder %s/forks/%s", store->root,
				path.data)
		      : fd;
}

int attachment_lock(int folder, const char *name, struct ramet_error *err)
{
	_cleanup_close_ int fd = openat(
		folder, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_errno(err, errno, "cannot open the lock of fork %s's server", name);
	if (file_lock(fd) < 0)
		return error_set(err, EBUSY,
			"fork %s has a server that is still ending; try again in a moment", name);
	return TAKE_FD(fd);
}

static bool is_locked(int folder)
{
	_cleanup_close_ int fd = openat(folder, "lock", O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	return fd >= 0 && file_is_locked(fd);
}

static json_t *device_write(const struct attachment_device *device)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:I, s:b, s:b}", "name", device->name, "address",
		device->address, "place", device->place, "file", device->file, "inode",
		(json_int_t)device->inode, "read_only", device->read_only, "lazy", device->lazy);
}

static json_t *attachment_write(const struct attachment *attachment)
{
	json_t *devices = json_array();
	for (size_t i = 0; i < attachment->devices.count; i++)
		json_array_append_new(devices, device_write(&attachment->devices.items[i]));
	return json_pack("{s:s, s:s, s:i, s:b, s:o}", "kind", attachment->kind, "request",
		attachment->request, "pid", (int)attachment->pid, "for_run", attachment->for_run,
		"devices", devices);
}

int attachment_save(int folder, const struct attachment *attachment, struct ramet_error *err)
{
	json_t *object = attachment_write(attachment);
	_cleanup_free_ char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
	json_decref(object);
	if (!text)
		return error_set(err, EILSEQ,
			"a path in this attachment is not UTF-8; name another with --address, or "
			"rename the image");
	_cleanup_close_ int fd = openat(folder, "attachment.new",
		O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r = fd < 0 ? -errno : write_full(fd, text, strlen(text));
	if (r == 0 && renameat(folder, "attachment.new", folder, "attachment") < 0)
		r = -errno;
	return r < 0 ? error_errno(err, -r, "cannot note how the fork is attached") : 0;
}

static int copy(const struct field *object, const char *key, char **into, struct ramet_error *err)
{
	const char *string = NULL;
	int r = field_string(object, key, FIELD_NEEDED, &string, err);
	if (r == 0 && !(*into = strdup(string)))
		r = error_memory(err);
	return r;
}

static int device_read(
	const struct field *item, struct attachment *attachment, struct ramet_error *err)
{
	struct attachment_device *device = attachment_add(attachment);
	if (!device)
		return error_memory(err);
	int r = copy(item, "name", &device->name, err);
	if (r == 0)
		r = copy(item, "address", &device->address, err);
	if (r == 0)
		r = copy(item, "place", &device->place, err);
	if (r == 0)
		r = copy(item, "file", &device->file, err);
	if (r == 0)
		r = field_uint(item, "inode", FIELD_NEEDED, INT64_MAX, &device->inode, err);
	if (r == 0)
		r = field_bool(item, "read_only", &device->read_only, err);
	return r < 0 ? r : field_bool(item, "lazy", &device->lazy, err);
}

static int attachment_read(
	const struct document *document, struct attachment *attachment, struct ramet_error *err)
{
	struct field root = field_root(document), devices, item;
	uint64_t pid = 0;
	int r = copy(&root, "kind", &attachment->kind, err);
	if (r == 0)
		r = copy(&root, "request", &attachment->request, err);
	if (r == 0)
		r = field_uint(&root, "pid", FIELD_NEEDED, INT32_MAX, &pid, err);
	if (r == 0)
		r = field_bool(&root, "for_run", &attachment->for_run, err);
	attachment->pid = (pid_t)pid;
	if (r == 0)
		r = field_get(&root, "devices", JSON_ARRAY, FIELD_NEEDED, &devices, err);
	for (size_t i = 0; r == 0 && i < field_count(&devices); i++) {
		r = field_item(&devices, i, JSON_OBJECT, &item, err);
		if (r == 0)
			r = device_read(&item, attachment, err);
	}
	return r;
}

static int load(
	int folder, const char *name, struct attachment *attachment, struct ramet_error *err)
{
	_cleanup_free_ char *text = NULL;
	size_t length = 0;
	int r = read_file(folder, "attachment", RECORD_MOST, &text, &length);
	if (r == -ENOENT)
		return r;
	if (r < 0)
		return error_errno(err, -r, "cannot read how fork %s is attached", name);
	_cleanup_document_ struct document document = {0};
	r = document_parse(&document, "the note of the attachment", text, length, JSON_OBJECT, err);
	if (r == 0)
		r = attachment_read(&document, attachment, err);
	return r < 0 ? error_prefix(err, r, "fork %s", name) : 0;
}

int attachment_find(struct ramet_store *store, const char *name, struct attachment *attachment,
	struct ramet_error *err)
{
	*attachment = (struct attachment){0};
	_cleanup_close_ int folder = open_folder(store, name);
	if (folder < 0)
		return ATTACHMENT_NONE;
	bool lives = is_locked(folder);
	int r = load(folder, name, attachment, err);
	if (r < 0)
		attachment_free(attachment);
	if (r == -ENOENT)
		return lives ? ATTACHMENT_STARTS : ATTACHMENT_DEAD;
	if (r < 0 && lives)
		return r;
	return lives ? ATTACHMENT_LIVES : ATTACHMENT_DEAD;
}

/* Only what the server made: a socket that somebody else has bound since is that one's. */
static void clear_socket(const struct attachment_device *device)
{
	struct stat st;
	if (*device->place && lstat(device->place, &st) == 0 && S_ISSOCK(st.st_mode) &&
		st.st_ino == device->inode)
		unlink(device->place);
}

static int clear_device(const struct attachment *attachment, size_t index, struct ramet_error *err)
{
	const struct attachment_device *device = &attachment->devices.items[index];
	if (strcmp(attachment->kind, "fuse") == 0)
		return export_fuse_clean(device->place, err);
	if (strcmp(attachment->kind, "nbd-device") == 0)
		return nbd_device_release(device->place, device->name, err);
	if (strcmp(attachment->kind, "ublk") == 0)
		export_ublk_clean();
	clear_socket(device);
	return 0;
}

/* The folders that a server may have mounted on before it could say so. */
static int clear_mounts(struct ramet_store *store, const char *name, struct ramet_error *err)
{
	int r = 0;
	_cleanup_close_ int folder = open_folder(store, name);
	for (int i = -1; r == 0 && i <= RAMET_CHAIN_MAX && folder >= 0; i++) {
		char device[16];
		struct stat st;
		_cleanup_text_ struct text path = {0};
		snprintf(device, sizeof device, i < 0 ? "volume" : i == 0 ? "base" : "layer%d", i);
		text_format(&path, "%s/forks/%s/export/%s", store->root, name, device);
		if (path.failed)
			return error_memory(err);
		int code = fstatat(folder, device, &st, AT_SYMLINK_NOFOLLOW) < 0 ? errno : 0;
		if ((code == 0 && S_ISDIR(st.st_mode)) || code == ENOTCONN)
			r = export_fuse_clean(path.data, err);
	}
	return r;
}

int attachment_clear(struct ramet_store *store, const char *name, struct ramet_error *err)
{
	_cleanup_attachment_ struct attachment attachment = {0};
	struct ramet_error ignored;
	int state = attachment_find(store, name, &attachment, &ignored);
	if (state == ATTACHMENT_NONE)
		return 0;
	if (state != ATTACHMENT_DEAD)
		return error_set(err, EBUSY, "fork %s has a server", name);
	int r = 0;
	for (size_t i = 0; i < attachment.devices.count && r == 0; i++)
		r = clear_device(&attachment, i, err);
	if (r == 0)
		r = clear_mounts(store, name, err);
	if (r < 0)
		return r;
	_cleanup_close_ int fork = openat(
		store->forks_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	r = fork < 0 ? -errno : folder_remove(fork, "export");
	return r < 0 ? error_errno(err, -r, "cannot remove the folder %s/forks/%s/export",
			       store->root, name)
		     : 0;
}

int attachment_sweep(struct ramet_store *store, const char *name, struct ramet_error *err)
{
	_cleanup_attachment_ struct attachment attachment = {0};
	_cleanup_lock_ struct store_lock lock = STORE_LOCK_NONE;
	struct ramet_error ignored;
	if (attachment_find(store, name, &attachment, &ignored) != ATTACHMENT_DEAD ||
		store_fork_lock(store, name, &lock, &ignored) < 0)
		return 0;
	return attachment_clear(store, name, err);
}

bool attachment_is_unwanted(int folder)
{
	return faccessat(folder, "unwanted", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int attachment_unwant(struct ramet_store *store, const char *name, struct ramet_error *err)
{
	_cleanup_close_ int folder = attachment_folder(store, name, err);
	if (folder < 0)
		return folder;
	_cleanup_close_ int fd = openat(
		folder, "unwanted", O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	return fd < 0 ? error_errno(err, errno,
				"cannot tell the run of fork %s that its server is to end", name)
		      : 0;
}

/* Whether a process is a server: its number may have become another's. */
static bool is_server(pid_t pid)
{
	char path[32];
	_cleanup_free_ char *name = NULL;
	snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
	return read_file(AT_FDCWD, path, 4096, &name, NULL) < 0 ||
	       strcmp(name, SERVER_PROGRAM "\n") == 0;
}

static bool is_over(int pidfd)
{
	struct pollfd process = {.fd = pidfd, .events = POLLIN};
	return poll(&process, 1, 0) > 0;
}

/* Until the server has let go of its lock, or is gone: a run has the lock, too. */
static bool await_end(struct ramet_store *store, const char *name, int pidfd, int milliseconds)
{
	for (int waited = 0;; waited += STEP_MS) {
		_cleanup_close_ int folder = open_folder(store, name);
		if (folder < 0 || !is_locked(folder) || is_over(pidfd))
			return true;
		if (waited >= milliseconds)
			return false;
		poll(NULL, 0, STEP_MS);
	}
}

int attachment_end(struct ramet_store *store, const char *name, const struct attachment *attachment,
	struct ramet_error *err)
{
	_cleanup_close_ int pidfd = pidfd_open(attachment->pid, 0);
	/* What is signalled is whoever had the number when the pidfd was opened. */
	if (pidfd < 0 || !is_server(attachment->pid) || await_end(store, name, pidfd, 0))
		return 0;
	if (pidfd_send_signal(pidfd, SIGTERM, NULL, 0) < 0 && errno == EPERM)
		return error_errno(err, EPERM, "cannot end the server of fork %s, process %d", name,
			(int)attachment->pid);
	if (await_end(store, name, pidfd, END_MS))
		return 0;
	pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
	if (await_end(store, name, pidfd, KILL_MS))
		return 0;
	return error_set(err, ETIMEDOUT,
		"the server of fork %s, process %d, does not end: a source that it reads hangs in the "
		"kernel; bring that back, or end it, and detach again",
		name, (int)attachment->pid);
}
