/* SPDX-License-Identifier: Apache-2.0 */
#include "api/run_server.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/attach.h"
#include "api/figures.h"
#include "api/server_start.h"
#include "base/cleanup.h"
#include "export/fuse.h"

/* The ways that a VMM has to what is served: the first is taken where nobody says another. A slow
 * source holds up the reads that need it; through a file it would hold up Firecracker's only thread. */
static const struct way {
	const char *via, *export;
	enum vm_drive_kind kind;
} ways[] = {
	{"vhost-user-blk", "vhost-user-blk", VM_DRIVE_VHOST_USER},
	{"nbd", "nbd", VM_DRIVE_NBD},
	{"fuse", "fuse", VM_DRIVE_FILE},
	{"pmem", "fuse", VM_DRIVE_PMEM},
};

static const struct way *way_find(const char *via, struct ramet_error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++)
		if (!via || strcmp(ways[i].via, via) == 0)
			return &ways[i];
	error_set(err, EINVAL,
		"drives of a VM can be served via vhost-user-blk, nbd, fuse or pmem, and not via %s",
		via);
	return NULL;
}

static bool has_lazy(const struct store_fork *fork)
{
	bool lazy = strcmp(fork->mode, "clone") != 0 && !fork->base_plain;
	for (size_t i = 0; i < fork->layers.count; i++)
		lazy = lazy || !fork->layers.items[i].plain;
	return lazy;
}

int run_server_choose(const struct store_fork *fork, const struct ramet_run_options *options,
	bool *needed, enum vm_drive_kind *kind, struct ramet_error *err)
{
	bool lazy = has_lazy(fork);
	const struct way *way = way_find(options->via, err);
	if (!way)
		return -EINVAL;
	if (options->record && (strcmp(fork->mode, "clone") == 0 || fork->base_plain))
		return error_set(err, EINVAL,
			"the base of fork %s is a file of its own: what is read of it is not recorded",
			fork->name);
	*needed = lazy || options->via;
	*kind = way->kind;
	return 0;
}

const char *run_server_reason(const struct ramet_run_options *options, enum vm_drive_kind kind)
{
	return options->via || kind != VM_DRIVE_VHOST_USER
		       ? ""
		       : "so that a slow source holds up those reads alone that need it; --via fuse or "
			 "pmem where the VM is to be snapshotted";
}

static int open_record(struct run_server *server, struct ramet_error *err)
{
	struct ramet_store *store = server->store;
	_cleanup_text_ struct text path = {0};
	if (mkdirat(store->dirfd, "records", 0755) < 0 && errno != EEXIST)
		return error_errno(err, errno, "cannot make the folder %s/records", store->root);
	if (record_path(store, server->serving.fork.base_image, &path) < 0)
		return error_memory(err);
	int r = outfile_open(&server->record, path.data, err);
	if (r < 0)
		return r;
	int fd = fcntl(server->record.fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0 || serving_keep(&server->serving, fd) < 0)
		return error_errno(err, errno, "cannot open %s", path.data);
	return fd;
}

/* Paths of the files in the mounts, for drives to point to. */
static int name_files(struct run_server *server, struct ramet_error *err)
{
	const struct attachment *attachment = &server->serving.attachment;
	for (size_t i = 0; i < attachment->devices.count; i++) {
		text_format(&server->files, "%s/" FUSE_FILE, attachment->devices.items[i].place);
		text_append_bytes(&server->files, "", 1);
	}
	return server->files.failed ? error_memory(err) : 0;
}

/* What is mapped into a VM's memory has whole pieces of it. */
static void align(struct run_server *server)
{
	struct server_config *config = &server->serving.config;
	for (size_t i = 0; server->kind == VM_DRIVE_PMEM && i < config->devices.count; i++)
		if (config->devices.items[i].read_only)
			config->devices.items[i].align = VM_PMEM_ALIGN;
}

