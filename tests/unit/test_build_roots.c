/* SPDX-License-Identifier: Apache-2.0 */
/* A lazy file that a child wrote stands on the folders that it was given, and on no other. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/build_lazy.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/folder.h"
#include "tests/unit/tap.h"

static char top[] = "/tmp/ramet-roots-XXXXXX";
static char tree[64], other[64], file[64], lazy[64];

static void make(void)
{
	REQUIRE(mkdtemp(top));
	snprintf(tree, sizeof tree, "%s/tree", top);
	snprintf(other, sizeof other, "%s/other", top);
	snprintf(file, sizeof file, "%s/tree/file", top);
	snprintf(lazy, sizeof lazy, "%s/lazy", top);
	REQUIRE(mkdir(tree, 0755) == 0 && mkdir(other, 0755) == 0);
	int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	REQUIRE(fd >= 0 && write_full(fd, "content", 7) == 0 && close(fd) == 0);
	struct ramet_error err = {0};
	struct ramet_build_result result;
	const struct ramet_build_options options = {.source = tree, .output = lazy, .lazy = true};
	REQUIRE(ramet_build(NULL, &options, &result, &err) == 0);
}

static int check(const struct work *work, struct ramet_error *err)
{
	int fd = open(lazy, O_RDONLY | O_CLOEXEC);
	int r = build_lazy_check_roots(work, fd, lazy, err);
	close(fd);
	return r;
}

static void folders_that_were_named_are_right(void)
{
	struct ramet_error err = {0};
	make();
	CHECK_EQ(check(&(struct work){.folders = (const char *[]){other, tree}, .folder_count = 2},
			 &err),
		0);
	/* One file of it was bound: its folder is the root then. */
	CHECK_EQ(check(&(struct work){.folders = (const char *[]){file}, .folder_count = 1}, &err),
		0);
	struct source source = {0};
	struct source *const sources[] = {&source};
	const struct work work = {.sources = sources, .source_count = 1};
	int *fd = vector_push(&source.fds);
	REQUIRE(fd);
	*fd = open(tree, O_PATH | O_CLOEXEC);
	CHECK_EQ(check(&work, &err), 0);
	close(*fd);
	vector_free(&source.fds);
}

static void others_are_refused(void)
{
	struct ramet_error err = {0};
	const struct work work = {.folders = (const char *[]){other}, .folder_count = 1};
	CHECK_EQ(check(&work, &err), -EPERM);
	CHECK(strstr(err.message, "that nobody named"));
	CHECK_EQ(check(&(struct work){0}, &err), -EPERM);
	char away[80];
	snprintf(away, sizeof away, "%s/away", top);
	REQUIRE(rename(tree, away) == 0);
	CHECK_EQ(check(&work, &err), -EPERM);
	int fd = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK_EQ(folder_remove(fd, top + sizeof "/tmp/" - 1), 0);
	close(fd);
}

TEST_MAIN({"folders that were named are right", folders_that_were_named_are_right},
	{"others are refused", others_are_refused})
