/* SPDX-License-Identifier: Apache-2.0 */
/* The lazy file: what is written comes back, and what is damaged is refused. */
#include "image/lazy.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/crc32c.h"
#include "base/fd.h"
#include "image/lazy_format.h"
#include "tests/unit/top.h"

#define BLOCK LAYOUT_BLOCK
#define MOST  4096 /* blocks of an image */

static unsigned seed;

static unsigned pick(unsigned below)
{
	return (unsigned)rand_r(&seed) % below;
}

/* Lengths are enough: nobody reads a byte. */
static void make_file(const char *path, uint64_t size)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	CHECK(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
}

/* What each block of an image must be: of a file, of metadata (and which), or zeros. */
struct model {
	struct {
		const struct tree_node *node;
		uint64_t offset, length;
		bool metadata;
	} blocks[MOST];
	uint64_t count;
	struct layout layout;
	int spool;
};

static void add_metadata(struct model *model)
{
	char block[BLOCK];
	memset(block, (int)(1 + model->count % 255), sizeof block);
	model->blocks[model->count].metadata = true;
	CHECK_EQ(pwrite_full(model->spool, block, sizeof block, model->count * BLOCK), 0);
	model->count++;
}

/* The whole of a file, with holes of whole blocks in it. */
static void add_file(struct model *model, const struct tree_node *node)
{
	for (uint64_t at = 0; at < node->size; at += BLOCK, model->count++) {
		if (pick(9) == 0)
			continue;
		uint64_t length = MIN(node->size - at, (uint64_t)BLOCK);
		model->blocks[model->count].node = node;
		model->blocks[model->count].offset = at;
		model->blocks[model->count].length = length;
		CHECK_EQ(layout_point(&model->layout, node, at, model->count * BLOCK, length), 0);
	}
}

static void shuffle_runs(struct layout *layout)
{
	for (size_t i = layout->runs.count; i > 1; i--) {
		size_t other = pick((unsigned)i);
		struct layout_run run = layout->runs.items[i - 1];
		layout->runs.items[i - 1] = layout->runs.items[other];
		layout->runs.items[other] = run;
	}
}

static void make_model(struct model *model, struct tree *tree)
{
	memset(model, 0, sizeof *model);
	model->spool = memfd_create("spool", MFD_CLOEXEC);
	for (struct tree_node *node = tree->root; node; node = tree_next(node)) {
		for (unsigned i = pick(3); i--;)
			add_metadata(model);
		model->count += pick(3);
		if (S_ISREG(node->mode) && !tree_link(node))
			add_file(model, node);
	}
	add_metadata(model);
	model->layout.image_bytes = (model->count + pick(3)) * BLOCK;
	if (pick(2))
		shuffle_runs(&model->layout);
	/* Zeros that are data on the host are no metadata. */
	CHECK_EQ(ftruncate(model->spool, (off_t)model->layout.image_bytes), 0);
	for (uint64_t i = 0; i < model->count; i++)
		if (!model->blocks[i].metadata && pick(2))
			CHECK_EQ(pwrite_full(model->spool, (char[BLOCK]){0}, BLOCK, i * BLOCK), 0);
}

static void free_model(struct model *model)
{
	layout_free(&model->layout);
	close(model->spool);
}

static void check_file(const struct lazy *lazy, const struct tree *tree, uint32_t index,
	const struct tree_node *node)
{
	struct lazy_file file;
	lazy_file(lazy, index, &file);
	CHECK_EQ(file.size, node->size);
	CHECK_EQ(file.inode, node->host_inode);
	CHECK_EQ(file.mtime, node->mtime);
	CHECK_EQ(file.mtime_nsec, node->mtime_nsec);
	_cleanup_text_ struct text path = {0}, host = {0};
	text_format(&path, "%s/", lazy_root(lazy, file.root));
	CHECK_EQ(lazy_file_path(lazy, index, &path), 0);
	tree_host_path(tree, node, &host);
	_cleanup_free_ char *real = realpath(host.data, NULL);
	CHECK_STR(real, path.data);
}

