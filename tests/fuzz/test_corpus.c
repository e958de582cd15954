/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The corpus: every image of tests/corpus/good is read whole, every one of tests/corpus/bad is
 * refused, by name. What a fuzz target finds becomes a file of bad with a line here.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

#include "image/erofs_reader.h"
#include "image/ext4_reader.h"
#include "image/overlay.h"
#include "image/squashfs_reader.h"
#include "tests/fuzz/image.h"
#include "tests/fuzz/lazy.h"
#include "tests/unit/tap.h"

static const char *corpus(void)
{
	const char *given = getenv("CORPUS");
	return given ? given : "tests/corpus";
}

static int open_ext4(int fd, struct fs **fs, struct ramet_error *err)
{
	bool replayed;
	return ext4_open(fd, fs, &replayed, err);
}

/* How the files of each format are kept, and opened. */
static const struct kind {
	const char *format;
	bool short_form;
	int (*open)(int fd, struct fs **fs, struct ramet_error *err);
} kinds[] = {
	{"squashfs", false, squashfs_open},
	{"ext4", true, open_ext4},
	{"erofs", true, erofs_open},
	{"lazy", true, NULL},
};

static const struct kind *kind_find(const char *format)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (strcmp(kinds[i].format, format) == 0)
			return &kinds[i];
	abort();
}

static int read_whole(int dirfd, const char *format, const char *path, struct ramet_error *err)
{
	_cleanup_free_ char *data = NULL;
	_cleanup_fs_ struct fs *fs = NULL;
	size_t size;
	const struct kind *kind = kind_find(format);
	int r = read_file(dirfd, path, 64 << 20, &data, &size);
	if (r < 0)
		return error_errno(err, -r, "%s", path);
	_cleanup_close_ int fd = kind->short_form ? image_sparse((uint8_t *)data, size)
						  : image_plain((uint8_t *)data, size);
	if (fd < 0)
		return error_set(err, EINVAL, "%s is no short form", path);
	if (!kind->open)
		return lazy_walk(fd, err);
	r = kind->open(fd, &fs, err);
	return r < 0 ? r : walk_all(fs, err);
}

static void all_good(const char *format)
{
	_cleanup_free_ char *folder = NULL;
	CHECK(asprintf(&folder, "%s/good/%s", corpus(), format) > 0);
	DIR *dir = opendir(folder);
	REQUIRE(dir);
	unsigned count = 0;
	for (struct dirent *entry; (entry = readdir(dir));) {
		struct ramet_error err = {0};
		if (entry->d_name[0] == '.')
			continue;
		int r = read_whole(dirfd(dir), format, entry->d_name, &err);
		if (r < 0)
			printf("# %s: %s\n", entry->d_name, err.message);
		CHECK_EQ(r, 0);
		count++;
	}
	closedir(dir);
	CHECK(count >= 4);
}

static void test_good_squashfs(void)
{
	all_good("squashfs");
}

static void test_good_ext4(void)
{
	all_good("ext4");
}

static void test_good_erofs(void)
{
	all_good("erofs");
}

static void test_good_lazy(void)
{
	all_good("lazy");
}

