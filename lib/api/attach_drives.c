/* SPDX-License-Identifier: Apache-2.0 */
/* The drives of a fork, and the files and folders that their server is given open. */
#include "api/attach_drives.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "api/source_words.h"
#include "base/cleanup.h"
#include "image/lazy.h"

/* A drive of a fork, as the catalogue has it. */
struct drive {
	const char *name, *path;
	const char *digest; /* of the file */
	int64_t image;      /* its row; 0: a volume */
	bool lazy, made;
};

void serving_let_go(struct serving *serving)
{
	for (size_t i = 0; i < serving->fds.count; i++)
		cleanup_close(&serving->fds.items[i]);
	vector_free(&serving->fds);
}

void serving_free(struct serving *serving)
{
	serving_let_go(serving);
	store_fork_free(&serving->fork);
	server_config_free(&serving->config);
	attachment_free(&serving->attachment);
	free(serving->meant);
}

int serving_keep(struct serving *serving, int fd)
{
	int *place = vector_push(&serving->fds);
	if (place)
		*place = fd;
	else
		close(fd);
	return place ? 0 : -ENOMEM;
}

int record_path(const struct ramet_store *store, int64_t image, struct text *path)
{
	text_format(path, "%s/records/%lld", store->root, (long long)image);
	return path->failed ? -ENOMEM : 0;
}

/* Its roots' folders. */
static int add_roots(struct serving *serving, struct ramet_store *store, const struct drive *drive,
	const struct ramet_attach_options *options, struct server_device *device,
	struct ramet_error *err)
{
	_cleanup_source_words_ struct source_words words = {0};
	_cleanup_lazy_ struct lazy *lazy = NULL;
	struct lazy_facts facts;
	int r = lazy_open((int)device->fd, drive->path, &lazy, err);
	if (r < 0)
		return r;
	lazy_describe(lazy, &facts);
	r = source_words_load(&words, store, drive->image, options->sources, err);
	if (r == 0 && facts.roots)
		r = source_words_check(&words, drive->path, lazy_root(lazy, 0), facts.roots, err);
	for (uint32_t i = 0; i < facts.roots && r == 0; i++) {
		const struct source_root root = {.lazy = drive->path,
			.path = lazy_root(lazy, i),
			.number = i + 1,
			.count = facts.roots,
			.made = drive->made};
		int fd = source_words_open(&words, &root, NULL, err);
		if (fd >= 0 && serving_keep(serving, fd) < 0)
			fd = error_memory(err);
		int *place = fd < 0 ? NULL : vector_push(&device->roots);
		r = fd < 0 ? fd : place ? 0 : error_memory(err);
		if (r == 0)
			*place = fd;
	}
	for (size_t i = 0; r == 0 && words.given && words.given[i]; i++)
		serving->meant[i] = serving->meant[i] || words.meant[i];
	return r;
}

