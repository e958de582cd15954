/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every format's layout promises: with the content put where it says, it is the plain image, byte
 * for byte; and no content was read for it. Random trees, of the sizes at which blocks begin and end.
 * SEED=N repeats a run.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/folder.h"
#include "image/image.h"
#include "source/source.h"
#include "tests/tools/fill.h"
#include "tests/unit/tap.h"

enum { ROUNDS = 8, MOST_FILES = 200 };

static char folder[] = "/tmp/ramet-layout.XXXXXX";
static uint64_t state;

static uint64_t random_below(uint64_t bound)
{
	state = state * 6364136223846793005 + 1442695040888963407;
	return (state >> 33) % bound;
}

static size_t random_size(void)
{
	static const size_t edges[] = {0, 1, 4095, 4096, 4097, 65535, 65536, 131072, 131073};
	switch (random_below(3)) {
	case 0:
		return edges[random_below(ARRAY_SIZE(edges))];
	case 1:
		return random_below(8192);
	default:
		return random_below(400000);
	}
}

/* Blocks of zeros are among it: a plain image has them as they are. */
static void fill_bytes(char *bytes, size_t length)
{
	for (size_t at = 0; at < length; at += 4096) {
		size_t piece = MIN(length - at, (size_t)4096);
		memset(bytes + at, random_below(5) ? 0 : 'a', piece);
		if (random_below(5))
			for (size_t i = 0; i < piece; i += 1 + random_below(97))
				bytes[at + i] = (char)random_below(256);
	}
}

static void make_file(const char *path)
{
	static char bytes[400000];
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	size_t length = random_size();
	fill_bytes(bytes, length);
	if (length > 4096 && random_below(4) == 0) {
		/* With holes: a few islands. */
		CHECK_EQ(ftruncate(fd, (off_t)(length * 7 + random_below(4096))), 0);
		for (unsigned i = 0; i < random_below(4); i++)
			CHECK_EQ(pwrite_full(fd, bytes, MIN(length, (size_t)10000),
					 random_below(length * 6)),
				0);
	} else {
		CHECK_EQ(write_full(fd, bytes, length), 0);
	}
}

/* A name in one of the folders made so far. */
static void make_entry(unsigned number, unsigned folders)
{
	char path[64], other[64], target[128];
	unsigned parent = (unsigned)random_below(folders);
	snprintf(path, sizeof path, "top/d%u/%u", parent, number);
	snprintf(other, sizeof other, "top/d%u/%u", parent, number - 1);
	switch (random_below(8)) {
	case 0:
		memset(target, 't', sizeof target);
		target[random_below(sizeof target - 1) + 1] = '\0';
		target[sizeof target - 1] = '\0';
		CHECK_EQ(symlink(target, path), 0);
		break;
	case 1: /* a further name, where there is something to be named */
		if (linkat(AT_FDCWD, other, AT_FDCWD, path, 0) == 0)
			break;
		/* fallthrough */
	default:
		make_file(path);
	}
}

static void make_folder(void)
{
	char path[64];
	unsigned folders = 1 + (unsigned)random_below(8);
	CHECK(mkdir("top", 0755) == 0);
	for (unsigned i = 0; i < folders; i++) {
		snprintf(path, sizeof path, "top/d%u", i);
		CHECK_EQ(mkdir(path, 0755), 0);
	}
	unsigned files = (unsigned)random_below(MOST_FILES);
	for (unsigned i = 1; i <= files; i++)
		make_entry(i, folders);
}

static struct tree *walk(void)
{
	static const char memory[10000] = "content that is in no file";
	static const struct source_options quiet;
	struct ramet_error err = {0};
	struct tree *tree = NULL;
	CHECK_EQ(tree_new(&tree, &err), 0);
	CHECK_EQ(source_walk(tree, "top", &quiet, &err), 0);
	CHECK_EQ(tree_add_file(tree, "/sbin/made", 0755, memory, sizeof memory, &err), 0);
	CHECK_EQ(tree_finish(tree, &err), 0);
	return tree;
}

static int make_image(const struct image_format *format, struct tree *tree, struct layout *layout,
	struct image_figures *figures)
{
	struct ramet_error err = {0};
	const struct image_options options = {.plain = true, .layout = layout};
	int fd = memfd_create("image", MFD_CLOEXEC);
	CHECK(fd >= 0);
	CHECK_EQ(format->write(tree, fd, &options, figures, &err), 0);
	if (*err.message)
		printf("# %s\n", err.message);
	return fd;
}

