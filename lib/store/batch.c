/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a fork, and why a kill or a loss of power at any moment leaves nothing half made.
 *
 * Making. (1) One transaction puts a row for each fork into the catalogue, state 'making': the
 * names are reserved, and the catalogue's UNIQUE decides between two processes. (2) Folders and
 * volumes are written. (3) They are synced. (4) One durable transaction turns the rows 'ready'.
 * Only 'ready' forks are ever seen.
 *
 * Removing. (1) A durable transaction turns the row 'removing', under the fork's lock. (2) The
 * files go. (3) The row goes.
 *
 * Who is at work. Every making and removing is a batch with a number that is never used again. Its
 * maker keeps byte N of ROOT/makers locked (an open file description lock) from before the rows are
 * there until they are done. The kernel drops the lock with the process, so a row that is not ready
 * and whose byte is free is a dead maker's: no guessing by pids. Whoever opens the store takes such
 * rows over, as a batch of its own, and erases them (recover.c).
 *
 * Power. Two things are not synced: step (1) of making, so files may be there whose rows are lost;
 * and step (2) of removing, so files may be back whose row is gone. The first open after a boot
 * removes both, and knows them for certain: a folder is made with the sticky bit set and loses it
 * after (4), and step (3) leaves the name in the table `removed`. A folder that has neither is never
 * removed for want of a row: it was a whole fork once, and its catalogue was lost, or put back from
 * an older copy.
 *
 * Syncs: few forks are synced file by file (the volume, its folder, ROOT/forks, the catalogue: 4),
 * many by one syncfs(2), which also writes what others have dirty there, and the catalogue.
 */
#include "store/batch.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/folder.h"
#include "store/catalogue.h"

/* From here on one syncfs is cheaper than syncing each. */
enum { SYNC_EACH_MAX = 4 };

unsigned store_plan_count(const struct store_plan *plan)
{
	return plan->count ? plan->count : 1;
}

void store_plan_name(
	const struct store_plan *plan, unsigned index, char name[static STORE_NAME_SIZE])
{
	if (plan->count)
		snprintf(name, STORE_NAME_SIZE, "%.*s-%u", STORE_NAME_MAX, plan->name, index + 1);
	else
		snprintf(name, STORE_NAME_SIZE, "%.*s", STORE_NAME_MAX, plan->name);
}

int store_plan_check(const struct store_plan *plan, struct ramet_error *err)
{
	const char *name = plan->name;
	bool good = isalnum((unsigned char)*name) && isascii(*name);
	for (const char *c = name; good && *c; c++)
		good = isascii(*c) && (isalnum((unsigned char)*c) || strchr("._-", *c));
	if (!good)
		return error_set(err, EINVAL,
			"'%s' cannot be a fork's name: it may have letters, digits, '.', '_' and "
			"'-', and starts with a letter or a digit",
			name);
	int longest = plan->count ? snprintf(NULL, 0, "%s-%u", name, plan->count)
				  : (int)strlen(name);
	if (longest > STORE_NAME_MAX)
		return error_set(err, EINVAL,
			"the name '%s' is too long: a fork's name has at most %d bytes%s", name,
			STORE_NAME_MAX, plan->count ? ", its number included" : "");
	return 0;
}

static struct flock byte_of(int64_t id)
{
	return (struct flock){
		.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)id, .l_len = 1};
}

int batch_lock(struct ramet_store *store, int64_t *id, struct ramet_error *err)
{
	int r = catalogue_number(
		store, id, err, "UPDATE batch SET last = last + 1 RETURNING last", "");
	if (r < 0)
		return r;
	struct flock byte = byte_of(*id);
	if (fcntl(store->makers_fd, F_OFD_SETLK, &byte) < 0)
		return error_errno(err, errno, "cannot lock %s/makers", store->root);
	return 0;
}

void batch_unlock(struct ramet_store *store, int64_t id)
{
	struct flock byte = byte_of(id);
	byte.l_type = F_UNLCK;
	fcntl(store->makers_fd, F_OFD_SETLK, &byte);
}

