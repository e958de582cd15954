/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <ext2fs/ext2fs.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/folder.h"
#include "tests/unit/tap.h"
#include "volume/superblock.h"
#include "volume/template.h"
#include "volume/volume.h"

static char root[] = "/tmp/ramet-test-volume.XXXXXX";
static struct volume_place place = {.root = root};
static struct ramet_error err;

#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

/* A volume of its own by the provider `file`; answers its fd. */
static int make_volume(uint64_t size, uint64_t *allocated)
{
	struct volume_batch *batch = NULL;
	const struct volume_base base = {.fd = -1, .path = "base", .format = "squashfs"};
	folder_remove(place.dirfd, "fork");
	CHECK_EQ(mkdirat(place.dirfd, "fork", 0700), 0);
	_cleanup_close_ int folder = openat(
		place.dirfd, "fork", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (volume_file.open(&place, &base, size, &batch, &err) < 0)
		return -err.code;
	CHECK_EQ(volume_file.create(batch, folder, "fork", &err), 0);
	CHECK_EQ(volume_file.allocated(folder, allocated), 0);
	volume_file.close(batch);
	return openat(folder, "volume", O_RDWR | O_CLOEXEC);
}

static void read_superblock(int fd, uint8_t block[static EXT4_SUPER_SIZE])
{
	CHECK_EQ(pread_full(fd, block, EXT4_SUPER_SIZE, EXT4_SUPER_OFFSET), EXT4_SUPER_SIZE);
}

/* e2fsck -fn, when it is installed: 0 for a filesystem without a fault. */
static int check_filesystem(void)
{
	char command[128];
	snprintf(command, sizeof command, "e2fsck -fn %s/fork/volume > /dev/null 2>&1", root);
	int status = system(command);
	return status == 127 << 8 ? 0 : status;
}

static void test_every_size_is_a_filesystem(void)
{
	static const uint64_t sizes[] = {4 * MIB, 5 * MIB + 4096, 63 * MIB, 64 * MIB - 4096,
		64 * MIB, 128 * MIB + 4096, 511 * MIB, 512 * MIB, GIB, 10 * GIB, 64 * GIB, 65 * GIB,
		1024 * GIB};
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint64_t allocated = 0;
		_cleanup_close_ int fd = make_volume(sizes[i], &allocated);
		REQUIRE(fd >= 0);
		struct stat st;
		CHECK(fstat(fd, &st) == 0 && (uint64_t)st.st_size == sizes[i]);
		CHECK_EQ(check_filesystem(), 0);
		uint8_t block[EXT4_SUPER_SIZE];
		struct superblock_state state;
		read_superblock(fd, block);
		superblock_inspect(block, &state);
		CHECK(state.is_ext4 && !state.obstacle);
		CHECK(state.size <= sizes[i] && state.size > sizes[i] - 4 * MIB);
		CHECK(sizes[i] > 10 * GIB || allocated <= 256 << 10);
	}
}

static void test_sizes_that_cannot_be(void)
{
	uint64_t allocated;
	CHECK_EQ(make_volume(4 * MIB - 4096, &allocated), -EINVAL);
	CHECK_EQ(make_volume(1, &allocated), -EINVAL);
	CHECK_EQ(make_volume((uint64_t)1 << 60, &allocated), -EFBIG);
	CHECK_EQ(make_volume(UINT64_MAX, &allocated), -EFBIG);
}

static void test_odd_sizes_are_rounded_up(void)
{
	uint64_t allocated;
	_cleanup_close_ int fd = make_volume(10 * MIB + 1, &allocated);
	struct stat st;
	CHECK(fd >= 0 && fstat(fd, &st) == 0);
	CHECK_EQ(st.st_size, 10 * MIB + 4096);
	CHECK_EQ(check_filesystem(), 0);
}

/* A template that is not whole, or not ours, is computed anew. */
static void test_a_damaged_template_is_not_used(void)
{
	char path[128];
	snprintf(path, sizeof path, "%s/templates/ext4-1-%llu", root, 32ULL << 20);
	for (int damage = 0; damage < 4; damage++) {
		uint64_t allocated;
		_cleanup_close_ int before = make_volume(32 * MIB, &allocated);
		_cleanup_close_ int file = open(path, O_RDWR | O_CLOEXEC);
		REQUIRE(before >= 0 && file >= 0);
		struct stat st;
		CHECK_EQ(fstat(file, &st), 0);
		CHECK(damage != 0 || ftruncate(file, 0) == 0);
		CHECK(damage != 1 || ftruncate(file, st.st_size / 2) == 0);
		CHECK(damage != 2 || pwrite_full(file, "x", 1, (uint64_t)st.st_size - 1) == 0);
		CHECK(damage != 3 || pwrite_full(file, "\xff\xff\xff\xff", 4, 12) == 0);
		_cleanup_close_ int after = make_volume(32 * MIB, &allocated);
		CHECK(after >= 0 && check_filesystem() == 0);
		struct stat mended;
		CHECK(stat(path, &mended) == 0 && mended.st_ino != st.st_ino);
		CHECK_EQ(mended.st_size, st.st_size);
	}
}

static void test_every_volume_is_somebody(void)
{
	uint8_t first[EXT4_SUPER_SIZE], second[EXT4_SUPER_SIZE];
	uint64_t allocated;
	_cleanup_close_ int a = make_volume(32 * MIB, &allocated);
	read_superblock(a, first);
	_cleanup_close_ int b = make_volume(32 * MIB, &allocated);
	read_superblock(b, second);
	size_t uuid = offsetof(struct ext2_super_block, s_uuid);
	CHECK(memcmp(first + uuid, second + uuid, 16) != 0);
	CHECK_EQ(first[uuid + 6] >> 4, 4);
	size_t seed = offsetof(struct ext2_super_block, s_hash_seed);
	CHECK(memcmp(first + seed, second + seed, 16) != 0);
}

