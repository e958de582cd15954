/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/folder.h"
#include "store/batch.h"
#include "store/catalogue.h"
#include "store/images.h"
#include "store/roots.h"
#include "tests/unit/tap.h"

static char root[] = "/tmp/ramet-test-store.XXXXXX";
static char base[sizeof root + 16];
static struct ramet_error err;

static void write_file(const char *path, const char *text)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	CHECK(fd >= 0 && write_full(fd, text, strlen(text)) == 0);
}

static int add(
	struct ramet_store *store, const char *path, const char *format, const char *read_only)
{
	const struct store_image_facts facts = {.format = format, .read_only_paths = read_only};
	return store_image_add(store, path, &facts, &err);
}

/* An empty store with one image that no format would know: the store does not care. */
static struct ramet_store *fresh(void)
{
	struct ramet_store *store = NULL;
	folder_remove(AT_FDCWD, root);
	CHECK_EQ(ramet_store_open(root, &store, &err), 0);
	snprintf(base, sizeof base, "%s/base", root);
	write_file(base, "a base");
	CHECK_EQ(add(store, base, "squashfs", "/a\n/b c\n"), 0);
	return store;
}

static struct ramet_store *again(void)
{
	struct ramet_store *store = NULL;
	CHECK_EQ(ramet_store_open(root, &store, &err), 0);
	return store;
}

static int64_t ask(struct ramet_store *store, const char *sql)
{
	int64_t number = -1;
	CHECK_EQ(catalogue_number(store, &number, &err, sql, ""), 0);
	return number;
}

static struct store_plan plan_of(const char *name, unsigned count)
{
	return (struct store_plan){.image = 1,
		.name = name,
		.count = count,
		.provider = "file",
		.mode = "overlay",
		.size = 4096};
}

