/* SPDX-License-Identifier: Apache-2.0 */
/* The EROFS view, against images of the corpus whose content is known (tests/fuzz/erofs_image.py). */
#include <endian.h>
#include <fcntl.h>

#include "image/erofs_format.h"
#include "image/erofs_reader.h"
#include "tests/fuzz/image.h"
#include "tests/unit/tap.h"

struct opened {
	int fd;
	struct fs *fs;
};

static void opened_close(struct opened *opened)
{
	fs_close(opened->fs);
	cleanup_close(&opened->fd);
}
#define _cleanup_opened_ __attribute__((cleanup(opened_close)))

static int image_fd(const char *name)
{
	_cleanup_free_ char *data = NULL;
	const char *root = getenv("SOURCE_ROOT");
	size_t size;
	char path[512];
	snprintf(path, sizeof path, "%s/tests/corpus/good/erofs/%s", root ? root : ".", name);
	if (read_file(AT_FDCWD, path, 64 << 20, &data, &size) < 0)
		return -1;
	return image_sparse((uint8_t *)data, size);
}

static struct opened open_image(const char *name)
{
	struct opened opened = {.fd = image_fd(name)};
	struct ramet_error err = {0};
	if (opened.fd < 0 || erofs_open(opened.fd, &opened.fs, &err) < 0)
		printf("# %s: %s\n", name, err.message);
	return opened;
}

static struct fs_stat stat_of(struct fs *fs, const char *path, fs_ref *ref)
{
	struct fs_stat stat = {0};
	CHECK_EQ(fs_lookup(fs, path, ref, NULL), 0);
	CHECK_EQ(fs->ops->stat(fs, *ref, &stat, NULL), 0);
	return stat;
}

static void test_stat(void)
{
	_cleanup_opened_ struct opened o = open_image("made-b4096");
	fs_ref ref, linked;
	REQUIRE(o.fs);
	struct fs_stat stat = stat_of(o.fs, "/file", &ref);
	CHECK_EQ(stat.mode, S_IFREG | 0644);
	CHECK_EQ(stat.uid, 70000);
	CHECK_EQ(stat.gid, 80000);
	CHECK_EQ(stat.nlink, 2);
	CHECK_EQ(stat.size, 2 * 4096 + 100);
	CHECK_EQ(stat.mtime, 1600000005);
	CHECK_EQ(stat.mtime_nsec, 123456789);
	CHECK_EQ(stat_of(o.fs, "/dir/sub/deep/linked", &linked).inode, stat.inode);
	CHECK_EQ(linked, ref);
	CHECK(o.fs->ops->same(o.fs, ref, o.fs, linked));
	stat = stat_of(o.fs, "/device", &ref);
	CHECK_EQ(stat.rdev_major, 5);
	CHECK_EQ(stat.rdev_minor, 300);
	CHECK_EQ(stat_of(o.fs, "/dir", &ref).nlink, 3);
}

static void test_compact(void)
{
	_cleanup_opened_ struct opened o = open_image("made-b1024+wide+dotless+compact");
	fs_ref ref;
	REQUIRE(o.fs);
	struct fs_stat stat = stat_of(o.fs, "/plain", &ref);
	CHECK_EQ(stat.uid, 7);
	CHECK_EQ(stat.gid, 8);
	CHECK_EQ(stat.nlink, 1);
	CHECK_EQ(stat.mtime, 1600000000 + 7);
	CHECK_EQ(stat.mtime_nsec, 99);
	CHECK_EQ(stat_of(o.fs, "/file", &ref).nlink, 2);
}

static bool has(const struct fs_xattrs *xattrs, const char *name, const char *value, size_t size)
{
	const struct fs_xattr *found = fs_xattrs_find(xattrs, name);
	return found && found->size == size && memcmp(found->value, value, size) == 0;
}

static void check_prefixes(const char *name)
{
	_cleanup_opened_ struct opened o = open_image(name);
	_cleanup_xattrs_ struct fs_xattrs xattrs = {0};
	fs_ref ref;
	REQUIRE(o.fs && fs_lookup(o.fs, "/file", &ref, NULL) == 0);
	CHECK_EQ(o.fs->ops->xattrs(o.fs, ref, &xattrs, NULL), 0);
	CHECK_EQ(xattrs.count, 5);
	CHECK(has(&xattrs, "user.small", "value", 5));
	CHECK(has(&xattrs, "security.selinux", "label", 6));
	CHECK(has(&xattrs, "user.long.prefix.name", "one", 3));
	CHECK(has(&xattrs, "trusted.overlay.opaque", "y", 1));
	CHECK(fs_xattrs_find(&xattrs, "trusted.shared"));
}