static const struct refusal {
	const char *format, *file;
	int code;
	const char *part; /* of the sentence */
} refusals[] = {
	{"squashfs", "block-size", EUCLEAN, "blocks of 3 bytes"},
	{"squashfs", "compression-unknown", EOPNOTSUPP, "number 77"},
	{"squashfs", "directory-called-a-file", EUCLEAN, "is called something else"},
	{"squashfs", "directory-loop", EUCLEAN, "has a second place in the tree"},
	{"squashfs", "inode-beyond", EUCLEAN, "beyond"},
	{"squashfs", "name-twice", EUCLEAN, "has two entries"},
	{"squashfs", "name-with-a-slash", EUCLEAN, "has a name that no file can have"},
	{"squashfs", "no-owners", EUCLEAN, "no table of owners"},
	{"squashfs", "root-beyond", EUCLEAN, "beyond the metadata block"},
	{"squashfs", "tables-disordered", EUCLEAN, "its tables are not in order"},
	{"squashfs", "truncated", EUCLEAN, "but the file has"},
	{"ext4", "attributes-no-block", EUCLEAN, "the attributes of inode"},
	{"ext4", "block-size", EUCLEAN, "blocks of 2^30 KiB"},
	{"ext4", "blocks-beyond-the-device", EUCLEAN, "but the device has"},
	{"ext4", "blocks-per-group", EUCLEAN, "groups of 0 blocks"},
	{"ext4", "directory-block-beyond", EUCLEAN, "blocks from block 99999999"},
	{"ext4", "directory-entries", EUCLEAN, "has an entry of"},
	{"ext4", "directory-loop", EUCLEAN, "has a second place in the tree"},
	{"ext4", "directory-size", EUCLEAN, "claims 4398046511104 bytes"},
	{"ext4", "directory-twice", EUCLEAN, "has a second place in the tree"},
	{"ext4", "encrypted", EOPNOTSUPP, "is encrypted"},
	{"ext4", "extent-beyond-the-device", EUCLEAN, "blocks from block 99999999"},
	{"ext4", "extent-depth", EUCLEAN, "its extent tree has a wrong head"},
	{"ext4", "feature-unknown", EOPNOTSUPP, "incompat 0x80000000"},
	{"ext4", "file-size", EUCLEAN, "claims 18446744073709547520 bytes"},
	{"ext4", "inode-size", EUCLEAN, "inodes of 129 bytes"},
	{"ext4", "inode-unused", EUCLEAN, "is not in use but has a name"},
	{"ext4", "inodes-absurd", EUCLEAN, "claims 4294967295 inodes"},
	{"ext4", "journal-block-beyond", EUCLEAN, "writes block 134217727"},
	{"ext4", "journal-feature", EOPNOTSUPP, "the journal: it has features"},
	{"ext4", "journal-length", EUCLEAN, "its superblock claims blocks"},
	{"ext4", "journal-no-superblock", EUCLEAN, "it has no superblock"},
	{"ext4", "journal-start", EUCLEAN, "said to start at its block 99999"},
	{"ext4", "journal-sum-of-commit", EUCLEAN, "has the wrong checksum"},
	{"ext4", "kind-unknown", EUCLEAN, "is not in use but has a name"},
	{"ext4", "root-below-itself", EUCLEAN, "has a second place in the tree"},
	{"ext4", "sum-of-superblock", EUCLEAN, "its superblock has the wrong checksum"},
	{"ext4", "truncated", EUCLEAN, "but the device has"},
	{"erofs", "attribute-large", EUCLEAN, "larger than all of them"},
	{"erofs", "attribute-name", EUCLEAN, "a name that there cannot be"},
	{"erofs", "attribute-prefix", EUCLEAN, "has the prefix 5, and there are 0"},
	{"erofs", "attribute-twice", EUCLEAN, "two attributes user.same"},
	{"erofs", "attributes-beyond", EUCLEAN, "refers to 262148 bytes"},
	{"erofs", "blob-device", EOPNOTSUPP, "other files or devices (1)"},
	{"erofs", "block-size", EUCLEAN, "blocks of 2^30 bytes"},
	{"erofs", "blocks-none", EUCLEAN, "it has 0 blocks"},
	{"erofs", "chunk-beyond", EUCLEAN, "from block 2147483647 on"},
	{"erofs", "chunk-device", EOPNOTSUPP, "another file (device 1)"},
	{"erofs", "chunk-form", EOPNOTSUPP, "chunks of the form 0x8000"},
	{"erofs", "chunk-list-beyond", EUCLEAN, "has no such list"},
	{"erofs", "chunk-list-cut", EUCLEAN, "has no such list"},
	{"erofs", "compressed", EOPNOTSUPP, "or build it again without compression"},
	{"erofs", "compressed-inode", EOPNOTSUPP, "its content is compressed"},
	{"erofs", "devices", EOPNOTSUPP, "other files or devices (3)"},
	{"erofs", "directory-blocks", EOPNOTSUPP, "directory blocks of a size"},
	{"erofs", "directory-called-a-file", EUCLEAN, "is called something else"},
	{"erofs", "directory-loop", EUCLEAN, "has a second place in the tree"},
	{"erofs", "directory-of-8-eib", EUCLEAN, "9223372036854771712 bytes of it"},
	{"erofs", "directory-of-holes", EUCLEAN, "its names at 0 of"},
	{"erofs", "directory-twice", EUCLEAN, "has a second place in the tree"},
	{"erofs", "directory-twice-in-one", EUCLEAN, "has a second place in the tree"},
	{"erofs", "entry-beyond", EUCLEAN, "inode 4611686018427387904, beyond"},
	{"erofs", "feature-unknown", EOPNOTSUPP, "incompat 0x80000000"},
	{"erofs", "file-beyond", EUCLEAN, "from block 2147483647 on"},
	{"erofs", "file-negative", EUCLEAN, "claims 18446744073709551615 bytes"},
	{"erofs", "file-of-8-eib", EUCLEAN, "9223372036854775807 bytes of it"},
	{"erofs", "inode-format", EOPNOTSUPP, "its format 0x8005"},
	{"erofs", "inode-layout", EOPNOTSUPP, "(format 0xb)"},
	{"erofs", "kind-unknown", EUCLEAN, "a kind that there is not"},
	{"erofs", "metabox", EOPNOTSUPP, "feature metabox"},
	{"erofs", "metadata-beyond", EUCLEAN, "start at block 4294967280"},
	{"erofs", "name-among-entries", EUCLEAN, "has a name from"},
	{"erofs", "name-backwards", EUCLEAN, "has a name from"},
	{"erofs", "name-beyond", EUCLEAN, "has a name from"},
	{"erofs", "name-long", EUCLEAN, "has a name from"},
	{"erofs", "name-offset-beyond", EUCLEAN, "its names at 60000"},
	{"erofs", "name-offset-none", EUCLEAN, "its names at 0 of"},
	{"erofs", "name-offset-odd", EUCLEAN, "its names at 13 of"},
	{"erofs", "name-twice", EUCLEAN, "has two entries"},
	{"erofs", "name-with-a-slash", EUCLEAN, "no file can have"},
	{"erofs", "name-with-a-zero", EUCLEAN, "no file can have"},
	{"erofs", "names-out-of-order", EUCLEAN, "out of order after"},
	{"erofs", "packed-beyond", EUCLEAN, "beyond the end of the image"},
	{"erofs", "prefix-long", EUCLEAN, "a prefix of it has 65535 bytes"},
	{"erofs", "prefixes-beyond", EUCLEAN, "refers to 3 bytes at 17179869180"},
	{"erofs", "prefixes-compressed", EOPNOTSUPP, "its content is compressed"},
	{"erofs", "root-below-itself", EUCLEAN, "has a second place in the tree"},
	{"erofs", "root-beyond", EUCLEAN, "beyond the end of the image"},
	{"erofs", "root-no-directory", EUCLEAN, "its root is no directory"},
	{"erofs", "root-wide-beyond", EUCLEAN, "beyond the end of the image"},
	{"erofs", "shared-attribute-beyond", EUCLEAN, "shared attribute 4294967295"},
	{"erofs", "shared-attributes", EUCLEAN, "255 shared attributes"},
	{"erofs", "sum-of-superblock", EUCLEAN, "wrong checksum"},
	{"erofs", "symlink-empty", EUCLEAN, "a target of 0 bytes"},
	{"erofs", "symlink-long", EUCLEAN, "a target of 4097 bytes"},
	{"erofs", "symlink-zero-byte", EUCLEAN, "has a zero byte"},
	{"erofs", "tail-across-blocks", EUCLEAN, "crosses the end of a block"},
	{"erofs", "time", EUCLEAN, "1000000000 nanoseconds"},
	{"erofs", "time-overflow", EUCLEAN, "its time is beyond"},
	{"erofs", "truncated", EUCLEAN, "but the file has"},
	{"lazy", "content-bytes", EUCLEAN, "its extents are not as long as it says"},
	{"lazy", "extent-before-another", EUCLEAN, "its extent 2 makes no sense"},
	{"lazy", "extent-beyond-its-file", EUCLEAN, "its extent 1 makes no sense"},
	{"lazy", "extent-beyond-the-image", EUCLEAN, "its extent 3 makes no sense"},
	{"lazy", "extent-file", EUCLEAN, "its extent 1 makes no sense"},
	{"lazy", "extent-flags", EUCLEAN, "its extent 1 makes no sense"},
	{"lazy", "extent-not-on-a-block", EUCLEAN, "its extent 1 makes no sense"},
	{"lazy", "extent-of-nothing", EUCLEAN, "its extent 1 makes no sense"},
	{"lazy", "extent-offset-not-on-a-block", EUCLEAN, "its extent 2 makes no sense"},
	{"lazy", "extent-offset-wraps", EUCLEAN, "its extent 1 makes no sense"},
	{"lazy", "extent-on-another", EUCLEAN, "its extent 2 makes no sense"},
	{"lazy", "extent-wraps", EUCLEAN, "its extent 3 makes no sense"},
	{"lazy", "extents-beyond", EUCLEAN,
		"it is truncated: it has 36864 bytes, and should have 1099511631872"},
	{"lazy", "extents-sum", EUCLEAN, "the checksum of its table of extents is wrong"},
	{"lazy", "file-folder", EUCLEAN, "its file 0 makes no sense"},
	{"lazy", "file-name-beyond", EUCLEAN, "its file 0 makes no sense"},
	{"lazy", "file-name-dot", EUCLEAN, "its file 0 makes no sense"},
	{"lazy", "file-name-dot-dot", EUCLEAN, "its file 0 makes no sense"},
	{"lazy", "file-name-empty", EUCLEAN, "its file 0 makes no sense"},
	{"lazy", "file-name-slash", EUCLEAN, "its file 0 makes no sense"},
	{"lazy", "file-negative", EUCLEAN, "its file 0 makes no sense"},
	{"lazy", "file-time", EUCLEAN, "its file 0 makes no sense"},
	{"lazy", "files-beyond", EUCLEAN,
		"its header has an impossible place for the table of files"},
	{"lazy", "files-sum", EUCLEAN, "the checksum of its table of files is wrong"},
	{"lazy", "folder-in-a-later-one", EUCLEAN, "its folder 0 makes no sense"},
	{"lazy", "folder-in-itself", EUCLEAN, "its folder 1 makes no sense"},
	{"lazy", "folder-name-beyond", EUCLEAN, "its folder 1 makes no sense"},
	{"lazy", "folder-name-dot", EUCLEAN, "its folder 1 makes no sense"},
	{"lazy", "folder-name-dot-dot", EUCLEAN, "its folder 1 makes no sense"},
	{"lazy", "folder-name-empty", EUCLEAN, "its folder 1 makes no sense"},
	{"lazy", "folder-name-slash", EUCLEAN, "its folder 1 makes no sense"},
	{"lazy", "folder-root", EUCLEAN, "its folder 0 makes no sense"},
	{"lazy", "folders-beyond", EUCLEAN,
		"it is truncated: it has 36864 bytes, and should have 1099511631872"},
	{"lazy", "folders-sum", EUCLEAN, "the checksum of its table of folders is wrong"},
	{"lazy", "header-goes-on", EUCLEAN, "its header goes on where it should end"},
	{"lazy", "header-sum", EUCLEAN, "the checksum of its header is wrong"},
	{"lazy", "image-not-of-blocks", EUCLEAN, "its image is no whole number of blocks"},
	{"lazy", "image-too-large", EUCLEAN, "its image is no whole number of blocks"},
	{"lazy", "magic", EMEDIUMTYPE, "it is no lazy image"},
	{"lazy", "metadata-beyond", EUCLEAN,
		"it is truncated: it has 36864 bytes, and should have 1099511631872"},
	{"lazy", "metadata-is-a-table", EUCLEAN, "its extent 3 makes no sense"},
	{"lazy", "metadata-is-the-header", EUCLEAN, "its extent 0 makes no sense"},
	{"lazy", "metadata-of-half-a-block", EUCLEAN, "its extent 0 makes no sense"},
	{"lazy", "metadata-sum", EUCLEAN, "the checksum of its metadata is wrong"},
	{"lazy", "name-without-end", EUCLEAN, "its last name has no end"},
	{"lazy", "names-beyond", EUCLEAN,
		"it is truncated: it has 36864 bytes, and should have 1099511631872"},
	{"lazy", "names-sum", EUCLEAN, "the checksum of its names is wrong"},
	{"lazy", "no-names", EUCLEAN, "its root 0 makes no sense"},
	{"lazy", "part-in-header", EUCLEAN, "its header has an impossible place for the names"},
	{"lazy", "part-not-on-a-block", EUCLEAN,
		"its header has an impossible place for the table of extents"},
	{"lazy", "part-of-half-entries", EUCLEAN,
		"its header has an impossible place for the table of files"},
	{"lazy", "part-wraps", EUCLEAN,
		"its header has an impossible place for the table of extents"},
	{"lazy", "root-path-beyond", EUCLEAN, "its root 0 makes no sense"},
	{"lazy", "root-relative", EUCLEAN, "its root 0 makes no sense"},
	{"lazy", "roots-beyond", EUCLEAN,
		"it is truncated: it has 36864 bytes, and should have 1099511631872"},
	{"lazy", "roots-sum", EUCLEAN, "the checksum of its table of roots is wrong"},
	{"lazy", "truncated", EUCLEAN,
		"it is truncated: it has 32768 bytes, and should have 32793"},
	{"lazy", "truncated-in-header", EUCLEAN, "it is truncated: it ends within its header"},
	{"lazy", "version-newer", ENOTSUP,
		"it is of version 2 of the lazy format, and this ramet reads up to 1"},
	{"lazy", "version-none", EUCLEAN, "it has no version"},
};