static void check_block(const struct lazy *lazy, int fd, const struct tree *tree,
	const struct model *model, uint64_t block)
{
	struct lazy_facts facts;
	lazy_describe(lazy, &facts);
	struct lazy_extent extent = {.place = UINT64_MAX};
	uint64_t place = block * BLOCK, index = lazy_find(lazy, place);
	if (index < facts.extents)
		lazy_extent(lazy, index, &extent);
	bool known = block < model->count;
	if (!known || (!model->blocks[block].node && !model->blocks[block].metadata)) {
		CHECK(extent.place > place);
		return;
	}
	REQUIRE(extent.place <= place && place < extent.place + extent.length);
	uint64_t offset = extent.offset + (place - extent.place);
	if (model->blocks[block].metadata) {
		unsigned char byte = 0;
		CHECK_EQ(extent.file, LAZY_METADATA);
		CHECK_EQ(pread(fd, &byte, 1, (off_t)offset), 1);
		CHECK_EQ(byte, 1 + block % 255);
		return;
	}
	CHECK_EQ(offset, model->blocks[block].offset);
	uint64_t left = extent.place + extent.length - place;
	CHECK_EQ(MIN(left, (uint64_t)BLOCK), model->blocks[block].length);
	check_file(lazy, tree, extent.file, model->blocks[block].node);
}

/* A tree of two roots and a single file, with hard links, holes, and files without content. */
static struct tree *make_tree(void)
{
	char path[PATH_MAX];
	make_file("single", 1 + pick(50000));
	for (unsigned i = 0; i < 20; i++) {
		snprintf(path, sizeof path, "top/%u", pick(5));
		mkdir(path, 0755);
		if (pick(2)) {
			strcat(path, "/deeper");
			mkdir(path, 0755);
		}
		snprintf(path + strlen(path), 16, "/f%u", i);
		make_file(path, pick(4) ? pick(60000) : 0);
		if (pick(4) == 0)
			CHECK_EQ(link(path, strcat(strcpy(path + 100, path), ".link")), 0);
	}
	make_file("other/file", BLOCK);
	struct ramet_error err = {0};
	struct tree *tree = walk(&err);
	CHECK_EQ(tree_graft(tree, "other", "/bound", &quiet, NULL, &err), 0);
	CHECK_EQ(tree_graft(tree, "single", "/one", &quiet, NULL, &err), 0);
	CHECK_EQ(tree_finish(tree, &err), 0);
	return tree;
}

static void test_round_trip(void)
{
	seed = tap_seed();
	for (unsigned round = 0; round < 60; round++) {
		enter();
		_cleanup_tree_ struct tree *tree = make_tree();
		struct model model;
		make_model(&model, tree);
		_cleanup_close_ int out = memfd_create("lazy", MFD_CLOEXEC);
		struct ramet_error err = {0};
		struct lazy_figures figures;
		CHECK_EQ(lazy_write(out, model.spool, &model.layout, tree, "erofs", &figures, &err),
			0);
		_cleanup_lazy_ struct lazy *lazy = NULL;
		CHECK(lazy_probe(out));
		CHECK_EQ(lazy_open(out, "x", &lazy, &err), 0);
		if (!lazy)
			printf("# round %u: %s\n", round, err.message);
		REQUIRE(lazy != NULL);
		struct lazy_facts facts;
		lazy_describe(lazy, &facts);
		CHECK_STR(facts.format, "erofs");
		CHECK_EQ(facts.image_bytes, model.layout.image_bytes);
		CHECK_EQ(facts.files, figures.files);
		CHECK_EQ(facts.extents, figures.extents);
		for (uint64_t block = 0; block < model.count + 2; block++)
			check_block(lazy, out, tree, &model, block);
		CHECK_EQ(lazy_find(lazy, UINT64_MAX), facts.extents);
		free_model(&model);
		leave();
		REQUIRE(!tap_failed);
	}
}

/* A small one, in memory. */
static size_t make_small(uint8_t *bytes, size_t room)
{
	enter();
	make_file("top/a", 5000);
	make_file("top/b", 100);
	struct ramet_error err = {0};
	_cleanup_tree_ struct tree *tree = walk(&err);
	CHECK_EQ(tree_finish(tree, &err), 0);
	_cleanup_layout_ struct layout layout = {.image_bytes = 10 * (uint64_t)BLOCK};
	_cleanup_close_ int spool = memfd_create("spool", MFD_CLOEXEC);
	_cleanup_close_ int out = memfd_create("lazy", MFD_CLOEXEC);
	CHECK_EQ(pwrite_full(spool, "metadata", 8, 0), 0);
	CHECK_EQ(layout_point(&layout, tree_find(tree->root, "a"), 0, BLOCK, 5000), 0);
	CHECK_EQ(layout_point(&layout, tree_find(tree->root, "b"), 0, 4 * (uint64_t)BLOCK, 100), 0);
	CHECK_EQ(lazy_write(out, spool, &layout, tree, "squashfs", NULL, &err), 0);
	ssize_t n = pread_full(out, bytes, room, 0);
	CHECK(n > 0 && (size_t)n < room);
	leave();
	return n > 0 ? (size_t)n : 0;
}

