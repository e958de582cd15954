/* SPDX-License-Identifier: Apache-2.0 */
/* The tar is read back by libarchive, which had no part in writing it. */
#include <archive.h>
#include <archive_entry.h>

#include "base/text.h"
#include "changes/forms.h"
#include "tests/unit/memfs.h"
#include "tests/unit/tap.h"

struct layer {
	char *bytes;
	size_t length;
	struct ramet_diff_result result;
	struct archive *archive;
};

static void cleanup_layer(struct layer *layer)
{
	if (layer->archive)
		archive_read_free(layer->archive);
	free(layer->bytes);
}

static bool layer_make(
	struct layer *layer, struct memfs *old, struct memfs *new, const char *const *paths)
{
	struct ramet_error err = {0};
	*layer = (struct layer){0};
	int r = memfs_diff(
		"tar", old, new, paths, &layer->bytes, &layer->length, &layer->result, &err);
	CHECK_STR(err.message, "");
	layer->archive = archive_read_new();
	archive_read_support_format_tar(layer->archive);
	return r == 0 &&
	       archive_read_open_memory(layer->archive, layer->bytes, layer->length) == ARCHIVE_OK;
}

static struct archive_entry *layer_next(struct layer *layer)
{
	struct archive_entry *entry;
	return archive_read_next_header(layer->archive, &entry) == ARCHIVE_OK ? entry : NULL;
}

/* The names, each with a '\n'. */
static void layer_names(struct layer *layer, struct text *names)
{
	text_append(names, "");
	for (struct archive_entry *e; (e = layer_next(layer));) {
		text_append(names, archive_entry_pathname(e));
		text_append(names, "\n");
	}
}

static void check_names(struct memfs *old, struct memfs *new, const char *const *paths,
	uint64_t omitted, const char *expected)
{
	__attribute__((cleanup(cleanup_layer))) struct layer layer;
	_cleanup_text_ struct text names = {0};
	REQUIRE(layer_make(&layer, old, new, paths));
	layer_names(&layer, &names);
	CHECK_STR(names.data, expected);
	CHECK_EQ(layer.result.omitted, omitted);
}

static void test_whiteouts(void)
{
	struct memfs old = MEMFS({"/d", S_IFDIR | 0755}, {"/d/e", S_IFDIR | 0755}, {"/d/e/f"},
		{"/k", S_IFDIR | 0755}, {"/k/a"}, {"/k/b"}, {"/t", S_IFDIR | 0755}, {"/t/x"});
	struct memfs new = MEMFS({"/k", S_IFDIR | 0755}, {"/k/b"}, {"/t"});
	check_names(&old, &new, NULL, 0, ".wh.d\nk/.wh.a\nt\n");
	check_names(&old, &new, (const char *[]){"/d/e", NULL}, 0, "d/.wh.e\n");
}

static void test_emptied_directories_are_opaque(void)
{
	struct memfs old = MEMFS(
		{"/d", S_IFDIR | 0755}, {"/d/a", S_IFDIR | 0755}, {"/d/a/x"}, {"/d/b"});
	struct memfs new = MEMFS({"/d", S_IFDIR | 0755}, {"/d/!"}, {"/d/n"});
	check_names(&old, &new, NULL, 0, "d/.wh..wh..opq\nd/!\nd/n\n");
	/* Part of it is not asked for: it must stay. */
	check_names(&old, &new, (const char *[]){"/d/a", NULL}, 0, "d/.wh.a\n");
}

static void test_what_a_layer_cannot_say(void)
{
	struct memfs old = MEMFS({"/.wh.gone"}, {"/z"});
	struct memfs new = MEMFS({"/.wh.z"}, {"/s", S_IFSOCK | 0755}, {"/z"});
	check_names(&old, &new, NULL, 3, "");
}

