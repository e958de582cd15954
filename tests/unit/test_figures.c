/* SPDX-License-Identifier: Apache-2.0 */
/* Sums of what was read of a fork: nothing is counted twice, or lost, whoever is killed when. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/figures.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/folder.h"
#include "tests/unit/tap.h"

static char folder[64];

static void put(const char *name, const char *bytes)
{
	char path[128];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	CHECK(fd >= 0);
	CHECK_EQ(write_full(fd, bytes, strlen(bytes)), 0);
}

/* As a server does, of one drive. */
static void serve(int64_t serial, const char *name, uint64_t reads)
{
	const struct server_stats empty = {.size = 1000};
	struct server_stats stats = empty;
	_cleanup_text_ struct text text = {0};
	snprintf(stats.name, sizeof stats.name, "%s", name);
	stats.reads = reads;
	stats.asked = reads * 100;
	stats.unique = reads * 60;
	stats.hit = reads * 40;
	stats.ahead = reads * 10;
	if (serial >= 0)
		server_stats_begin(serial, &text);
	server_stats_write(&stats, &text);
	put("figures", text.data);
}

static void begin(void)
{
	strcpy(folder, "/tmp/ramet-figures.XXXXXX");
	CHECK(mkdtemp(folder) != NULL);
}

static void end(void)
{
	CHECK_EQ(folder_remove(AT_FDCWD, folder), 0);
}

static void check_sum(size_t at, const char *name, uint64_t attachments, uint64_t reads)
{
	static struct figures figures;
	figures_read(folder, &figures);
	CHECK(at < figures.ever_count);
	const struct figures_sum *sum = &figures.ever[at];
	CHECK_STR(sum->stats.name, name);
	CHECK_EQ(sum->attachments, attachments);
	CHECK_EQ(sum->stats.reads, reads);
	CHECK_EQ(sum->stats.asked, reads * 100);
	CHECK_EQ(sum->stats.unique, reads * 60);
	CHECK_EQ(sum->stats.hit, reads * 40);
	CHECK_EQ(sum->stats.ahead, reads * 10);
	CHECK_EQ(sum->stats.size, 1000);
}

static void attachments_add_up(void)
{
	begin();
	CHECK_EQ(figures_next(folder, NULL), 0);
	serve(0, "base", 3);
	check_sum(0, "base", 1, 3);
	serve(0, "base", 5); /* the same one, a second later */
	check_sum(0, "base", 1, 5);
	CHECK_EQ(figures_next(folder, NULL), 1);
	serve(1, "base", 7);
	check_sum(0, "base", 2, 12);
	CHECK_EQ(figures_next(folder, NULL), 2);
	serve(2, "base", 1);
	check_sum(0, "base", 3, 13);
	end();
}

/* figures_next, and then nothing: the server did not come up, or who was to start it was killed. */
static void what_was_added_is_added_once(void)
{
	begin();
	serve(figures_next(folder, NULL), "base", 3);
	CHECK_EQ(figures_next(folder, NULL), 1);
	check_sum(0, "base", 1, 3);
	CHECK_EQ(figures_next(folder, NULL), 1);
	check_sum(0, "base", 1, 3);
	put("figures", ""); /* truncated for the next one, who did not come to write */
	check_sum(0, "base", 1, 3);
	CHECK_EQ(figures_next(folder, NULL), 1);
	serve(1, "base", 4);
	check_sum(0, "base", 2, 7);
	end();
}

static void drives_may_differ(void)
{
	begin();
	serve(figures_next(folder, NULL), "base", 3);
	serve(figures_next(folder, NULL), "layer1", 9);
	check_sum(0, "base", 1, 3);
	check_sum(1, "layer1", 1, 9);
	serve(figures_next(folder, NULL), "base", 2);
	check_sum(0, "base", 2, 5);
	check_sum(1, "layer1", 1, 9);
	end();
}

/* A server of a ramet before there were sums: its figures have no number. */
static void older_figures_count_as_the_first(void)
{
	begin();
	serve(-1, "base", 3);
	check_sum(0, "base", 1, 3);
	CHECK_EQ(figures_next(folder, NULL), 1);
	check_sum(0, "base", 1, 3);
	serve(1, "base", 4);
	check_sum(0, "base", 2, 7);
	end();
}

static void garbage_counts_as_nothing(void)
{
	static struct figures figures;
	static const char *const bad[] = {"", "\n", "serial", "serial 3", "serial 3\nbase",
		"serial x\nattachments 1 base size 1 reads 1 asked 1 unique 1 hit 1 ahead 1\n",
		"serial 3\nattachments 1 base size 1 reads"};
	begin();
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		put("figures.ever", bad[i]);
		put("figures", bad[i]);
		figures_read(folder, &figures);
		CHECK_EQ(figures.ever_count, 0);
		CHECK_EQ(figures.last_count, 0);
	}
	end();
}

TEST_MAIN({"the figures of attachments add up", attachments_add_up},
	{"what was added once is not added again", what_was_added_is_added_once},
	{"attachments may be of different drives", drives_may_differ},
	{"figures without a number are the first", older_figures_count_as_the_first},
	{"garbage counts as nothing", garbage_counts_as_nothing})