static void test_attributes(void)
{
	check_prefixes("made-b4096+plain");
	check_prefixes("made-b512+packed");
	_cleanup_opened_ struct opened o = open_image("made-b4096");
	_cleanup_xattrs_ struct fs_xattrs xattrs = {0};
	fs_ref ref;
	REQUIRE(o.fs && fs_lookup(o.fs, "/chunks", &ref, NULL) == 0);
	CHECK_EQ(o.fs->ops->xattrs(o.fs, ref, &xattrs, NULL), 0);
	CHECK_EQ(xattrs.count, 2);
	CHECK(has(&xattrs, "user.too", "", 0));
}

/* A block, three of zeros that are not there, one, a short one. */
static void check_holes(struct fs *fs, const char *path)
{
	static const struct {
		uint64_t at, length;
		bool hole;
	} wanted[] = {{0, 4096, false}, {4096, 3 * 4096, true}, {4 * 4096, 4096 + 99, false}};
	fs_ref ref;
	REQUIRE(fs_lookup(fs, path, &ref, NULL) == 0);
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		struct fs_extent extent;
		CHECK_EQ(fs->ops->extent(fs, ref, wanted[i].at, &extent, NULL), 0);
		CHECK_EQ(extent.offset, wanted[i].at);
		CHECK_EQ(extent.length, wanted[i].length);
		CHECK_EQ(extent.hole, wanted[i].hole);
		CHECK_EQ(fs->ops->extent(fs, ref, wanted[i].at + 50, &extent, NULL), 0);
		CHECK_EQ(extent.length, wanted[i].length - 50);
	}
	struct fs_extent extent;
	CHECK_EQ(fs->ops->extent(fs, ref, 5 * 4096 + 99, &extent, NULL), -ENXIO);
}

static void test_holes(void)
{
	_cleanup_opened_ struct opened o = open_image("made-b4096");
	REQUIRE(o.fs);
	check_holes(o.fs, "/chunks");
	check_holes(o.fs, "/indexes");
}

/* What an extent says stands at its place in the image is what read() reads; counts the bytes. */
static void check_extents(const struct opened *o, fs_ref ref, uint64_t size, uint64_t *stored)
{
	static uint8_t read[65536], there[sizeof read];
	struct fs_extent extent;
	for (uint64_t at = 0; at < size; at = extent.offset + extent.length) {
		size_t done, length;
		REQUIRE(o->fs->ops->extent(o->fs, ref, at, &extent, NULL) == 0);
		length = (size_t)MIN((uint64_t)sizeof read, extent.length);
		CHECK_EQ(o->fs->ops->read(o->fs, ref, at, read, length, &done, NULL), 0);
		CHECK_EQ(done, length);
		memset(there, 0, length);
		if (!extent.hole)
			CHECK_EQ(pread_full(o->fd, there, length, extent.device_offset), length);
		CHECK(memcmp(read, there, length) == 0);
		*stored += extent.hole ? 0 : extent.length;
	}
}

static void test_extents(void)
{
	static const char *const images[] = {"plain", "chunks", "indexes", "not-inline",
		"made-b512+compact", "made-b4096", "made-b65536+wide"};
	for (size_t i = 0; i < ARRAY_SIZE(images); i++) {
		_cleanup_opened_ struct opened o = open_image(images[i]);
		_cleanup_entries_ struct fs_entries entries = {0};
		fs_ref folder;
		uint64_t stored = 0;
		const char *path = strncmp(images[i], "made", 4) == 0 ? "/" : "/dir";
		REQUIRE(o.fs && fs_lookup(o.fs, path, &folder, NULL) == 0);
		REQUIRE(o.fs->ops->list(o.fs, folder, &entries, NULL) == 0);
		for (size_t e = 0; e < entries.count; e++) {
			struct fs_stat stat;
			REQUIRE(o.fs->ops->stat(o.fs, entries.items[e].ref, &stat, NULL) == 0);
			CHECK_EQ(stat.mode & S_IFMT, entries.items[e].type);
			if (S_ISREG(stat.mode))
				check_extents(&o, entries.items[e].ref, stat.size, &stored);
		}
		CHECK(stored > 1000);
	}
}

