/* SPDX-License-Identifier: Apache-2.0 */
/* The catalogue's versions, and images that stand one on the other. */
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/folder.h"
#include "store/batch.h"
#include "store/catalogue.h"
#include "store/images.h"
#include "tests/unit/tap.h"

static char root[] = "/tmp/ramet-test-catalogue.XXXXXX";
static struct ramet_error err;

static struct ramet_store *open_store(void)
{
	struct ramet_store *store = NULL;
	CHECK_EQ(ramet_store_open(root, &store, &err), 0);
	return store;
}

static struct ramet_store *fresh(void)
{
	folder_remove(AT_FDCWD, root);
	return open_store();
}

static int64_t ask(struct ramet_store *store, const char *sql)
{
	int64_t number = -1;
	CHECK_EQ(catalogue_number(store, &number, &err, sql, ""), 0);
	return number;
}

/* The whole schema as one text. */
static char *schema_of(struct ramet_store *store)
{
	_cleanup_statement_ sqlite3_stmt *query = NULL;
	CHECK_EQ(catalogue_prepare(store, &query, &err,
			 "SELECT group_concat(sql, ';') FROM (SELECT sql FROM sqlite_schema "
			 "WHERE sql IS NOT NULL ORDER BY name)",
			 ""),
		0);
	CHECK_EQ(catalogue_step(store, query, &err), 1);
	return catalogue_text(query, 0);
}