static void test_headers(void)
{
	static char long_name[302] = "/";
	memset(long_name + 1, 'n', 300);
	struct memfs old = MEMFS({"/z"});
	struct memfs new = MEMFS({"/c", S_IFCHR | 0620, .major = 4, .minor = 300},
		{"/d", S_IFDIR | 01777, .uid = 4000000000, .gid = 3000000},
		{"/f", S_IFREG | 04755, "content", .mtime = -2, .mtime_nsec = 750000000,
			.xattr = "user.a", .value = "v\n"},
		{"/l", S_IFLNK | 0777, "\xc3\xa9"}, {long_name, S_IFIFO | 0644, .mtime = 1LL << 40},
		{"/raw\xff"}, {"/z"});
	__attribute__((cleanup(cleanup_layer))) struct layer layer;
	REQUIRE(layer_make(&layer, &old, &new, NULL));
	struct archive_entry *e = layer_next(&layer);
	CHECK_EQ(archive_entry_mode(e), S_IFCHR | 0620);
	CHECK_EQ(archive_entry_rdevmajor(e), 4);
	CHECK_EQ(archive_entry_rdevminor(e), 300);
	e = layer_next(&layer);
	CHECK_STR(archive_entry_pathname(e), "d/");
	CHECK_EQ(archive_entry_mode(e), S_IFDIR | 01777);
	CHECK_EQ(archive_entry_uid(e), 4000000000);
	CHECK_EQ(archive_entry_gid(e), 3000000);
	e = layer_next(&layer);
	CHECK_EQ(archive_entry_mode(e), S_IFREG | 04755);
	CHECK_EQ(archive_entry_size(e), 7);
	CHECK(strstr(layer.bytes, "mtime=-1.250000000\n") ||
		memmem(layer.bytes, layer.length, "mtime=-1.250000000\n", 19));
	const char *name;
	const void *value;
	size_t size;
	archive_entry_xattr_reset(e);
	CHECK_EQ(archive_entry_xattr_next(e, &name, &value, &size), ARCHIVE_OK);
	CHECK_STR(name, "user.a");
	CHECK(size == 2 && memcmp(value, "v\n", 2) == 0);
	char content[16] = "";
	CHECK_EQ(archive_read_data(layer.archive, content, sizeof content), 7);
	CHECK_STR(content, "content");
	e = layer_next(&layer);
	CHECK(memmem(layer.bytes, layer.length, "15 linkpath=\xc3\xa9\n", 15) != NULL);
	e = layer_next(&layer);
	CHECK_STR(archive_entry_pathname(e), long_name + 1);
	CHECK_EQ(archive_entry_mtime(e), 1LL << 40);
	e = layer_next(&layer);
	CHECK_STR(archive_entry_pathname(e), "raw\xff");
	CHECK(layer_next(&layer) == NULL);
	CHECK_EQ(layer.length % 512, 0);
}

static void test_hard_links(void)
{
	struct memfs old = MEMFS({"/b", .content = "x", .inode = 5, .nlink = 3});
	struct memfs new = MEMFS({"/a", .content = "x", .inode = 5, .nlink = 3},
		{"/b", .content = "x", .inode = 5, .nlink = 3},
		{"/c", .content = "x", .inode = 5, .nlink = 3});
	__attribute__((cleanup(cleanup_layer))) struct layer layer;
	REQUIRE(layer_make(&layer, &old, &new, NULL));
	struct archive_entry *e = layer_next(&layer);
	CHECK(archive_entry_hardlink(e) == NULL); /* "/b" is not in the layer: content */
	CHECK_EQ(archive_entry_size(e), 1);
	e = layer_next(&layer);
	CHECK_STR(archive_entry_pathname(e), "c");
	CHECK_STR(archive_entry_hardlink(e), "a");
	CHECK(layer_next(&layer) == NULL);
}

static void test_sparse_files_stay_sparse(void)
{
	struct memfs old = MEMFS({"/z"});
	struct memfs new = MEMFS(
		{"/all", .hole = 1ULL << 60}, {"/s", .content = "end", .hole = 1ULL << 50}, {"/z"});
	__attribute__((cleanup(cleanup_layer))) struct layer layer;
	REQUIRE(layer_make(&layer, &old, &new, NULL));
	CHECK(layer.length < 10240);
	struct archive_entry *e = layer_next(&layer);
	CHECK_STR(archive_entry_pathname(e), "all");
	CHECK_EQ(archive_entry_size(e), 1LL << 60);
	e = layer_next(&layer);
	CHECK_STR(archive_entry_pathname(e), "s");
	CHECK_EQ(archive_entry_size(e), (1LL << 50) + 3);
	const void *data;
	size_t size;
	int64_t offset;
	REQUIRE(archive_read_data_block(layer.archive, &data, &size, &offset) == ARCHIVE_OK);
	CHECK_EQ(offset, 1LL << 50);
	CHECK(size == 3 && memcmp(data, "end", 3) == 0);
}

TEST_MAIN({"deletions are whiteouts, the topmost only", test_whiteouts},
	{"an emptied directory is opaque, unless only part of it is asked for",
		test_emptied_directories_are_opaque},
	{"what a layer cannot say is counted", test_what_a_layer_cannot_say},
	{"headers hold large numbers, old times, odd names", test_headers},
	{"hard links are kept within the layer", test_hard_links},
	{"sparse files stay sparse, of any size", test_sparse_files_stay_sparse})
