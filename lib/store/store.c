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

int ramet_store_open(const char *root, struct ramet_store **out, struct ramet_error *err)
{
	_cleanup_text_ struct text path = {0};
	if (root)
		text_append(&path, root);
	else if (default_root(&path, err) < 0)
		return -err->code;
	if (path.failed)
		return error_memory(err);
	if (path.length == 0)
		return error_set(err, EINVAL, "the store's folder is named by an empty string");
	int r = make_folders(path.data);
	if (r < 0)
		return error_errno(err, -r, "cannot make the store's folder %s", path.data);
	struct ramet_store *store = calloc(1, sizeof *store);
	if (!store)
		return error_memory(err);
	store->dirfd = open(path.data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	store->root = realpath(path.data, NULL);
	if (store->dirfd < 0 || !store->root) {
		r = error_errno(err, errno, "cannot open the store's folder %s", path.data);
		ramet_store_close(store);
		return r;
	}
	*out = store;
	return 0;
}

void ramet_store_close(struct ramet_store *store)
{
	if (!store)
		return;
	cleanup_close(&store->dirfd);
	free(store->root);
	free(store);
}

const char *ramet_store_root(const struct ramet_store *store)
{
	return store->root;
}