static int open_file(
	struct serving *serving, const struct drive *drive, bool read_only, struct ramet_error *err)
{
	int fd = open(drive->path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	if (fd < 0)
		return error_errno(err, errno, "cannot open %s", drive->path);
	return serving_keep(serving, fd) < 0 ? error_memory(err) : fd;
}

/* What an earlier run recorded; there need not be any. */
static int open_record(struct serving *serving, const struct ramet_store *store, int64_t image)
{
	_cleanup_text_ struct text path = {0};
	if (record_path(store, image, &path) < 0)
		return -ENOMEM;
	int fd = open(path.data, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -1 : serving_keep(serving, fd) < 0 ? -ENOMEM : fd;
}

static int describe(struct serving *serving, const struct drive *drive, bool read_only,
	struct server_device *device, struct ramet_error *err)
{
	struct attachment_device *noted = attachment_add(&serving->attachment);
	if (!noted)
		return error_memory(err);
	bool has_digest = strncmp(drive->digest, "sha256:", 7) == 0;
	device->name = strdup(drive->name);
	device->path = strdup(drive->path);
	device->identity = strdup(has_digest ? drive->digest + 7 : "");
	device->read_only = noted->read_only = read_only;
	device->lazy = noted->lazy = drive->lazy;
	noted->name = strdup(drive->name);
	noted->file = strdup(drive->path);
	noted->place = strdup("");
	return device->name && device->path && device->identity && noted->name && noted->file &&
			       noted->place
		       ? 0
		       : error_memory(err);
}

static int add_drive(struct serving *serving, struct ramet_store *store, const struct drive *drive,
	const struct ramet_attach_options *options, int record, struct ramet_error *err)
{
	bool read_only = drive->image || options->read_only;
	struct server_device *device = server_config_add(&serving->config);
	int r = device ? describe(serving, drive, read_only, device, err) : error_memory(err);
	if (r < 0)
		return r;
	device->fd = open_file(serving, drive, read_only, err);
	if (device->fd < 0)
		return (int)device->fd;
	if (drive->image && drive->lazy)
		r = add_roots(serving, store, drive, options, device, err);
	if (r == 0 && drive->image && !options->no_prefetch)
		device->replay = open_record(serving, store, drive->image);
	if (strcmp(drive->name, "base") == 0)
		device->record = record;
	return device->replay == -ENOMEM ? error_memory(err) : r;
}

/* All drives of the fork, in the order in which a guest has them; answers how many. */
static size_t list_drives(const struct store_fork *fork, char names[static RAMET_CHAIN_MAX][16],
	struct drive drives[static RAMET_CHAIN_MAX + 2])
{
	size_t count = 0;
	if (strcmp(fork->mode, "clone") != 0)
		drives[count++] = (struct drive){.name = "base",
			.path = fork->base_plain ? fork->base_plain : fork->base,
			.digest = fork->base_digest,
			.image = fork->base_image,
			.lazy = !fork->base_plain,
			.made = fork->base_made};
	for (size_t i = 0; i < fork->layers.count && i < RAMET_CHAIN_MAX; i++) {
		const struct store_layer *layer = &fork->layers.items[i];
		snprintf(names[i], sizeof names[i], "layer%zu", i + 1);
		drives[count++] = (struct drive){.name = names[i],
			.path = layer->plain ? layer->plain : layer->path,
			.digest = layer->digest,
			.image = layer->image,
			.lazy = !layer->plain,
			.made = layer->made};
	}
	drives[count++] = (struct drive){.name = "volume", .path = fork->volume, .digest = ""};
	return count;
}

static bool has_become_plain(const struct store_fork *fork)
{
	bool plain = fork->base_lazy && fork->base_plain;
	for (size_t i = 0; i < fork->layers.count; i++)
		plain = plain || (fork->layers.items[i].lazy && fork->layers.items[i].plain);
	return plain;
}

int serving_add_drives(struct serving *serving, struct ramet_store *store,
	const struct ramet_attach_options *options, int record, struct ramet_error *err)
{
	char names[RAMET_CHAIN_MAX][16];
	struct drive drives[RAMET_CHAIN_MAX + 2];
	size_t count = list_drives(&serving->fork, names, drives);
	bool some_lazy = false;
	for (size_t i = 0; i < count; i++)
		some_lazy = some_lazy || drives[i].lazy;
	serving->meant = source_words_marks(options->sources);
	int r = serving->meant ? 0 : error_memory(err);
	for (size_t i = 0; i < count && r == 0; i++)
		if (options->all || !some_lazy || drives[i].lazy)
			r = add_drive(serving, store, &drives[i], options, record, err);
	/* Of what was made a plain file meanwhile nobody needs the folders. */
	if (r == 0 && !has_become_plain(&serving->fork))
		r = source_words_refuse_idle(
			options->sources, serving->meant, serving->fork.name, err);
	return r;
}

/* The server has another folder than ours. */
static void append_absolute(struct text *text, const char *path)
{
	_cleanup_free_ char *folder = *path == '/' ? NULL : realpath(".", NULL);
	if (folder)
		text_format(text, "%s/", folder);
	text_append(text, path);
}

static int make_folder(const char *path, struct ramet_error *err)
{
	return mkdir(path, 0700) < 0 && errno != EEXIST
		       ? error_errno(err, errno, "cannot make the folder %s", path)
		       : 0;
}

/* The address of a kernel's device is a name to find it by again. */
static void write_place(
	const struct serving *serving, const char *device, const char *address, struct text *place)
{
	const struct export_ops *ops = serving->ops;
	bool single = ops->many || serving->config.devices.count == 1;
	const char *suffix = ops->place == EXPORT_SOCKET ? ".sock" : "";
	if (ops->place == EXPORT_KERNEL_DEVICE)
		text_format(place, "%s/export", serving->fork.folder);
	else if (!address)
		text_format(place, "%s/export/%s%s", serving->fork.folder,
			ops->many ? ops->name : device, suffix);
	else if (!strchr(address, '/') && strchr(address, ':')) /* HOST:PORT */
		text_append(place, address);
	else if (single)
		append_absolute(place, address);
	else {
		append_absolute(place, address);
		text_format(place, "/%s%s", device, suffix);
	}
}

int serving_add_places(struct serving *serving, const char *address, struct ramet_error *err)
{
	int r = 0;
	if (address && serving->ops->place == EXPORT_KERNEL_DEVICE)
		return error_set(err, EINVAL,
			"the kernel chooses the device that is attached via %s: leave --address away",
			serving->ops->name);
	if (address && !serving->ops->many && serving->config.devices.count > 1)
		r = make_folder(address, err);
	for (size_t i = 0; i < serving->config.devices.count && r == 0; i++) {
		struct server_device *device = &serving->config.devices.items[i];
		struct attachment_device *noted = &serving->attachment.devices.items[i];
		_cleanup_text_ struct text place = {0};
		write_place(serving, device->name, address, &place);
		if (place.failed)
			return error_memory(err);
		device->address = strdup(place.data);
		free(noted->place);
		noted->place = TAKE_PTR(place.data);
		if (!device->address)
			return error_memory(err);
		if (serving->ops->place == EXPORT_FOLDER)
			r = make_folder(device->address, err);
	}
	return r;
}
