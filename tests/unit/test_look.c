/* SPDX-License-Identifier: Apache-2.0 */
/* Paths in a view, reports from a child, digests of files with holes, counting and proving. */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file_digest.h"
#include "look/look.h"
#include "look/proof.h"
#include "tests/unit/memfs.h"
#include "tests/unit/tap.h"

#define TREE \
	{"/d", S_IFDIR | 0755, .nlink = 3}, {"/d/e", S_IFDIR | 0755}, {"/d/e/f", .content = "f"}, \
		{"/link", S_IFLNK | 0777, .content = "d/e"}, \
		{"/out", S_IFLNK | 0777, .content = "/../../d"}, \
		{"/round", S_IFLNK | 0777, .content = "round"}, \
	{ \
		"/d/up", S_IFLNK | 0777, .content = "../link/f" \
	}

/* Where path leads, or the name of the error. */
static const char *lead(struct memfs *m, const char *path, bool follow)
{
	static char answer[256];
	_cleanup_free_ char *real = NULL;
	fs_ref ref;
	int r = fs_resolve(&m->fs, path, follow, &ref, &real, NULL);
	snprintf(answer, sizeof answer, "%s", r < 0 ? strerrorname_np(-r) : real);
	return answer;
}

static void test_paths(void)
{
	struct memfs m = MEMFS(TREE);
	CHECK_STR(lead(&m, "", true), "/");
	CHECK_STR(lead(&m, "//", true), "/");
	CHECK_STR(lead(&m, "/../..", true), "/");
	CHECK_STR(lead(&m, "/d/./e//f", true), "/d/e/f");
	CHECK_STR(lead(&m, "/link", false), "/link");
	CHECK_STR(lead(&m, "/link", true), "/d/e");
	CHECK_STR(lead(&m, "/link/", false), "/d/e");
	CHECK_STR(lead(&m, "/link/../up", false), "/d/up");
	CHECK_STR(lead(&m, "/out/up", true), "/d/e/f");
	CHECK_STR(lead(&m, "/round", false), "/round");
	CHECK_STR(lead(&m, "/round", true), "ELOOP");
	CHECK_STR(lead(&m, "/round/x", false), "ELOOP");
	CHECK_STR(lead(&m, "/d/e/f/", true), "ENOTDIR");
	CHECK_STR(lead(&m, "/d/e/f/..", true), "ENOTDIR");
	CHECK_STR(lead(&m, "/d/none", true), "ENOENT");
}

static int count_one(void *ctx, const char *path, const char *sentence)
{
	++*(int *)ctx;
	return strlen(path) < REPORT_SIZE && strlen(sentence) < REPORT_SIZE ? 0 : -EINVAL;
}

static void test_reports(void)
{
	static struct report report;
	int count = 0;
	for (int i = 0; i < 100000; i++)
		report_add(&report, "/a/path", "what is wrong\033[31m");
	CHECK_EQ(report.found, 100000);
	CHECK(report.kept < report.found);
	CHECK_EQ(report_each(&report, count_one, &count), 0);
	CHECK_EQ(count, report.kept);
	CHECK(!memchr(report.text, '\033', report.used));
	/* A child that was taken over may leave anything. */
	memset(report.text, 'x', sizeof report.text);
	report.used = UINT32_MAX;
	report.kept = UINT32_MAX;
	count = 0;
	CHECK_EQ(report_each(&report, count_one, &count), 0);
	CHECK_EQ(count, 0);
}

static void test_digest(void)
{
	char text[FILE_DIGEST_SIZE];
	_cleanup_close_ int fd = memfd_create("digest", MFD_CLOEXEC);
	REQUIRE(fd >= 0);
	CHECK_EQ(file_digest(fd, text), 0);
	CHECK_STR(text, "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	REQUIRE(pwrite(fd, "abc", 3, 0) == 3);
	CHECK_EQ(file_digest(fd, text), 0);
	CHECK_STR(text, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	/* A MiB of zeros, as a hole. */
	REQUIRE(ftruncate(fd, 0) == 0 && ftruncate(fd, 1 << 20) == 0);
	CHECK_EQ(file_digest(fd, text), 0);
	CHECK_STR(text, "sha256:30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58");
}

static void test_census(void)
{
	struct memfs m = MEMFS(TREE, {"/a", .content = "12345", .inode = 7, .nlink = 2},
		{"/b", .content = "12345", .inode = 7, .nlink = 2}, {"/gone", S_IFCHR},
		{"/hides", S_IFDIR | 0755, .xattr = "trusted.overlay.opaque", .value = "y"});
	const struct changes_view view = {&m.fs, "the image"};
	struct census census;
	CHECK_EQ(look_census(&view, &census, NULL), 0);
	CHECK_EQ(census.entries, 12);
	CHECK_EQ(census.files, 2);
	CHECK_EQ(census.hard_links, 1);
	CHECK_EQ(census.content_bytes, 6);
	CHECK_EQ(census.whiteouts, 1);
	CHECK_EQ(census.opaque, 1);
	CHECK_EQ(m.reads, 0);
}

/* How much is found, and what comes first. */
static const char *prove(struct memfs *m)
{
	static struct proof_result result;
	static char answer[1024];
	const struct changes_view view = {&m->fs, "the image"};
	const struct proof_share share = {0, 1, -1};
	const struct image_facts facts = {0};
	result = (struct proof_result){0};
	int r = look_prove(&view, &facts, &share, &result, NULL);
	snprintf(answer, sizeof answer, "%d %llu %.500s", r,
		(unsigned long long)result.report.found, result.report.text);
	return answer;
}

static void test_proof(void)
{
	struct memfs good = MEMFS(TREE, {"/a", .inode = 7, .nlink = 2, .content = "x"},
		{"/b", .inode = 7, .nlink = 2, .content = "x"},
		{"/hole", .hole = 1ULL << 60, .content = "end"});
	CHECK_STR(prove(&good), "0 0 ");
	struct memfs more = MEMFS(TREE, {"/a", .inode = 7, .nlink = 3, .content = "x"},
		{"/b", .inode = 7, .nlink = 3, .content = "x"});
	CHECK_STR(prove(&more), "0 1 /a");
	struct memfs twice = MEMFS({"/a", S_IFDIR | 0755, .inode = 9}, {"/a/x", .content = "x"},
		{"/b", S_IFDIR | 0755, .inode = 9}, {"/b/x", .content = "x"});
	CHECK_STR(prove(&twice), "0 1 /b");
}

TEST_MAIN({"a path ends where it would for a process in a chroot", test_paths},
	{"whatever a child leaves as its report is handed on safely", test_reports},
	{"a digest is the one of sha256sum, holes too", test_digest},
	{"counting reads no content", test_census},
	{"a proof finds wrong link counts and second places", test_proof})