int run_server_prepare(struct run_server *server, struct ramet_store *store,
	const struct store_fork *fork, const struct store_lock *lock,
	const struct ramet_run_options *options, enum vm_drive_kind kind, struct ramet_error *err)
{
	const struct way *way = way_find(options->via, err);
	if (!way)
		return -EINVAL;
	const struct ramet_attach_options attach = {.name = fork->name,
		.via = way->export,
		.fail_stalled = options->fail_stalled,
		.stall_seconds = options->stall_seconds,
		.sources = options->sources,
		.no_prefetch = options->no_prefetch,
		.prefetch_bandwidth = options->prefetch_bandwidth};
	server->store = store;
	server->lock = lock;
	server->kind = kind;
	server->serving.attachment.for_run = true;
	int record = -1;
	int r = serving_claim(&server->serving, store, fork->name, err);
	if (r == 0)
		r = serving_choose(&server->serving, attach.via, err);
	if (r == 0)
		r = store_fork_find(store, fork->name, &server->serving.fork, err);
	if (r == 0)
		r = serving_set_policy(&server->serving, &attach, err);
	if (r == 0 && options->record)
		r = record = open_record(server, err);
	if (r >= 0)
		r = serving_add_drives(&server->serving, store, &attach, record, err);
	align(server);
	if (r == 0)
		r = serving_add_places(&server->serving, NULL, err);
	if (r == 0)
		r = name_files(server, err);
	if (r == 0 && pipe2(server->life, O_CLOEXEC) < 0)
		r = error_errno(err, errno, "cannot make a pipe to a server");
	return r;
}

int run_server_place(
	const struct run_server *server, struct vm_drive *drive, struct ramet_error *err)
{
	const struct attachment *attachment = &server->serving.attachment;
	const char *file = server->files.data;
	for (size_t i = 0; i < attachment->devices.count; i++, file += strlen(file) + 1) {
		const struct attachment_device *device = &attachment->devices.items[i];
		if (strcmp(device->name, drive->id) != 0)
			continue;
		bool is_file = server->kind == VM_DRIVE_FILE || server->kind == VM_DRIVE_PMEM;
		drive->path = is_file ? file : device->place;
		/* What is written goes through the guest's block layer: it knows how to flush. */
		drive->kind = server->kind == VM_DRIVE_PMEM && !device->read_only ? VM_DRIVE_FILE
										  : server->kind;
		drive->export = device->name;
		return 0;
	}
	if (!drive->path)
		return error_set(err, ENOENT, "drive %s is lazy, and it is not served", drive->id);
	return 0;
}

static void watch(struct run_server *server)
{
	cleanup_close(&server->pidfd);
	server->pidfd = pidfd_open(server->serving.attachment.pid, 0);
}

int run_server_start(struct run_server *server, struct ramet_error *err)
{
	int r = serving_start(&server->serving, server->store, server->lock, server->life[0], err);
	cleanup_close(&server->life[0]);
	server->life[0] = -1;
	if (r == 0)
		watch(server);
	return r;
}

int run_server_again(struct run_server *server)
{
	struct serving *serving = &server->serving;
	_cleanup_server_answer_ struct server_answer answer = {0};
	struct ramet_error ignored;
	_cleanup_close_ int folder = attachment_folder(server->store, serving->fork.name, &ignored);
	if (folder >= 0 && attachment_is_unwanted(folder))
		return -ECANCELED;
	/* What the one that was killed had counted is kept beside what this one counts. */
	int64_t serial = figures_next(serving->fork.folder, &ignored);
	if (serial >= 0)
		serving->config.serial = serial;
	if (server_start(&serving->config, serving->fds.items, serving->fds.count, &answer,
		    &ignored) < 0)
		return -1;
	serving->attachment.pid = answer.pid;
	if (folder >= 0)
		attachment_save(folder, &serving->attachment, &ignored);
	watch(server);
	return server->pidfd;
}

/* Only what a run read to its end is worth keeping; a run that read nothing says nothing. */
static void keep_record(struct run_server *server)
{
	struct stat st;
	struct ramet_error ignored;
	if (server->record.fd >= 0 && fstat(server->record.fd, &st) == 0 && st.st_size > 0)
		outfile_publish(&server->record, &ignored);
	outfile_close(&server->record);
}

void run_server_end(struct run_server *server)
{
	const char *name = server->serving.fork.name;
	bool started = server->serving.attachment.pid > 0;
	struct ramet_error ignored;
	/* Our copies of its locks would make a server that has ended look alive. */
	serving_let_go(&server->serving);
	for (size_t i = 0; i < ARRAY_SIZE(server->life); i++)
		cleanup_close(&server->life[i]);
	if (started) {
		attachment_end(server->store, name, &server->serving.attachment, &ignored);
		keep_record(server);
	}
	if (name && server->store)
		attachment_clear(server->store, name, &ignored);
	cleanup_close(&server->pidfd);
	outfile_close(&server->record);
	text_free(&server->files);
	serving_free(&server->serving);
	*server = (struct run_server)RUN_SERVER_NONE;
}
