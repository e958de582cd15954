/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "store/batch.h"
#include "store/catalogue.h"

enum { RESERVE_SIZE = 256 << 10 };

/* The folder to use when none was named. */
static int default_root(struct text *path, struct ramet_error *err)
{
	const char *root = getenv("RAMET_ROOT"), *data = getenv("XDG_DATA_HOME"),
		   *home = getenv("HOME");
	if (root && *root)
		text_append(path, root);
	else if (geteuid() == 0)
		text_append(path, "/var/lib/ramet");
	else if (data && *data == '/')
		text_format(path, "%s/ramet", data);
	else if (home && *home == '/')
		text_format(path, "%s/.local/share/ramet", home);
	else
		return error_set(err, ENOENT,
			"there is no place for the store: neither RAMET_ROOT nor HOME "
			"is set; name a folder with --root");
	return 0;
}

static int make_folders(char *path)
{
	for (char *slash = strchr(path + 1, '/');; slash = strchr(slash + 1, '/')) {
		if (slash)
			*slash = '\0';
		int r = mkdir(path, 0755);
		int code = errno;
		if (slash)
			*slash = '/';
		if (r < 0 && code != EEXIST)
			return -code;
		if (!slash)
			return 0;
	}
}

static int open_folder(struct ramet_store *store, const char *path, struct ramet_error *err)
{
	store->dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (store->dirfd >= 0)
		store->root = realpath(path, NULL);
	if (!store->root)
		return error_errno(err, errno, "cannot open the store's folder %s", path);
	if (mkdirat(store->dirfd, "forks", 0755) < 0 && errno != EEXIST)
		return error_errno(err, errno, "cannot make the folder %s/forks", store->root);
	store->forks_fd = openat(store->dirfd, "forks", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (store->forks_fd < 0)
		return error_errno(err, errno, "cannot open the folder %s/forks", store->root);
	store->makers_fd = openat(store->dirfd, "makers", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (store->makers_fd < 0)
		return error_errno(err, errno, "cannot open %s/makers", store->root);
	return 0;
}

/* Put some room aside, when there is any: a removal may find none. */
static void reserve_make(struct ramet_store *store)
{
	if (faccessat(store->dirfd, "reserve", F_OK, 0) == 0)
		return;
	_cleanup_close_ int fd = openat(
		store->dirfd, "reserve", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd >= 0 && fallocate(fd, 0, 0, RESERVE_SIZE) < 0)
		unlinkat(store->dirfd, "reserve", 0);
}

bool store_reserve_use(struct ramet_store *store)
{
	return unlinkat(store->dirfd, "reserve", 0) == 0;
}

static int open_at(struct ramet_store *store, char *path, struct ramet_error *err)
{
	int r = make_folders(path);
	if (r < 0)
		return error_errno(err, -r, "cannot make the store's folder %s", path);
	r = open_folder(store, path, err);
	if (r == 0)
		r = catalogue_open(store, err);
	if (r < 0)
		return r;
	/* What cannot be undone now, on a full disk say, is not seen and harms nobody; and the
	 * store must open for a fork to be removed. */
	struct ramet_error failure = {0};
	r = store_recover(store, &failure);
	reserve_make(store);
	if (r != -EUCLEAN && r != -ENOMEM)
		return 0;
	return error_set(err, -r, "%s", failure.message);
}

int ramet_store_open(const char *root, struct ramet_store **out, struct ramet_error *err)
{
	_cleanup_text_ struct text path = {0};
	int r = 0;
	if (root)
		text_append(&path, root);
	else
		r = default_root(&path, err);
	if (r < 0)
		return r;
	if (path.failed)
		return error_memory(err);
	if (path.length == 0)
		return error_set(err, EINVAL, "the store's folder is named by an empty string");
	struct ramet_store *store = malloc(sizeof *store);
	if (!store)
		return error_memory(err);
	*store = (struct ramet_store){.dirfd = -1, .forks_fd = -1, .makers_fd = -1};
	r = open_at(store, path.data, err);
	if (r < 0)
		ramet_store_close(store);
	else
		*out = store;
	return r;
}

void ramet_store_close(struct ramet_store *store)
{
	if (!store)
		return;
	catalogue_close(store);
	cleanup_close(&store->makers_fd);
	cleanup_close(&store->forks_fd);
	cleanup_close(&store->dirfd);
	free(store->root);
	free(store);
}

const char *ramet_store_root(const struct ramet_store *store)
{
	return store->root;
}