/* What must not be cloned, each with its own clause. */
static void test_unclean_bases_are_told(void)
{
	struct ext2_super_block good = {.s_magic = EXT2_SUPER_MAGIC,
		.s_blocks_count = 100,
		.s_state = EXT2_VALID_FS,
		.s_journal_inum = 8,
		.s_feature_ro_compat = EXT4_FEATURE_RO_COMPAT_METADATA_CSUM};
	struct superblock_state state;
	struct ext2_super_block s = good;
	superblock_inspect((uint8_t *)&s, &state);
	CHECK(state.is_ext4 && !state.obstacle);
	CHECK_EQ(state.size, 100 << 10);
	s.s_feature_incompat = EXT3_FEATURE_INCOMPAT_RECOVER;
	superblock_inspect((uint8_t *)&s, &state);
	CHECK(state.obstacle && strstr(state.obstacle, "journal"));
	s = good;
	s.s_state = 0;
	superblock_inspect((uint8_t *)&s, &state);
	CHECK(state.obstacle && strstr(state.obstacle, "unmounted"));
	s = good;
	s.s_state |= EXT2_ERROR_FS;
	superblock_inspect((uint8_t *)&s, &state);
	CHECK(state.obstacle && strstr(state.obstacle, "damaged"));
	s = good;
	s.s_feature_ro_compat = EXT4_FEATURE_RO_COMPAT_GDT_CSUM;
	superblock_inspect((uint8_t *)&s, &state);
	CHECK(state.obstacle && strstr(state.obstacle, "uninit_bg"));
	s = good;
	s.s_magic = 0;
	superblock_inspect((uint8_t *)&s, &state);
	CHECK(!state.is_ext4);
	s = good;
	s.s_log_block_size = 40;
	superblock_inspect((uint8_t *)&s, &state);
	CHECK(!state.is_ext4);
}

/* As tune2fs -U: what starts from the old UUID must stay right. */
static void test_a_new_uuid_keeps_the_old_seed(void)
{
	struct ext2_super_block s = {.s_magic = EXT2_SUPER_MAGIC,
		.s_feature_ro_compat = EXT4_FEATURE_RO_COMPAT_METADATA_CSUM,
		.s_uuid = {1, 2, 3}};
	struct identity identity;
	CHECK_EQ(identity_create(&identity, &err), 0);
	uint32_t seed = ext2fs_crc32c_le(~0U, s.s_uuid, sizeof s.s_uuid);
	superblock_rename((uint8_t *)&s, &identity, false);
	CHECK(s.s_feature_incompat & EXT4_FEATURE_INCOMPAT_CSUM_SEED);
	CHECK_EQ(s.s_checksum_seed, seed);
	CHECK(memcmp(s.s_uuid, identity.uuid, 16) == 0);
	CHECK_EQ(s.s_checksum, ext2fs_crc32c_le(~0U, (uint8_t *)&s,
				       offsetof(struct ext2_super_block, s_checksum)));
	/* Once more: the seed is stored now and stays. */
	CHECK_EQ(identity_create(&identity, &err), 0);
	superblock_rename((uint8_t *)&s, &identity, false);
	CHECK_EQ(s.s_checksum_seed, seed);
}

static void test_choosing(void)
{
	const struct volume_base base = {.fd = -1, .path = "b.squashfs", .format = "squashfs"};
	const struct volume_provider *provider;
	char reason[VOLUME_REASON_SIZE];
	CHECK_EQ(volume_choose(NULL, &place, &base, 0, &provider, reason, &err), 0);
	CHECK_STR(provider->name, "file");
	CHECK(strstr(reason, "no reflink, as the base is squashfs"));
	CHECK_EQ(volume_choose("file", &place, &base, 0, &provider, reason, &err), 0);
	CHECK_STR(reason, "file was asked for");
	CHECK_EQ(volume_choose("reflink", &place, &base, 0, &provider, reason, &err), -EOPNOTSUPP);
	CHECK(strstr(err.message, "the base is squashfs"));
	CHECK_EQ(volume_choose("zfs", &place, &base, 0, &provider, reason, &err), -EINVAL);
	CHECK(strstr(err.message, "reflink, file"));
}

int main(void)
{
	if (!mkdtemp(root))
		return 1;
	place.dirfd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	static const struct tap_test tests[] = {
		{"a volume of every size is a clean ext4, 10 GiB take 256 KiB at most",
			test_every_size_is_a_filesystem},
		{"sizes that cannot be are refused", test_sizes_that_cannot_be},
		{"odd sizes are rounded up to 4 KiB", test_odd_sizes_are_rounded_up},
		{"a damaged template is not used", test_a_damaged_template_is_not_used},
		{"every volume has a UUID and a hash seed of its own",
			test_every_volume_is_somebody},
		{"bases that are not clean are told", test_unclean_bases_are_told},
		{"a new UUID keeps the checksums right", test_a_new_uuid_keeps_the_old_seed},
		{"auto says what it ruled out, a name is used or refused", test_choosing},
	};
	int status = tap_run(tests, ARRAY_SIZE(tests));
	close(place.dirfd);
	folder_remove(AT_FDCWD, root);
	return status;
}