/* An image in which the inode of path claims a size and a layout; answers its fd. */
static int stretched(const char *path, uint64_t size, uint32_t u, unsigned format)
{
	_cleanup_opened_ struct opened o = open_image("made-b65536+wide");
	struct erofs_super super;
	struct erofs_inode_extended inode;
	fs_ref ref;
	if (!o.fs || fs_lookup(o.fs, path, &ref, NULL) < 0)
		return -1;
	CHECK_EQ(pread_full(o.fd, &super, sizeof super, EROFS_SUPER_OFFSET), sizeof super);
	super.feature_compat &= ~htole32(EROFS_COMPAT_SUPER_CHECKSUM);
	uint64_t place = ((uint64_t)le32toh(super.meta_block) << super.block_bits) +
			 ref * EROFS_SLOT_SIZE;
	CHECK_EQ(pread_full(o.fd, &inode, sizeof inode, place), sizeof inode);
	inode.size = htole64(size);
	inode.u = htole32(u);
	inode.format = htole16((uint16_t)format);
	CHECK_EQ(pwrite_full(o.fd, &super, sizeof super, EROFS_SUPER_OFFSET), 0);
	CHECK_EQ(pwrite_full(o.fd, &inode, sizeof inode, place), 0);
	return TAKE_FD(o.fd);
}

/* 8 EiB of nothing take one extent, and as many as its list has entries in chunks. */
static void test_huge(void)
{
	static const struct {
		const char *path;
		uint64_t size;
		uint32_t u;
		unsigned format;
		uint64_t extent;
	} cases[] = {
		{"/hole", INT64_MAX, 0xFFFFFFFF, EROFS_FORMAT_EXTENDED, INT64_MAX},
		/* One chunk, whose address behind the inode happens to be zeros: block 0. */
		{"/empty", 1ull << 47, 31,
			EROFS_FORMAT_EXTENDED | EROFS_CHUNK_BASED << EROFS_FORMAT_LAYOUT_SHIFT, 0},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct opened o = {
			.fd = stretched(cases[i].path, cases[i].size, cases[i].u, cases[i].format)};
		struct ramet_error err = {0};
		struct fs_extent extent;
		uint8_t byte = 1;
		size_t done;
		fs_ref ref;
		REQUIRE(o.fd >= 0 && erofs_open(o.fd, &o.fs, &err) == 0);
		CHECK_EQ(stat_of(o.fs, cases[i].path, &ref).size, cases[i].size);
		int r = o.fs->ops->extent(o.fs, ref, 0, &extent, &err);
		if (cases[i].extent) {
			CHECK_EQ(r, 0);
			CHECK_EQ(extent.length, cases[i].extent);
			CHECK_EQ(o.fs->ops->read(
					 o.fs, ref, cases[i].size - 1, &byte, 1, &done, &err),
				0);
			CHECK_EQ(byte, 0);
		} else {
			CHECK_EQ(r, -EUCLEAN);
			CHECK(strstr(err.message, "beyond the end"));
		}
		opened_close(&o);
	}
}

static void test_probe(void)
{
	_cleanup_close_ int fd = image_fd("made-b4096"), none = memfd_create("none", MFD_CLOEXEC);
	uint64_t bytes;
	struct stat st;
	REQUIRE(fd >= 0 && none >= 0 && fstat(fd, &st) == 0);
	CHECK(erofs_probe(fd));
	CHECK_EQ(erofs_length(fd, &bytes, NULL), 0);
	CHECK_EQ(bytes, st.st_size);
	CHECK(!erofs_probe(none));
	CHECK_EQ(erofs_length(none, &bytes, NULL), -EMEDIUMTYPE);
	CHECK_EQ(ftruncate(none, 65536), 0);
	CHECK(!erofs_probe(none));
}

TEST_MAIN({"an extended inode's owner, time, links and device are read", test_stat},
	{"a compact inode takes the image's time and has one link or many", test_compact},
	{"attributes have their whole names, long prefixes included", test_attributes},
	{"holes and chunks in a row are one extent each", test_holes},
	{"an extent's place in the image holds the file's bytes", test_extents},
	{"files of absurd sizes take one answer", test_huge},
	{"an image is known by its superblock, which says how long it is", test_probe})