static void test_bad(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		const struct refusal *refusal = &refusals[i];
		struct ramet_error err = {0};
		char path[512];
		snprintf(path, sizeof path, "%s/bad/%s/%s", corpus(), refusal->format,
			refusal->file);
		int r = read_whole(AT_FDCWD, refusal->format, path, &err);
		if (r != -refusal->code || !strstr(err.message, refusal->part))
			printf("# %s/%s: %d: %s\n", refusal->format, refusal->file, r, err.message);
		CHECK_EQ(r, -refusal->code);
		CHECK(strstr(err.message, refusal->part));
	}
}

/* Each file of bad has its line above. */
static void test_bad_known(void)
{
	for (size_t f = 0; f < ARRAY_SIZE(kinds); f++) {
		char folder[512];
		snprintf(folder, sizeof folder, "%s/bad/%s", corpus(), kinds[f].format);
		DIR *dir = opendir(folder);
		REQUIRE(dir);
		for (struct dirent *entry; (entry = readdir(dir));) {
			bool known = entry->d_name[0] == '.';
			for (size_t i = 0; i < ARRAY_SIZE(refusals); i++)
				known = known ||
					(strcmp(refusals[i].format, kinds[f].format) == 0 &&
						strcmp(refusals[i].file, entry->d_name) == 0);
			if (!known)
				printf("# no line for %s/%s\n", kinds[f].format, entry->d_name);
			CHECK(known);
		}
		closedir(dir);
	}
}

