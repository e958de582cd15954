/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening a store after somebody was killed, or after the power went (batch.c tells what may be
 * left). Usually there is nothing to do, and that costs two look-ups.
 *
 * Two processes may recover at once, so each first makes the dead batch its own in a write
 * transaction; were it not so, the slower could remove the folder of a fork that a third process
 * has made since under the same name.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/folder.h"
#include "store/batch.h"
#include "store/catalogue.h"

static bool is_alive(struct ramet_store *store, int64_t batch)
{
	struct flock byte = {
		.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)batch, .l_len = 1};
	/* What cannot be asked is left alone. */
	return fcntl(store->makers_fd, F_OFD_GETLK, &byte) < 0 || byte.l_type != F_UNLCK;
}

/* The first unfinished batch after `after` whose maker is dead, 0 for none. */
static int find_dead(
	struct ramet_store *store, int64_t after, int64_t *dead, struct ramet_error *err)
{
	for (*dead = after;;) {
		int r = catalogue_number(store, dead, err,
			"SELECT batch FROM fork WHERE state != 'ready' AND batch > ? "
			"ORDER BY batch LIMIT 1",
			"i", *dead);
		if (r < 0 || *dead == 0 || !is_alive(store, *dead))
			return r;
	}
}

static int take_over(struct ramet_store *store, int64_t dead, int64_t *id, struct ramet_error *err)
{
	_cleanup_transaction_ struct transaction transaction;
	int r = transaction_begin(&transaction, store, false, err);
	if (r == 0)
		r = batch_lock(store, id, err);
	if (r < 0)
		return r;
	r = catalogue_run(store, err,
		"UPDATE fork SET batch = ? WHERE batch = ? AND state != 'ready'", "ii", *id, dead);
	if (r == 0)
		r = transaction_commit(&transaction, err);
	if (r < 0)
		batch_unlock(store, *id);
	return r;
}

static int erase_dead(struct ramet_store *store, struct ramet_error *err)
{
	int64_t dead = 0, id;
	for (;;) {
		int r = find_dead(store, dead, &dead, err);
		if (r < 0 || dead == 0)
			return r;
		r = take_over(store, dead, &id, err);
		if (r < 0)
			return r;
		r = batch_erase(store, id, err);
		batch_unlock(store, id);
		if (r < 0)
			return error_prefix(
				err, r, "cannot undo what a killed process left half made");
	}
}

/* Whether the folder has no row, and is known to be unfinished or to be removed. */
static int is_stray(
	struct ramet_store *store, const char *name, bool *stray, struct ramet_error *err)
{
	struct stat st;
	*stray = false;
	if (fstatat(store->forks_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode))
		return 0;
	bool unfinished = (st.st_mode & 07777) == FOLDER_UNFINISHED;
	int64_t answer = 0;
	int r = catalogue_number(store, &answer, err,
		"SELECT NOT EXISTS (SELECT 1 FROM fork WHERE name = ?1) AND "
		"(?2 OR EXISTS (SELECT 1 FROM removed WHERE name = ?1))",
		"si", name, (int64_t)unfinished);
	*stray = answer;
	return r;
}

static int sweep_folders(struct ramet_store *store, struct ramet_error *err)
{
	int fd = openat(store->forks_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		int r = error_errno(err, errno, "cannot read the folder %s/forks", store->root);
		cleanup_close(&fd);
		return r;
	}
	int r = 0;
	struct dirent *entry;
	while (r == 0 && (entry = readdir(dir))) {
		bool stray = false;
		r = entry->d_name[0] == '.' ? 0 : is_stray(store, entry->d_name, &stray, err);
		if (r == 0 && stray && (r = folder_remove(store->forks_fd, entry->d_name)) < 0)
			r = error_errno(err, -r, "cannot remove the unfinished folder %s/forks/%s",
				store->root, entry->d_name);
	}
	closedir(dir);
	return r;
}

/* Strays come from a loss of power only, so they are looked for once in each boot. The write
 * transaction keeps others from making a fork, row first, between the look and the removal. */
static int sweep_once(struct ramet_store *store, struct ramet_error *err)
{
	_cleanup_free_ char *boot = NULL;
	if (read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &boot, NULL) < 0)
		return 0; /* without /proc it cannot be known; the next boot may have it */
	int64_t swept = 0;
	static const char seen[] = "SELECT count(*) FROM meta WHERE key = 'boot' AND value = ?";
	int r = catalogue_number(store, &swept, err, seen, "s", boot);
	if (r < 0 || swept)
		return r;
	_cleanup_transaction_ struct transaction transaction;
	r = transaction_begin(&transaction, store, false, err);
	if (r == 0)
		r = catalogue_number(store, &swept, err, seen, "s", boot);
	if (r == 0 && !swept)
		r = sweep_folders(store, err);
	if (r == 0)
		r = catalogue_run(store, err, "DELETE FROM removed", "");
	if (r == 0)
		r = catalogue_run(
			store, err, "INSERT OR REPLACE INTO meta VALUES('boot', ?)", "s", boot);
	return r < 0 ? r : transaction_commit(&transaction, err);
}

int store_recover(struct ramet_store *store, struct ramet_error *err)
{
	int r = sweep_once(store, err);
	return r < 0 ? r : erase_dead(store, err);
}