static int begin(
	struct ramet_store *store, const char *name, unsigned count, struct store_batch *batch)
{
	struct store_plan plan = plan_of(name, count);
	int r = store_batch_begin(store, &plan, batch, &err);
	for (unsigned i = 0; r == 0 && i < store_plan_count(&plan); i++) {
		_cleanup_close_ int folder = store_batch_folder(batch, i, &err);
		CHECK(folder >= 0);
		close(openat(folder, "volume", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	}
	return r;
}

static void make(struct ramet_store *store, const char *name, unsigned count)
{
	_cleanup_batch_ struct store_batch batch;
	CHECK_EQ(begin(store, name, count, &batch), 0);
	CHECK_EQ(store_batch_finish(&batch, &err), 0);
}

static bool is_there(const char *path)
{
	char whole[128];
	snprintf(whole, sizeof whole, "%s/%s", root, path);
	return access(whole, F_OK) == 0;
}

static void test_names(void)
{
	static const char *const bad[] = {"", ".", "..", "a/b", "-a", ".a", "a b", "a\n",
		"\xc3\xa4", "12345678901234567890123456789012345678901234567890123456789012345"};
	static const char *const good[] = {"a", "0", "vm-1", "A.b_c-",
		"1234567890123456789012345678901234567890123456789012345678901234"};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		CHECK_EQ(store_plan_check(&(struct store_plan){.name = bad[i]}, &err), -EINVAL);
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		CHECK_EQ(store_plan_check(&(struct store_plan){.name = good[i]}, &err), 0);
	CHECK_EQ(
		store_plan_check(&(struct store_plan){.name = good[4], .count = 1}, &err), -EINVAL);
}

static void test_only_finished_forks_are_seen(void)
{
	struct ramet_store *store = fresh(), *other = again();
	struct store_batch batch;
	CHECK_EQ(begin(store, "vm", 3, &batch), 0);
	_cleanup_forks_ struct store_forks forks;
	CHECK_EQ(store_forks_list(other, &forks, &err), 0);
	CHECK_EQ(forks.count, 0);
	CHECK_EQ(store_batch_finish(&batch, &err), 0);
	CHECK_EQ(store_forks_list(other, &forks, &err), 0);
	REQUIRE(forks.count == 3);
	CHECK_STR(forks.items[2].name, "vm-3");
	CHECK_STR(forks.items[2].read_only_paths, "/a\n/b c\n");
	CHECK_STR(forks.items[2].base_state, "unchanged");
	CHECK_STR(forks.items[2].format, "squashfs");
	ramet_store_close(other);
	ramet_store_close(store);
}

static void test_numbers_in_names_are_in_order(void)
{
	struct ramet_store *store = fresh();
	make(store, "vm", 11);
	make(store, "b", 0);
	_cleanup_forks_ struct store_forks forks;
	CHECK_EQ(store_forks_list(store, &forks, &err), 0);
	REQUIRE(forks.count == 12);
	CHECK_STR(forks.items[0].name, "b");
	CHECK_STR(forks.items[2].name, "vm-2");
	CHECK_STR(forks.items[11].name, "vm-11");
	ramet_store_close(store);
}

static void test_a_name_is_taken_once(void)
{
	struct ramet_store *store = fresh(), *other = again();
	struct store_batch batch, second;
	CHECK_EQ(begin(store, "vm", 3, &batch), 0);
	/* While it is being made, and a batch of which one name only is taken. */
	CHECK_EQ(begin(other, "vm-2", 0, &second), -EEXIST);
	CHECK(strstr(err.message, "making"));
	CHECK_EQ(store_batch_finish(&batch, &err), 0);
	CHECK_EQ(begin(other, "vm-2", 0, &second), -EEXIST);
	CHECK_EQ(begin(other, "vm", 5, &second), -EEXIST);
	CHECK(!is_there("forks/vm-4"));
	CHECK_EQ(ask(store, "SELECT count(*) FROM fork"), 3);
	ramet_store_close(other);
	ramet_store_close(store);
}

static void test_what_is_abandoned_leaves_nothing(void)
{
	struct ramet_store *store = fresh();
	{
		_cleanup_batch_ struct store_batch batch;
		CHECK_EQ(begin(store, "vm", 3, &batch), 0);
		CHECK(is_there("forks/vm-3/volume"));
	}
	CHECK(!is_there("forks/vm-1"));
	CHECK_EQ(ask(store, "SELECT count(*) FROM fork"), 0);
	make(store, "vm", 3);
	ramet_store_close(store);
}

/* Killed while making: a child does it, so that the kernel takes its locks away. */
static void test_what_the_dead_left_is_undone(void)
{
	ramet_store_close(fresh());
	pid_t child = fork();
	if (child == 0) {
		struct ramet_store *store = again();
		struct store_batch batch;
		begin(store, "vm", 3, &batch);
		kill(getpid(), SIGKILL);
	}
	waitpid(child, NULL, 0);
	CHECK(is_there("forks/vm-3/volume"));
	struct ramet_store *store = again();
	CHECK(!is_there("forks/vm-1") && !is_there("forks/vm-3"));
	CHECK_EQ(ask(store, "SELECT count(*) FROM fork"), 0);
	ramet_store_close(store);
}

static void test_what_the_living_make_is_left_alone(void)
{
	struct ramet_store *store = fresh();
	struct store_batch batch;
	CHECK_EQ(begin(store, "vm", 2, &batch), 0);
	ramet_store_close(again());
	CHECK(is_there("forks/vm-2/volume"));
	CHECK_EQ(store_batch_finish(&batch, &err), 0);
	CHECK_EQ(ask(store, "SELECT count(*) FROM fork WHERE state = 'ready'"), 2);
	ramet_store_close(store);
}

/* A loss of power: the rows of what was being made are lost, and a removal came back. */
static void test_the_first_open_after_a_boot_sweeps(void)
{
	struct ramet_store *store = fresh();
	make(store, "whole", 0);
	make(store, "gone", 0);
	make(store, "unknown", 0);
	struct store_batch batch;
	CHECK_EQ(begin(store, "half", 0, &batch), 0);
	CHECK_EQ(store_fork_remove(store, "gone", &err), 0);
	CHECK_EQ(mkdirat(store->forks_fd, "gone", 0700), 0);
	CHECK_EQ(catalogue_run(
			 store, &err, "DELETE FROM fork WHERE name IN ('half', 'unknown')", ""),
		0);
	ramet_store_close(store);
	ramet_store_close(again());
	CHECK(is_there("forks/half")); /* the same boot: nobody looks */
	store = again();
	CHECK_EQ(catalogue_run(store, &err, "UPDATE meta SET value = 'another boot'", ""), 0);
	ramet_store_close(store);
	store = again();
	CHECK(!is_there("forks/half"));
	CHECK(!is_there("forks/gone"));
	CHECK(is_there("forks/whole/volume"));
	CHECK(is_there("forks/unknown/volume")); /* was whole once: not ours to remove */
	_cleanup_batch_ struct store_batch in_the_way;
	struct store_plan plan = plan_of("unknown", 0);
	CHECK_EQ(store_batch_begin(store, &plan, &in_the_way, &err), 0);
	CHECK_EQ(store_batch_folder(&in_the_way, 0, &err), -EEXIST);
	/* Undoing that must not take the folder that was in the way. */
	store_batch_abandon(&in_the_way);
	CHECK(is_there("forks/unknown/volume"));
	ramet_store_close(store);
}

static void test_a_lock_keeps_others_out(void)
{
	struct ramet_store *store = fresh(), *other = again();
	make(store, "vm", 0);
	struct store_lock lock, second;
	CHECK_EQ(store_fork_holder(other, "vm"), 0);
	REQUIRE(store_fork_lock(store, "vm", &lock, &err) == 0);
	CHECK_EQ(store_fork_holder(other, "vm"), getpid());
	CHECK_EQ(store_fork_lock(other, "vm", &second, &err), -EBUSY);
	char pid[32];
	snprintf(pid, sizeof pid, "process %d", (int)getpid());
	CHECK(strstr(err.message, pid));
	CHECK_EQ(store_fork_remove(other, "vm", &err), -EBUSY);
	store_lock_release(&lock);
	CHECK_EQ(store_fork_holder(other, "vm"), 0);
	CHECK_EQ(store_fork_remove(other, "vm", &err), 0);
	CHECK_EQ(store_fork_lock(store, "vm", &lock, &err), -ENOENT);
	CHECK(!is_there("forks/vm"));
	ramet_store_close(other);
	ramet_store_close(store);
}

static void test_a_child_that_inherits_the_lock_holds_it(void)
{
	struct ramet_store *store = fresh();
	make(store, "vm", 0);
	int ready[2], end[2];
	CHECK(pipe(ready) == 0 && pipe(end) == 0);
	pid_t parent = fork();
	if (parent == 0) {
		struct ramet_store *own = again();
		struct store_lock lock;
		store_fork_lock(own, "vm", &lock, &err);
		pid_t vmm = fork();
		if (vmm == 0) {
			char byte;
			close(end[1]);
			_exit(read(end[0], &byte, 1) < 0);
		}
		store_lock_add_holder(&lock, vmm);
		CHECK(write(ready[1], &vmm, sizeof vmm) == sizeof vmm);
		kill(getpid(), SIGKILL);
	}
	close(end[0]);
	pid_t vmm = 0;
	CHECK(read(ready[0], &vmm, sizeof vmm) == sizeof vmm);
	waitpid(parent, NULL, 0);
	CHECK_EQ(store_fork_holder(store, "vm"), vmm);
	struct store_lock lock;
	CHECK_EQ(store_fork_lock(store, "vm", &lock, &err), -EBUSY);
	close(end[1]);
	for (int i = 0; i < 500 && store_fork_holder(store, "vm"); i++)
		usleep(10000);
	CHECK_EQ(store_fork_lock(store, "vm", &lock, &err), 0);
	store_lock_release(&lock);
	ramet_store_close(store);
}

static void test_a_base_that_changes_is_noticed(void)
{
	struct ramet_store *store = fresh();
	make(store, "vm", 0);
	_cleanup_fork_ struct store_fork fork = {0}, changed = {0}, missing = {0};
	CHECK_EQ(store_fork_find(store, "vm", &fork, &err), 0);
	CHECK_EQ(store_fork_check_base(&fork, &err), 0);
	write_file(base, "another base");
	CHECK_EQ(store_fork_find(store, "vm", &changed, &err), 0);
	CHECK_STR(changed.base_state, "changed");
	CHECK_EQ(store_fork_check_base(&changed, &err), -ESTALE);
	unlink(base);
	CHECK_EQ(store_fork_find(store, "vm", &missing, &err), 0);
	CHECK_STR(missing.base_state, "missing");
	CHECK_EQ(store_fork_check_base(&missing, &err), -ESTALE);
	ramet_store_close(store);
}

static void test_folders_that_moved_are_known(void)
{
	struct ramet_store *store = fresh();
	_cleanup_roots_ struct store_roots roots = {0}, more = {0}, none = {0};
	char one[] = "/one", two[] = "/two", other[] = "/once more";
	char *first[] = {NULL, one, two}, *second[] = {NULL, other, NULL};
	write_file(base, "a base");
	CHECK_EQ(add(store, base, "squashfs", NULL), 0);
	int64_t image = ask(store, "SELECT id FROM image");
	CHECK_EQ(store_roots_find(store, image, &none, &err), 0);
	CHECK_EQ(none.count, 0);
	CHECK_EQ(store_roots_set(store, image, &(struct store_roots){first, 3}, &err), 0);
	CHECK_EQ(store_roots_find(store, image, &roots, &err), 0);
	REQUIRE(roots.count == 3);
	CHECK(roots.paths[0] == NULL);
	CHECK_STR(roots.paths[1], "/one");
	CHECK_STR(roots.paths[2], "/two");
	CHECK_EQ(store_roots_set(store, image, &(struct store_roots){second, 3}, &err), 0);
	CHECK_EQ(store_roots_find(store, image, &more, &err), 0);
	REQUIRE(more.count == 3);
	CHECK_STR(more.paths[1], "/once more");
	CHECK_STR(more.paths[2], "/two"); /* of which nothing was said */
	write_file(base, "another base");
	CHECK_EQ(add(store, base, "squashfs", NULL), 0);
	CHECK_EQ(ask(store, "SELECT count(*) FROM image_root"), 0); /* it goes with its image */
	ramet_store_close(store);
}

static void test_images_come_and_go(void)
{
	struct ramet_store *store = fresh();
	CHECK_EQ(add(store, base, "squashfs", NULL), 0);
	CHECK_EQ(ask(store, "SELECT count(*) FROM image"), 1);
	make(store, "vm", 0);
	write_file(base, "another base");
	CHECK_EQ(add(store, base, "ext4", NULL), 0);
	CHECK_EQ(ask(store, "SELECT count(*) FROM image"), 2); /* a fork stands on the old one */
	CHECK_EQ(store_fork_remove(store, "vm", &err), 0);
	write_file(base, "a third base");
	CHECK_EQ(add(store, base, "ext4", NULL), 0);
	CHECK_EQ(ask(store, "SELECT count(*) FROM image"), 1);
	unlink(base);
	_cleanup_images_ struct store_images images;
	CHECK_EQ(store_images_list(store, &images, &err), 0);
	CHECK_EQ(images.count, 0);
	CHECK_EQ(ask(store, "SELECT count(*) FROM image"), 0);
	ramet_store_close(store);
}

static void test_a_catalogue_that_is_none_is_refused(void)
{
	struct ramet_store *store = fresh();
	CHECK_EQ(catalogue_run(store, &err, "PRAGMA user_version = 99", ""), 0);
	ramet_store_close(store);
	CHECK_EQ(ramet_store_open(root, &store, &err), -ENOTSUP);
	CHECK(strstr(err.message, "newer ramet"));
	char path[64];
	snprintf(path, sizeof path, "%s/catalogue.db-wal", root);
	unlink(path);
	snprintf(path, sizeof path, "%s/catalogue.db", root);
	char noise[9000];
	memset(noise, 'x', sizeof noise - 1);
	noise[sizeof noise - 1] = '\0';
	write_file(path, noise);
	CHECK_EQ(ramet_store_open(root, &store, &err), -EUCLEAN);
	CHECK(strstr(err.message, "damaged"));
	/* A database of somebody else's. */
	unlink(path);
	sqlite3 *db;
	CHECK_EQ(sqlite3_open(path, &db), SQLITE_OK);
	CHECK_EQ(sqlite3_exec(db, "CREATE TABLE t(x); PRAGMA user_version = 1", NULL, NULL, NULL),
		0);
	sqlite3_close(db);
	CHECK_EQ(ramet_store_open(root, &store, &err), -EUCLEAN);
	CHECK(strstr(err.message, "not a catalogue"));
}

static void test_cleaning_up(void)
{
	CHECK_EQ(folder_remove(AT_FDCWD, root), 0);
	CHECK_EQ(folder_remove(AT_FDCWD, root), 0);
}

int main(void)
{
	if (!mkdtemp(root))
		return 1;
	static const struct tap_test tests[] = {
		{"names are letters, digits, '.', '_', '-'", test_names},
		{"only finished forks are seen", test_only_finished_forks_are_seen},
		{"numbers in names are in order", test_numbers_in_names_are_in_order},
		{"a name is taken once", test_a_name_is_taken_once},
		{"what is abandoned leaves nothing", test_what_is_abandoned_leaves_nothing},
		{"what a killed maker left is undone", test_what_the_dead_left_is_undone},
		{"what a living maker makes is left alone",
			test_what_the_living_make_is_left_alone},
		{"the first open after a boot sweeps", test_the_first_open_after_a_boot_sweeps},
		{"a lock keeps others out and names its holder", test_a_lock_keeps_others_out},
		{"a child that inherits the lock holds it",
			test_a_child_that_inherits_the_lock_holds_it},
		{"a base that changes is noticed", test_a_base_that_changes_is_noticed},
		{"folders that moved are known, as long as their image is",
			test_folders_that_moved_are_known},
		{"images come and go", test_images_come_and_go},
		{"a catalogue that is none is refused", test_a_catalogue_that_is_none_is_refused},
		{"a folder is removed with all in it", test_cleaning_up},
	};
	return tap_run(tests, ARRAY_SIZE(tests));
}