static struct fs *open_path(const char *name, bool ext4, int *fd)
{
	_cleanup_free_ char *data = NULL;
	struct fs *fs = NULL;
	size_t size;
	bool replayed;
	char path[512];
	snprintf(path, sizeof path, "%s/good/%s", corpus(), name);
	if (read_file(AT_FDCWD, path, 64 << 20, &data, &size) < 0)
		return NULL;
	*fd = ext4 ? image_sparse((uint8_t *)data, size) : image_plain((uint8_t *)data, size);
	if (*fd >= 0 && ext4)
		ext4_open(*fd, &fs, &replayed, NULL);
	else if (*fd >= 0)
		squashfs_open(*fd, &fs, NULL);
	return fs;
}

static bool is_there(struct fs *fs, const char *path)
{
	fs_ref ref;
	return fs_lookup(fs, path, &ref, NULL) == 0;
}

static void test_overlay(void)
{
	_cleanup_close_ int lower_fd = -1, upper_fd = -1;
	_cleanup_fs_ struct fs *lower = open_path("lower.squashfs", false, &lower_fd);
	_cleanup_fs_ struct fs *upper = open_path("overlay/upper", true, &upper_fd);
	struct fs *merged = NULL;
	struct ramet_error err = {0};
	fs_ref root, ref, below;
	REQUIRE(lower && upper);
	REQUIRE(fs_lookup(upper, "/root", &root, &err) == 0);
	REQUIRE(overlay_open(lower, upper, root, &merged, &err) == 0);
	CHECK_EQ(walk_all(merged, &err), 0);
	CHECK(!is_there(merged, "/empty"));
	CHECK(is_there(merged, "/moved/link"));
	CHECK(is_there(merged, "/many/file-with-a-name-of-some-length-7"));
	CHECK_EQ(fs_lookup(merged, "/dir/sub", &ref, &err), 0);
	CHECK_EQ(fs_lookup(lower, "/dir/sub", &below, &err), 0);
	CHECK(merged->ops->same(merged, ref, lower, below));
	CHECK_EQ(fs_lookup(merged, "/dir/file", &ref, &err), 0);
	CHECK_EQ(fs_lookup(lower, "/dir/file", &below, &err), 0);
	CHECK(!merged->ops->same(merged, ref, lower, below));
	_cleanup_xattrs_ struct fs_xattrs xattrs = {0};
	CHECK_EQ(fs_lookup(merged, "/moved", &ref, &err), 0);
	CHECK_EQ(merged->ops->xattrs(merged, ref, &xattrs, &err), 0);
	CHECK_EQ(xattrs.count, 1);
	CHECK(fs_xattrs_find(&xattrs, "trusted.overlay.mine"));
	fs_close(merged);
}