static int open_bytes(const uint8_t *bytes, size_t length, struct ramet_error *err)
{
	_cleanup_close_ int fd = memfd_create("lazy", MFD_CLOEXEC);
	CHECK_EQ(pwrite_full(fd, bytes, length, 0), 0);
	_cleanup_lazy_ struct lazy *lazy = NULL;
	return lazy_open(fd, "base.lazy", &lazy, err);
}

static uint8_t small[16 * BLOCK];

/* Bytes that no checksum covers are those that fill the last block of a part, which nobody reads. */
static void test_damaged_bytes(void)
{
	size_t length = make_small(small, sizeof small);
	struct ramet_error err = {0};
	REQUIRE(open_bytes(small, length, &err) == 0);
	const struct lazy_disk_header *header = (const void *)small;
	size_t harmless = 0, covered = LAZY_HEADER;
	for (int i = 0; i < LAZY_PARTS; i++)
		covered += le64toh(header->parts[i].length);
	for (size_t at = 0; at < length; at++) {
		small[at] ^= (uint8_t)(1 << at % 8);
		int r = open_bytes(small, length, &err);
		small[at] ^= (uint8_t)(1 << at % 8);
		harmless += r == 0;
		CHECK(r == 0 || r == -EUCLEAN || r == -ENOTSUP || r == -EMEDIUMTYPE);
	}
	CHECK_EQ(harmless, length - covered);
}

static void test_truncated(void)
{
	size_t length = make_small(small, sizeof small);
	struct ramet_error err = {0};
	CHECK_EQ(open_bytes(small, 5, &err), -EMEDIUMTYPE);
	for (size_t at = 8; at < LAZY_HEADER; at += 511)
		CHECK_EQ(open_bytes(small, at, &err), -EUCLEAN);
	CHECK_STR(err.message, "base.lazy is truncated: it ends within its header; build it anew");
	for (size_t at = LAZY_HEADER; at + BLOCK <= length; at += 509)
		CHECK_EQ(open_bytes(small, at, &err), -EUCLEAN);
	CHECK(strstr(err.message, "is truncated: it has ") != NULL);
}

static void seal_header(void)
{
	struct lazy_disk_header *header = (void *)small;
	header->checksum = 0;
	header->checksum = htole32(crc32c(0, small, LAZY_HEADER));
}

static void test_newer_version(void)
{
	size_t length = make_small(small, sizeof small);
	struct ramet_error err = {0};
	((struct lazy_disk_header *)(void *)small)->version = htole32(LAZY_VERSION + 1);
	seal_header();
	CHECK_EQ(open_bytes(small, length, &err), -ENOTSUP);
	CHECK(strstr(err.message, "is of version 2 of the lazy format") != NULL);
}

/* Change a table and make all checksums right again. */
static int open_forged(size_t length, enum lazy_part part, size_t at, uint32_t value)
{
	struct lazy_disk_header *header = (void *)small;
	uint8_t *table = small + le64toh(header->parts[part].offset);
	size_t bytes = le64toh(header->parts[part].length);
	uint32_t kept, forged = htole32(value);
	memcpy(&kept, table + at, sizeof kept);
	memcpy(table + at, &forged, sizeof forged);
	header->parts[part].checksum = htole32(crc32c(0, table, bytes));
	seal_header();
	struct ramet_error err = {0};
	int r = open_bytes(small, length, &err);
	if (r == 0)
		printf("# part %d, byte %zu, value %u was taken\n", part, at, value);
	memcpy(table + at, &kept, sizeof kept);
	header->parts[part].checksum = htole32(crc32c(0, table, bytes));
	seal_header();
	return r;
}

#define EXTENT(n, field) \
	(n) * sizeof(struct lazy_disk_extent) + offsetof(struct lazy_disk_extent, field)
#define FILE_(n, field) (n) * sizeof(struct lazy_disk_file) + offsetof(struct lazy_disk_file, field)