/* Between "is it there?" and the insert lies nothing: both are in one write transaction. */
static int refuse_existing(struct ramet_store *store, const char *name, struct ramet_error *err)
{
	_cleanup_statement_ sqlite3_stmt *query = NULL;
	int r = catalogue_prepare(
		store, &query, err, "SELECT state FROM fork WHERE name = ?", "s", name);
	if (r == 0)
		r = catalogue_step(store, query, err);
	if (r <= 0)
		return r;
	const char *state = (const char *)sqlite3_column_text(query, 0);
	bool ready = !state || strcmp(state, "ready") == 0;
	return error_set(err, EEXIST, "the fork %s exists already%s%s%s", name,
		ready ? "; choose another name or remove it" : " (another process is ",
		ready ? "" : state, ready ? "" : " it just now)");
}

static int insert_rows(struct store_batch *batch, struct ramet_error *err)
{
	const struct store_plan *plan = &batch->plan;
	_cleanup_statement_ sqlite3_stmt *insert = NULL;
	int r = catalogue_prepare(batch->store, &insert, err,
		"INSERT INTO fork(image, mode, provider, size, created, state, batch, name) "
		"VALUES(?, ?, ?, ?, ?, 'making', ?, ?)",
		"issiii", plan->image, plan->mode, plan->provider, (int64_t)plan->size,
		(int64_t)time(NULL), batch->id);
	for (unsigned i = 0; r == 0 && i < store_plan_count(plan); i++) {
		char name[STORE_NAME_SIZE];
		store_plan_name(plan, i, name);
		r = refuse_existing(batch->store, name, err);
		if (r < 0)
			break;
		sqlite3_reset(insert);
		sqlite3_bind_text(insert, 7, name, -1, SQLITE_TRANSIENT);
		r = catalogue_step(batch->store, insert, err);
	}
	return r;
}

static int insert_layers(struct store_batch *batch, struct ramet_error *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < batch->plan.layer_count; i++)
		r = catalogue_run(batch->store, err,
			"INSERT INTO fork_layer SELECT id, ?, ? FROM fork WHERE batch = ? "
			"AND state = 'making'",
			"iii", (int64_t)i + 1, batch->plan.layers[i], batch->id);
	return r;
}

int store_batch_begin(struct ramet_store *store, const struct store_plan *plan,
	struct store_batch *batch, struct ramet_error *err)
{
	*batch = (struct store_batch){
		.plan = *plan, .sync_each = store_plan_count(plan) <= SYNC_EACH_MAX};
	int r = store_plan_check(plan, err);
	if (r == 0)
		r = store_recover(store, err);
	if (r < 0)
		return r;
	_cleanup_transaction_ struct transaction transaction;
	r = transaction_begin(&transaction, store, false, err);
	if (r == 0)
		r = batch_lock(store, &batch->id, err);
	if (r < 0)
		return r;
	batch->store = store;
	r = insert_rows(batch, err);
	if (r == 0)
		r = insert_layers(batch, err);
	if (r == 0)
		r = transaction_commit(&transaction, err);
	if (r < 0) {
		batch_unlock(store, batch->id);
		batch->store = NULL;
	}
	return r;
}