/* What is known of a file and its twin when the host says that [offset, offset + 1) may differ. */
static bool same_with(const char *name, const char *path, uint64_t offset, bool told)
{
	_cleanup_close_ int fd_a = -1, fd_b = -1;
	_cleanup_fs_ struct fs *a = open_path(name, true, &fd_a);
	_cleanup_fs_ struct fs *b = open_path(name, true, &fd_b);
	_cleanup_ranges_ struct range_list differences = {0};
	fs_ref ref;
	if (!a || !b || fs_lookup(a, path, &ref, NULL) < 0) {
		CHECK(!"it opens");
		return false;
	}
	CHECK_EQ(ranges_append(&differences, offset, 1), 0);
	if (told)
		ext4_set_differences(a, &differences);
	CHECK(!a->ops->same(a, ref, b, ref + 1));
	return a->ops->same(a, ref, b, ref);
}

static void test_same(void)
{
	static const char *const files[][2] = {{"ext4/plain", "/dir/noise"},
		{"ext4/plain", "/dir/sparse"}, {"ext4/ext2", "/dir/noise"}};
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		const char *name = files[i][0], *path = files[i][1];
		_cleanup_close_ int fd = -1;
		_cleanup_fs_ struct fs *fs = open_path(name, true, &fd);
		struct fs_extent extent = {.hole = true};
		fs_ref ref;
		REQUIRE(fs && fs_lookup(fs, path, &ref, NULL) == 0);
		for (uint64_t at = 0; extent.hole; at = extent.offset + extent.length)
			REQUIRE(fs->ops->extent(fs, ref, at, &extent, NULL) == 0);
		CHECK(same_with(name, path, 0, true));
		CHECK(!same_with(name, path, 0, false));
		CHECK(!same_with(name, path, extent.device_offset, true));
	}
	CHECK(!same_with("ext4/plain", "/dir", 0, true));
}

TEST_MAIN({"good squashfs images are read whole", test_good_squashfs},
	{"good ext4 images are read whole, journals included", test_good_ext4},
	{"good EROFS images are read whole, of any block size", test_good_erofs},
	{"good lazy files are read whole", test_good_lazy},
	{"damaged images are refused and say what is damaged", test_bad},
	{"every damaged image has a sentence it is refused with", test_bad_known},
	{"an overlay is merged", test_overlay},
	{"two clones of an ext4 are known to be the same where the host says so", test_same})