static void test_forged_tables(void)
{
	size_t length = make_small(small, sizeof small);
	const struct {
		enum lazy_part part;
		size_t at;
		uint32_t value;
	} bad[] = {
		{LAZY_PART_EXTENTS, EXTENT(1, place), 0},          /* on the metadata */
		{LAZY_PART_EXTENTS, EXTENT(1, place), 4097},       /* not on a block */
		{LAZY_PART_EXTENTS, EXTENT(1, place), 3 * BLOCK},  /* on its neighbour */
		{LAZY_PART_EXTENTS, EXTENT(2, place), 10 * BLOCK}, /* beyond the end */
		{LAZY_PART_EXTENTS, EXTENT(1, length), 5001},      /* beyond its file */
		{LAZY_PART_EXTENTS, EXTENT(1, length), 0},
		{LAZY_PART_EXTENTS, EXTENT(1, length) + 4, 0xffffffff},
		{LAZY_PART_EXTENTS, EXTENT(1, offset), BLOCK},
		{LAZY_PART_EXTENTS, EXTENT(1, offset), 1},
		{LAZY_PART_EXTENTS, EXTENT(1, file), 2},
		{LAZY_PART_EXTENTS, EXTENT(1, file), LAZY_NONE},
		{LAZY_PART_EXTENTS, EXTENT(1, zero), 1},
		{LAZY_PART_EXTENTS, EXTENT(0, offset), 0}, /* the header as metadata */
		{LAZY_PART_FILES, FILE_(0, size), 4999},
		{LAZY_PART_FILES, FILE_(0, size) + 4, 0x80000000},
		{LAZY_PART_FILES, FILE_(0, mtime_nsec), 1000000000},
		{LAZY_PART_FILES, FILE_(0, folder), 1},
		{LAZY_PART_FILES, FILE_(0, name), 0}, /* the root's path: has a slash */
		{LAZY_PART_FILES, FILE_(0, name), 100000},
		{LAZY_PART_FOLDERS, 0, 0}, /* in itself */
		{LAZY_PART_FOLDERS, 4, 1}, /* of a root that is not there */
		{LAZY_PART_ROOTS, 0, 1},   /* not absolute */
		{LAZY_PART_ROOTS, 0, 100000},
	};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		CHECK_EQ(open_forged(length, bad[i].part, bad[i].at, bad[i].value), -EUCLEAN);
	/* The names are "/tmp/...", "a", "b". */
	const struct lazy_disk_header *header = (const void *)small;
	size_t end = le64toh(header->parts[LAZY_PART_NAMES].length);
	CHECK_EQ(open_forged(length, LAZY_PART_NAMES, end - 4, 0x2e002e2e), -EUCLEAN); /* ".." */
	CHECK_EQ(open_forged(length, LAZY_PART_NAMES, end - 4, 0x00620000), -EUCLEAN); /* "" */
	CHECK_EQ(open_forged(length, LAZY_PART_NAMES, end - 4, 0x6162002f), -EUCLEAN); /* no end */
	struct ramet_error err = {0};
	CHECK_EQ(open_bytes(small, length, &err), 0);
}

static void test_overlaps_are_not_written(void)
{
	enter();
	make_file("top/a", 5000);
	struct ramet_error err = {0};
	_cleanup_tree_ struct tree *tree = walk(&err);
	CHECK_EQ(tree_finish(tree, &err), 0);
	_cleanup_layout_ struct layout layout = {.image_bytes = 10 * (uint64_t)BLOCK};
	_cleanup_close_ int spool = memfd_create("spool", MFD_CLOEXEC);
	_cleanup_close_ int out = memfd_create("lazy", MFD_CLOEXEC);
	CHECK_EQ(pwrite_full(spool, "metadata", 8, 2 * (uint64_t)BLOCK), 0);
	CHECK_EQ(layout_point(&layout, tree_find(tree->root, "a"), 0, BLOCK, 5000), 0);
	CHECK_EQ(lazy_write(out, spool, &layout, tree, "squashfs", NULL, &err), -EIO);
	CHECK(!lazy_probe(out));
	leave();
}

TEST_MAIN({"what is laid out comes back, block by block", test_round_trip},
	{"every damaged byte is refused, or is one that nobody reads", test_damaged_bytes},
	{"a truncated file is refused", test_truncated},
	{"a newer version is named", test_newer_version},
	{"tables that lead astray are refused, whatever their checksums say", test_forged_tables},
	{"content and metadata in one place are not written", test_overlaps_are_not_written})