int store_batch_folder(struct store_batch *batch, unsigned index, struct ramet_error *err)
{
	char name[STORE_NAME_SIZE];
	store_plan_name(&batch->plan, index, name);
	int forks = batch->store->forks_fd;
	/* Marked from the first moment on: mkdir(2) takes the sticky bit on Linux. */
	if (mkdirat(forks, name, FOLDER_UNFINISHED) < 0)
		return errno == EEXIST
			       ? error_set(err, EEXIST,
					 "the folder %s/forks/%s is in the way: it is not in the "
					 "catalogue; move it elsewhere",
					 batch->store->root, name)
			       : error_errno(err, errno, "cannot make the folder %s/forks/%s",
					 batch->store->root, name);
	int fd = openat(forks, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd >= 0 ? fd
		       : error_errno(err, errno, "cannot open the folder %s/forks/%s",
				 batch->store->root, name);
}

static int sync_folder(struct store_batch *batch, const char *name)
{
	_cleanup_close_ int fd = openat(
		batch->store->forks_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static int sync_files(struct store_batch *batch, struct ramet_error *err)
{
	int forks = batch->store->forks_fd, r = 0;
	if (!batch->sync_each && syncfs(forks) < 0)
		r = -errno;
	for (unsigned i = 0; batch->sync_each && r == 0 && i < store_plan_count(&batch->plan);
		i++) {
		char name[STORE_NAME_SIZE];
		store_plan_name(&batch->plan, i, name);
		r = sync_folder(batch, name);
	}
	if (batch->sync_each && r == 0 && fsync(forks) < 0)
		r = -errno;
	return r < 0 ? error_errno(err, -r, "cannot write the forks in %s/forks to their disk",
			       batch->store->root)
		     : 0;
}

int store_batch_finish(struct store_batch *batch, struct ramet_error *err)
{
	int r = sync_files(batch, err);
	if (r < 0)
		return r;
	_cleanup_transaction_ struct transaction transaction;
	r = transaction_begin(&transaction, batch->store, true, err);
	if (r == 0)
		r = catalogue_run(batch->store, err,
			"UPDATE fork SET state = 'ready' WHERE batch = ? AND state = 'making'", "i",
			batch->id);
	if (r == 0)
		r = transaction_commit(&transaction, err);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < store_plan_count(&batch->plan); i++) {
		char name[STORE_NAME_SIZE];
		store_plan_name(&batch->plan, i, name);
		/* A mark that stays does no harm as long as the row is there. */
		if (fchmodat(batch->store->forks_fd, name, FOLDER_READY, 0) < 0)
			continue;
	}
	batch_unlock(batch->store, batch->id);
	batch->store = NULL;
	return 0;
}

void store_batch_abandon(struct store_batch *batch)
{
	if (!batch->store)
		return;
	/* What cannot be erased now, on a disk that fails say, is the next open's to try. */
	batch_erase(batch->store, batch->id, NULL);
	batch_unlock(batch->store, batch->id);
	batch->store = NULL;
}

/* Of a fork in the making only a folder that bears the mark is ours: one that was in the way, and
 * made store_batch_folder fail, is not. */
static int erase_folder(
	struct ramet_store *store, const char *name, bool making, struct ramet_error *err)
{
	struct stat st;
	if (making && (fstatat(store->forks_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
			      (st.st_mode & 07777) != FOLDER_UNFINISHED))
		return 0;
	int r = folder_remove(store->forks_fd, name);
	return r < 0 ? error_errno(
			       err, -r, "cannot remove the folder %s/forks/%s", store->root, name)
		     : 0;
}

int batch_erase(struct ramet_store *store, int64_t id, struct ramet_error *err)
{
	_cleanup_statement_ sqlite3_stmt *query = NULL;
	int r = catalogue_prepare(store, &query, err,
		"SELECT name, state = 'making' FROM fork WHERE batch = ? AND state != 'ready'", "i",
		id);
	while (r == 0 && (r = catalogue_step(store, query, err)) > 0)
		r = erase_folder(store, (const char *)sqlite3_column_text(query, 0),
			sqlite3_column_int(query, 1), err);
	sqlite3_reset(query);
	if (r < 0)
		return r;
	_cleanup_transaction_ struct transaction transaction;
	r = transaction_begin(&transaction, store, false, err);
	if (r == 0)
		r = catalogue_run(store, err,
			"INSERT OR IGNORE INTO removed SELECT name FROM fork "
			"WHERE batch = ? AND state = 'removing'",
			"i", id);
	if (r == 0)
		r = catalogue_run(store, err,
			"DELETE FROM fork WHERE batch = ? AND state != 'ready'", "i", id);
	return r < 0 ? r : transaction_commit(&transaction, err);
}

/* Answers the batch in *id, locked. */
static int mark_removing(
	struct ramet_store *store, const char *name, int64_t *id, struct ramet_error *err)
{
	_cleanup_transaction_ struct transaction transaction;
	int r = transaction_begin(&transaction, store, true, err);
	if (r == 0)
		r = batch_lock(store, id, err);
	if (r < 0)
		return r;
	r = catalogue_run(store, err,
		"UPDATE fork SET state = 'removing', batch = ? WHERE name = ? AND state = 'ready'",
		"is", *id, name);
	if (r == 0)
		r = transaction_commit(&transaction, err);
	if (r < 0)
		batch_unlock(store, *id);
	return r;
}

int store_fork_remove(struct ramet_store *store, const char *name, struct ramet_error *err)
{
	_cleanup_lock_ struct store_lock lock = STORE_LOCK_NONE;
	int r = store_fork_lock(store, name, &lock, err);
	if (r < 0)
		return r;
	int64_t id = 0;
	r = mark_removing(store, name, &id, err);
	if (r == -ENOSPC && store_reserve_use(store))
		r = mark_removing(store, name, &id, err);
	if (r < 0)
		return r;
	r = batch_erase(store, id, err);
	batch_unlock(store, id);
	return r;
}