/* A catalogue that the ramet of commit 5d9168c made, in an otherwise empty store. */
static void put_version_1(void)
{
	const char *source = getenv("SOURCE_ROOT");
	char path[4096];
	_cleanup_free_ char *sql = NULL;
	snprintf(path, sizeof path, "%s/tests/unit/catalogue-v1.sql", source ? source : ".");
	REQUIRE(read_file(AT_FDCWD, path, 1 << 20, &sql, NULL) == 0);
	folder_remove(AT_FDCWD, root);
	CHECK_EQ(mkdir(root, 0700), 0);
	snprintf(path, sizeof path, "%s/catalogue.db", root);
	sqlite3 *db;
	CHECK_EQ(sqlite3_open(path, &db), SQLITE_OK);
	CHECK_EQ(sqlite3_exec(db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL), SQLITE_OK);
	CHECK_EQ(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	CHECK_EQ(sqlite3_close(db), SQLITE_OK);
}

static void test_version_1_is_brought_up_to_date(void)
{
	put_version_1();
	struct ramet_store *store = open_store();
	CHECK_EQ(ask(store, "PRAGMA user_version"), 4);
	_cleanup_forks_ struct store_forks forks;
	CHECK_EQ(store_forks_list(store, &forks, &err), 0);
	REQUIRE(forks.count == 3);
	CHECK_STR(forks.items[0].name, "box");
	CHECK_STR(forks.items[0].format, "ext4");
	CHECK_STR(forks.items[2].name, "vm-2");
	CHECK_STR(forks.items[2].base, "/srv/images/base.squashfs");
	CHECK_STR(forks.items[2].read_only_paths, "/etc/name\n");
	CHECK_STR(forks.items[2].process, "");
	CHECK_EQ(forks.items[2].layers.count, 0);
	CHECK_EQ(ask(store, "SELECT count(*) FROM image WHERE digest = '' AND process = ''"), 2);
	CHECK_EQ(ask(store, "PRAGMA foreign_key_check"), 0);
	_cleanup_free_ char *then = schema_of(store);
	ramet_store_close(store);
	store = fresh();
	_cleanup_free_ char *now = schema_of(store);
	CHECK_STR(then, now);
	ramet_store_close(store);
}

/* What fails in the middle leaves version 1 as it was. */
static void test_a_step_is_taken_whole_or_not_at_all(void)
{
	put_version_1();
	char path[128];
	snprintf(path, sizeof path, "%s/catalogue.db", root);
	sqlite3 *db;
	CHECK_EQ(sqlite3_open(path, &db), SQLITE_OK);
	CHECK_EQ(sqlite3_exec(db, "CREATE TABLE fork_layer(x)", NULL, NULL, NULL), SQLITE_OK);
	struct ramet_store *store = NULL;
	CHECK_EQ(ramet_store_open(root, &store, &err), -EUCLEAN);
	CHECK(strstr(err.message, "fork_layer"));
	CHECK_EQ(sqlite3_exec(
			 db, "DROP TABLE fork_layer; SELECT digest FROM image", NULL, NULL, NULL),
		SQLITE_ERROR);
	CHECK_EQ(sqlite3_close(db), SQLITE_OK);
	store = open_store();
	CHECK_EQ(ask(store, "SELECT count(*) FROM image WHERE digest = ''"), 2);
	ramet_store_close(store);
}

static const char *file(const char *name)
{
	static char path[128];
	snprintf(path, sizeof path, "%s/%s", root, name);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	CHECK(fd >= 0 && write_full(fd, name, strlen(name)) == 0);
	return path;
}

static int64_t put(struct ramet_store *store, const char *name, struct store_image_facts facts)
{
	const char *path = file(name);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_image_ struct store_image image = {0};
	facts.format = "squashfs";
	CHECK_EQ(store_image_find(store, fd, path, &image, &err), 0);
	CHECK_EQ(store_image_insert(store, &image, &facts, &err), 0);
	return image.id;
}

static void make(struct ramet_store *store, const char *name, unsigned count, int64_t base,
	const int64_t *layers, size_t layer_count)
{
	const struct store_plan plan = {.image = base,
		.layers = layers,
		.layer_count = layer_count,
		.name = name,
		.count = count,
		.provider = "file",
		.mode = "overlay",
		.size = 4096};
	_cleanup_batch_ struct store_batch batch;
	CHECK_EQ(store_batch_begin(store, &plan, &batch, &err), 0);
	for (unsigned i = 0; i < store_plan_count(&plan); i++)
		close(store_batch_folder(&batch, i, &err));
	CHECK_EQ(store_batch_finish(&batch, &err), 0);
}

static void test_facts_of_images(void)
{
	struct ramet_store *store = fresh();
	int64_t id = put(store, "base", (struct store_image_facts){.process = "{\"args\":[]}"});
	char path[128];
	snprintf(path, sizeof path, "%s/base", root);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_image_ struct store_image image = {0}, later = {0}, other = {0};
	CHECK_EQ(store_image_find(store, fd, path, &image, &err), 0);
	CHECK_EQ(image.id, id);
	CHECK_STR(image.process, "{\"args\":[]}");
	CHECK_STR(image.digest, "");
	CHECK_EQ(store_image_set_digest(store, &image, "sha256:00", &err), 0);
	CHECK_STR(image.digest, "sha256:00");
	/* Added again: the digest of an unchanged file is still right. */
	CHECK_EQ(store_image_add(
			 store, path, &(struct store_image_facts){.format = "squashfs"}, &err),
		0);
	CHECK_EQ(store_image_find(store, fd, path, &later, &err), 0);
	CHECK_EQ(later.id, id);
	CHECK_STR(later.digest, "sha256:00");
	CHECK_STR(later.process, "");
	file("base");
	CHECK_EQ(store_image_find(store, fd, path, &other, &err), 0);
	CHECK_EQ(other.id, 0);
	ramet_store_close(store);
}

static void test_forks_of_chains(void)
{
	struct ramet_store *store = fresh();
	int64_t ids[3];
	ids[0] = put(store, "base",
		(struct store_image_facts){.read_only_paths = "/a\n", .process = "{\"base\":1}"});
	ids[1] = put(store, "one",
		(struct store_image_facts){.read_only_paths = "/b\n",
			.parents = ids,
			.parent_count = 1,
			.process = "{\"one\":1}"});
	ids[2] = put(store, "two", (struct store_image_facts){.read_only_paths = "/c\n"});
	_cleanup_layers_ struct store_layers parents = {0}, none = {0};
	CHECK_EQ(store_image_parents(store, ids[1], &parents, &err), 0);
	REQUIRE(parents.count == 1);
	CHECK_EQ(parents.items[0].image, ids[0]);
	CHECK_STR(strrchr(parents.items[0].path, '/'), "/base");
	CHECK_EQ(store_image_parents(store, ids[0], &none, &err), 0);
	CHECK_EQ(none.count, 0);
	make(store, "plain", 0, ids[0], NULL, 0);
	make(store, "vm", 3, ids[0], ids + 1, 2);
	_cleanup_forks_ struct store_forks forks;
	CHECK_EQ(store_forks_list(store, &forks, &err), 0);
	REQUIRE(forks.count == 4);
	CHECK_EQ(forks.items[0].layers.count, 0);
	const struct store_fork *fork = &forks.items[3];
	REQUIRE(fork->layers.count == 2);
	CHECK_STR(strrchr(fork->layers.items[0].path, '/'), "/one");
	CHECK_STR(strrchr(fork->layers.items[1].path, '/'), "/two");
	CHECK_STR(fork->layers.items[1].state, "unchanged");
	/* `one` was made for the base and says all; nobody knows what `two` was made for. */
	CHECK_STR(fork->read_only_paths, "/b\n/c\n");
	CHECK_STR(fork->process, "{\"one\":1}");
	CHECK_EQ(store_fork_check_base(fork, &err), 0);
	file("two");
	_cleanup_fork_ struct store_fork changed = {0};
	CHECK_EQ(store_fork_find(store, "vm-2", &changed, &err), 0);
	CHECK_EQ(store_fork_check_base(&changed, &err), -ESTALE);
	CHECK(strstr(err.message, "the layer of fork vm-2") && strstr(err.message, "/two"));
	CHECK_EQ(store_fork_remove(store, "vm-2", &err), 0);
	CHECK_EQ(ask(store, "SELECT count(*) FROM fork_layer"), 4);
	ramet_store_close(store);
}

static void unlink_file(const char *name)
{
	char path[128];
	snprintf(path, sizeof path, "%s/%s", root, name);
	CHECK_EQ(unlink(path), 0);
}

static size_t images_left(struct ramet_store *store)
{
	_cleanup_images_ struct store_images images;
	CHECK_EQ(store_images_list(store, &images, &err), 0);
	return images.count;
}

static void test_what_is_stood_on_is_not_forgotten(void)
{
	struct ramet_store *store = fresh();
	int64_t ids[3];
	ids[0] = put(store, "base", (struct store_image_facts){0});
	ids[1] = put(store, "delta", (struct store_image_facts){.parents = ids, .parent_count = 1});
	ids[2] = put(store, "loose", (struct store_image_facts){0});
	make(store, "vm", 2, ids[0], ids + 1, 2);
	_cleanup_images_ struct store_images images;
	CHECK_EQ(store_images_list(store, &images, &err), 0);
	REQUIRE(images.count == 3);
	for (size_t i = 0; i < 3; i++)
		CHECK_EQ(images.items[i].info.forks, 2);
	unlink_file("base");
	unlink_file("loose");
	CHECK_EQ(images_left(store), 3);
	put(store, "loose", (struct store_image_facts){0});
	CHECK_EQ(images_left(store), 4);
	CHECK_EQ(store_fork_remove(store, "vm-1", &err), 0);
	CHECK_EQ(store_fork_remove(store, "vm-2", &err), 0);
	unlink_file("loose");
	CHECK_EQ(images_left(store), 2); /* delta was made for the base that is gone */
	unlink_file("delta");
	CHECK_EQ(images_left(store), 0);
	ramet_store_close(store);
}

static void test_a_lazy_image_may_be_materialised(void)
{
	struct ramet_store *store = fresh();
	int64_t lazy = put(store, "lazy", (struct store_image_facts){.lazy = true});
	int64_t plain = put(store, "plain", (struct store_image_facts){0});
	make(store, "vm", 0, lazy, NULL, 0);
	_cleanup_fork_ struct store_fork before = {0}, after = {0}, alone = {0}, again = {0};
	CHECK_EQ(store_fork_find(store, "vm", &before, &err), 0);
	CHECK(before.base_lazy && !before.base_plain);
	CHECK_EQ(store_image_set_materialized(store, lazy, plain, &err), 0);
	CHECK_EQ(store_fork_find(store, "vm", &after, &err), 0);
	REQUIRE(after.base_plain);
	CHECK(strstr(after.base_plain, "/plain"));
	unlink_file("lazy");
	CHECK_EQ(store_fork_find(store, "vm", &alone, &err), 0);
	CHECK_EQ(store_fork_check_base(&alone, &err), 0);
	unlink_file("plain");
	CHECK_EQ(images_left(store), 2);
	CHECK_EQ(store_fork_find(store, "vm", &again, &err), 0);
	CHECK(!again.base_plain);
	CHECK_EQ(store_fork_check_base(&again, &err), -ESTALE);
	ramet_store_close(store);
}

static void test_cleaning_up(void)
{
	CHECK_EQ(folder_remove(AT_FDCWD, root), 0);
}

int main(void)
{
	if (!mkdtemp(root))
		return 1;
	static const struct tap_test tests[] = {
		{"a catalogue of version 1 is brought up to date, to what a new one is",
			test_version_1_is_brought_up_to_date},
		{"a step is taken whole or not at all", test_a_step_is_taken_whole_or_not_at_all},
		{"digest and default command of an image are kept", test_facts_of_images},
		{"forks of chains know their layers", test_forks_of_chains},
		{"what something stands on is not forgotten",
			test_what_is_stood_on_is_not_forgotten},
		{"a lazy image may be there as a plain file too",
			test_a_lazy_image_may_be_materialised},
		{"a folder is removed with all in it", test_cleaning_up},
	};
	return tap_run(tests, ARRAY_SIZE(tests));
}