/* Whether each run is where a run may be. */
static void check_runs(const struct layout *layout)
{
	for (size_t i = 0; i < layout->runs.count; i++) {
		const struct layout_run *run = &layout->runs.items[i];
		CHECK_EQ(run->place % LAYOUT_BLOCK, 0);
		CHECK_EQ(run->offset % LAYOUT_BLOCK, 0);
		CHECK(run->length > 0 && run->offset + run->length <= run->node->size);
		CHECK(run->place + run->length <= layout->image_bytes);
		CHECK(!tree_link(run->node) && S_ISREG(run->node->mode));
	}
	CHECK_EQ(layout->image_bytes % LAYOUT_BLOCK, 0);
}

/* Before the content is put in, its places are zeros: nothing else may stand there. */
static void check_places(const struct layout *layout, int fd)
{
	static char bytes[65536], zeros[65536];
	for (size_t i = 0; i < layout->runs.count && !tap_failed; i++) {
		const struct layout_run *run = &layout->runs.items[i];
		size_t length = MIN(run->length, (uint64_t)sizeof bytes);
		CHECK_EQ(pread_full(fd, bytes, length, run->place), length);
		CHECK(memcmp(bytes, zeros, length) == 0);
	}
}

static void check_same(int a, int b)
{
	static char x[65536], y[65536];
	ssize_t n = sizeof x, m;
	for (uint64_t at = 0; n == sizeof x && !tap_failed; at += sizeof x) {
		n = pread_full(a, x, sizeof x, at);
		m = pread_full(b, y, sizeof y, at);
		CHECK_EQ(n, m);
		CHECK(n >= 0 && memcmp(x, y, (size_t)n) == 0);
	}
}

static void check_format(const struct image_format *format)
{
	_cleanup_tree_ struct tree *tree = walk();
	_cleanup_layout_ struct layout layout = {0};
	struct ramet_error err = {0};
	struct image_figures figures;
	_cleanup_close_ int plain = make_image(format, tree, NULL, &figures);
	_cleanup_close_ int laid_out = make_image(format, tree, &layout, &figures);
	CHECK_EQ(figures.bytes_read, 10000);
	CHECK_EQ(layout.image_bytes, figures.image_bytes);
	check_runs(&layout);
	check_places(&layout, laid_out);
	CHECK_EQ(fill(tree, &layout, laid_out, &err), 0);
	check_same(plain, laid_out);
}

static void check_rounds(const struct image_format *format)
{
	const char *given = getenv("SEED");
	uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
	printf("# %s: SEED=%llu\n", format->name, (unsigned long long)seed);
	state = seed;
	for (unsigned round = 0; round < ROUNDS && !tap_failed; round++) {
		strcpy(folder + strlen(folder) - 6, "XXXXXX");
		REQUIRE(mkdtemp(folder) && chdir(folder) == 0);
		make_folder();
		check_format(format);
		CHECK_EQ(chdir("/tmp"), 0);
		CHECK_EQ(folder_remove(AT_FDCWD, folder), 0);
	}
}

static void test_erofs(void)
{
	check_rounds(&image_erofs);
}

static void test_squashfs(void)
{
	check_rounds(&image_squashfs);
}

static void test_ext4(void)
{
	check_rounds(&image_ext4);
}

/* Content that only reading shows to be equal, or small, cannot be left where it is. */
static void test_refused(void)
{
	strcpy(folder + strlen(folder) - 6, "XXXXXX");
	REQUIRE(mkdtemp(folder) && chdir(folder) == 0 && mkdir("top", 0755) == 0);
	_cleanup_tree_ struct tree *tree = walk();
	struct image_figures figures;
	const struct image_options shared = {.plain = true, .dedupe = true};
	const struct image_options small = {.plain = true, .compression = "lz4"};
	CHECK_EQ(image_erofs.write(tree, -1, &shared, &figures, NULL), -EINVAL);
	CHECK_EQ(image_erofs.write(tree, -1, &small, &figures, NULL), -EINVAL);
	CHECK(chdir("/tmp") == 0 && folder_remove(AT_FDCWD, folder) == 0);
}

TEST_MAIN({"an erofs layout with its content is the plain erofs", test_erofs},
	{"a squashfs layout with its content is the plain squashfs", test_squashfs},
	{"an ext4 layout with its content is the plain ext4", test_ext4},
	{"a plain erofs is neither compressed nor are its chunks shared", test_refused})
