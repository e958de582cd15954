/* SPDX-License-Identifier: Apache-2.0 */
#include "api/fork_lazy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/attach_drives.h"
#include "api/materializing.h"
#include "base/cleanup.h"
#include "store/images.h"

static int open_folder(struct ramet_store *store)
{
	int fd = openat(store->dirfd, "lazy", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int take_folder(struct ramet_store *store, struct ramet_error *err)
{
	if (mkdirat(store->dirfd, "lazy", 0755) < 0 && errno != EEXIST)
		return error_errno(err, errno, "cannot make the folder %s/lazy", store->root);
	int fd = open_folder(store);
	if (fd < 0)
		return error_errno(err, -fd, "cannot open the folder %s/lazy", store->root);
	if (flock(fd, LOCK_SH) < 0) {
		int r = error_errno(err, errno, "cannot lock the folder %s/lazy", store->root);
		close(fd);
		return r;
	}
	return fd;
}

static int choose_path(
	struct ramet_store *store, const char *name, struct text *path, struct ramet_error *err)
{
	uint32_t word;
	if (getrandom(&word, sizeof word, 0) != sizeof word)
		return error_errno(err, errno, "there are no random numbers to be had");
	text_format(path, "%s/lazy/%s-%08x.lazy", store->root, name, word);
	return path->failed ? error_memory(err) : 0;
}

int fork_lazy_make(struct ramet_store *store, const struct ramet_fork_options *options,
	struct fork_lazy *lazy, struct ramet_fork_result *result, struct ramet_error *err)
{
	fork_lazy_sweep(store);
	lazy->folder = take_folder(store, err);
	if (lazy->folder < 0)
		return lazy->folder;
	int r = choose_path(store, options->name, &lazy->path, err);
	if (r < 0)
		return r;
	const struct ramet_build_options build = {.source = options->base,
		.output = lazy->path.data,
		.format = options->format,
		.lazy = true,
		.note = options->note,
		.note_ctx = options->note_ctx};
	struct ramet_build_result built;
	r = ramet_build(NULL, &build, &built, err);
	if (r < 0)
		return r;
	result->lazy = true;
	result->lazy_entries = built.entries;
	result->lazy_content_bytes = built.content_bytes;
	const struct store_image_facts facts = {
		.format = options->format ? options->format : "squashfs",
		.digest = built.digest,
		.lazy = true,
		.made = true,
		.owned = true};
	return store_image_add(store, lazy->path.data, &facts, err);
}

void fork_lazy_end(struct fork_lazy *lazy)
{
	cleanup_close(&lazy->folder);
	text_free(&lazy->path);
}

/* Remove the file when no fork stands on it. Whether it was. */
static bool remove_unused(struct ramet_store *store, int folder, const char *name)
{
	_cleanup_text_ struct text path = {0};
	_cleanup_text_ struct text record = {0};
	int64_t image = 0;
	text_format(&path, "%s/lazy/%s", store->root, name);
	struct ramet_error ignored;
	if (path.failed || store_image_forget(store, path.data, &image, &ignored) < 0)
		return false;
	if (record_path(store, image, &record) == 0)
		unlink(record.data);
	materializing_forget(store, image);
	return unlinkat(folder, name, 0) == 0;
}

void fork_lazy_sweep(struct ramet_store *store)
{
	int folder = open_folder(store);
	DIR *directory = folder < 0 ? NULL : fdopendir(folder);
	if (!directory) {
		cleanup_close(&folder);
		return;
	}
	bool some = flock(folder, LOCK_EX | LOCK_NB) == 0;
	/* What was made of a lazy file is free once that is gone. */
	while (some) {
		struct dirent *entry;
		some = false;
		rewinddir(directory);
		while ((entry = readdir(directory)))
			if (entry->d_name[0] != '.')
				some |= remove_unused(store, folder, entry->d_name);
	}
	closedir(directory);
}
