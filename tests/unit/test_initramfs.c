/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The archive is judged by cpio, the order of modules with those of the guest kernel that
 * scripts/guest-kernel keeps.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "tests/unit/tap.h"
#include "vmm/initramfs.h"
#include "vmm/modules.h"

static int archive_write(const struct initramfs_options *options, struct ramet_error *err)
{
	int fd = memfd_create("initramfs", 0);
	if (fd >= 0 && initramfs_write(fd, options, err) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* What a command says about the archive on its standard input. */
static bool output_of(const char *command, int fd, char *out, size_t size)
{
	char line[256];
	lseek(fd, 0, SEEK_SET);
	snprintf(line, sizeof line, "%s < /proc/%d/fd/%d 2>&1", command, (int)getpid(), fd);
	FILE *pipe = popen(line, "r");
	if (!pipe)
		return false;
	size_t n = fread(out, 1, size - 1, pipe);
	out[n] = '\0';
	return pclose(pipe) == 0;
}

static void test_cpio_reads_it(void)
{
	struct initramfs_options options = {0};
	struct ramet_error err = {0};
	char out[4096];
	_cleanup_close_ int fd = archive_write(&options, &err);
	REQUIRE(fd >= 0);
	if (!output_of("cpio --version", fd, out, sizeof out))
		SKIP("cpio is missing");
	REQUIRE(output_of("cpio -itv", fd, out, sizeof out));
	CHECK(strstr(out, "drwxr-xr-x   2 root     root"));
	CHECK(strstr(out, "crw-------   1 root     root       5,   1"));
	CHECK(strstr(out, "-rwxr-xr-x   1 root     root"));
	CHECK(strstr(out, " init\n") && strstr(out, " dev/console\n"));
	CHECK(!strstr(out, "modules"));
}

static void test_same_bytes(void)
{
	struct initramfs_options options = {0};
	struct ramet_error err = {0};
	_cleanup_close_ int a = archive_write(&options, &err), b = archive_write(&options, &err);
	struct stat info;
	REQUIRE(a >= 0 && b >= 0 && fstat(a, &info) == 0);
	CHECK_EQ(info.st_size % 4, 0);
	CHECK(info.st_size < 66 << 10);
	char *one = malloc((size_t)info.st_size), *two = malloc((size_t)info.st_size);
	CHECK_EQ(pread_full(a, one, (size_t)info.st_size, 0), info.st_size);
	CHECK_EQ(pread_full(b, two, (size_t)info.st_size, 0), info.st_size);
	CHECK(memcmp(one, two, (size_t)info.st_size) == 0);
	free(one);
	free(two);
}

static void test_no_modules_folder(void)
{
	static const char *const wanted[] = {"squashfs", NULL};
	struct initramfs_options options = {.modules_dir = "/nonexistent", .modules = wanted};
	struct ramet_error err = {0};
	CHECK_EQ(archive_write(&options, &err), -1);
	CHECK_EQ(err.code, ENOENT);
	CHECK(strstr(err.message, "/nonexistent is no folder of kernel modules"));
}

static void test_full_disk(void)
{
	struct initramfs_options options = {0};
	struct ramet_error err = {0};
	_cleanup_close_ int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		SKIP("/dev/full is missing");
	CHECK_EQ(initramfs_write(fd, &options, &err), -ENOSPC);
	CHECK(strstr(err.message, "the initramfs could not be written: No space left"));
}

/* The place of a name in the list, or -1. */
static int place(const module_list *list, const char *name)
{
	for (size_t i = 0; i < list->count; i++) {
		if (strcmp(list->items[i].name, name) == 0)
			return (int)i;
	}
	return -1;
}

/* Where scripts/guest-kernel unpacked it; the caller frees it. NULL: it did not. */
static char *guest_modules(void)
{
	const char *cache = getenv("RAMET_CACHE"), *home = getenv("HOME");
	char pattern[4096];
	glob_t found = {0};
	char *dir = NULL;
	snprintf(pattern, sizeof pattern, "%s%s/kernel/root/lib/modules/*", cache ? cache : home,
		cache ? "" : "/.cache/ramet");
	if (glob(pattern, 0, NULL, &found) == 0)
		dir = strdup(found.gl_pathv[0]);
	globfree(&found);
	return dir;
}

static void test_modules_in_order(void)
{
	static const char *const wanted[] = {
		"virtio_blk", "virtio_mmio", "overlay", "virtio-blk", NULL};
	static const char *const none[] = {"ramet_no_such", NULL};
	_cleanup_free_ char *dir = guest_modules();
	_cleanup_modules_ module_list list = {0}, nothing = {0};
	struct ramet_error err = {0};
	if (!dir)
		SKIP("the guest kernel is missing (scripts/guest-kernel)");
	REQUIRE(modules_find(dir, wanted, &list, &err) == 0);
	CHECK(place(&list, "virtio_ring") >= 0);
	CHECK(place(&list, "virtio_ring") < place(&list, "virtio"));
	CHECK(place(&list, "virtio") < place(&list, "virtio_blk"));
	CHECK(place(&list, "virtio") < place(&list, "virtio_mmio"));
	for (size_t i = 0; i < list.count; i++)
		CHECK_EQ(place(&list, list.items[i].name), (int)i);
	CHECK_EQ(modules_find(dir, none, &nothing, &err), -ENOENT);
	CHECK(strstr(err.message, "has no ramet_no_such, neither built in nor as a module"));
}

/* A module behind each compression is the module. */
static void test_compressed_modules(void)
{
	static const char *const tools[][2] = {
		{"cat", "ko"}, {"gzip", "ko.gz"}, {"xz", "ko.xz"}, {"zstd -q", "ko.zst"}};
	char folder[] = "/tmp/ramet-test.XXXXXX", path[64], command[256];
	REQUIRE(mkdtemp(folder));
	for (size_t i = 0; i < sizeof tools / sizeof *tools; i++) {
		struct ramet_error err = {0};
		_cleanup_free_ void *data = NULL;
		size_t length = 0;
		snprintf(path, sizeof path, "%s/m.%s", folder, tools[i][1]);
		snprintf(command, sizeof command, "seq 100000 | %s > %s 2> /dev/null", tools[i][0],
			path);
		if (system(command) == 0) {
			struct module_file file = {.name = (char *)"m", .path = path};
			CHECK_EQ(module_read(&file, &data, &length, &err), 0);
			CHECK_EQ(length, 588895);
			CHECK(data && memcmp(data, "1\n2\n3\n", 6) == 0);
			/* Cut short, it is refused rather than taken for the whole. */
			if (i > 0 && truncate(path, 5000) == 0) {
				_cleanup_free_ void *half = NULL;
				CHECK_EQ(module_read(&file, &half, &length, &err), -EBADMSG);
				CHECK(strstr(err.message, path));
			}
		}
		unlink(path);
	}
	rmdir(folder);
}

TEST_MAIN({"cpio lists what is in an initramfs", test_cpio_reads_it},
	{"an initramfs is the same bytes twice, small and padded", test_same_bytes},
	{"a folder without modules is refused by name", test_no_modules_folder},
	{"a full disk is an error", test_full_disk},
	{"modules come after those they need, each once", test_modules_in_order},
	{"compressed modules are decompressed, damaged ones refused", test_compressed_modules})
