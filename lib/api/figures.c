/* SPDX-License-Identifier: Apache-2.0 */
#include "api/figures.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fd.h"

/* What is in the folder; NULL: no such file. The caller frees it. */
static char *read_in(const char *folder, const char *name)
{
	_cleanup_text_ struct text path = {0};
	char *bytes = NULL;
	text_format(&path, "%s/%s", folder, name);
	if (path.failed || read_file(AT_FDCWD, path.data, SERVER_STATS_MAX, &bytes, NULL) < 0)
		return NULL;
	return bytes;
}

static const char *next_line(const char *text)
{
	text += strcspn(text, "\n");
	return text + (*text == '\n');
}

/* "serial N", then for each drive "attachments N" and what a server writes. */
static void read_sums(const char *text, struct figures *figures)
{
	if (sscanf(text, "serial %" SCNd64, &figures->serial) != 1) {
		figures->serial = -1;
		return;
	}
	for (text = next_line(text); figures->ever_count < FIGURES_MOST; text = next_line(text)) {
		struct figures_sum *sum = &figures->ever[figures->ever_count];
		int length = -1;
		int64_t none;
		if (sscanf(text, "attachments %" SCNu64 " %n", &sum->attachments, &length) != 1 ||
			length < 0 || server_stats_read(text + length, &none, &sum->stats, 1) != 1)
			return;
		figures->ever_count++;
	}
}

static struct figures_sum *sum_of(struct figures *figures, const char *name)
{
	for (size_t i = 0; i < figures->ever_count; i++)
		if (strcmp(figures->ever[i].stats.name, name) == 0)
			return &figures->ever[i];
	if (figures->ever_count == FIGURES_MOST)
		return NULL;
	struct figures_sum *sum = &figures->ever[figures->ever_count++];
	*sum = (struct figures_sum){0};
	snprintf(sum->stats.name, sizeof sum->stats.name, "%s", name);
	return sum;
}

static void add(struct figures *figures, const struct server_stats *stats)
{
	struct figures_sum *sum = sum_of(figures, stats->name);
	if (!sum)
		return;
	sum->attachments++;
	sum->stats.size = stats->size;
	sum->stats.reads += stats->reads;
	sum->stats.asked += stats->asked;
	sum->stats.unique += stats->unique;
	sum->stats.hit += stats->hit;
	sum->stats.ahead += stats->ahead;
}

void figures_read(const char *folder, struct figures *figures)
{
	int64_t serial = 0;
	_cleanup_free_ char *sums = read_in(folder, "figures.ever");
	_cleanup_free_ char *last = read_in(folder, "figures");
	*figures = (struct figures){.serial = -1};
	if (sums)
		read_sums(sums, figures);
	if (last)
		figures->last_count = server_stats_read(last, &serial, figures->last, FIGURES_MOST);
	if (!figures->last_count || serial <= figures->serial)
		return;
	for (size_t i = 0; i < figures->last_count; i++)
		add(figures, &figures->last[i]);
	figures->serial = serial;
}

static int write_sums(const char *folder, const struct figures *figures)
{
	_cleanup_text_ struct text text = {0};
	_cleanup_close_ int dirfd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	text_format(&text, "serial %" PRId64 "\n", figures->serial);
	for (size_t i = 0; i < figures->ever_count; i++) {
		text_format(&text, "attachments %" PRIu64 " ", figures->ever[i].attachments);
		server_stats_write(&figures->ever[i].stats, &text);
	}
	if (text.failed)
		return -ENOMEM;
	_cleanup_close_ int fd = dirfd < 0 ? -1
					   : openat(dirfd, "figures.new",
						     O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW |
							     O_CLOEXEC,
						     0600);
	int r = fd < 0 ? -errno : write_full(fd, text.data, text.length);
	if (r == 0 && renameat(dirfd, "figures.new", dirfd, "figures.ever") < 0)
		r = -errno;
	return r;
}

int64_t figures_next(const char *folder, struct ramet_error *err)
{
	struct figures *figures = malloc(sizeof *figures);
	if (!figures)
		return error_memory(err);
	figures_read(folder, figures);
	int r = figures->last_count ? write_sums(folder, figures) : 0;
	int64_t next = figures->serial + 1;
	free(figures);
	return r < 0 ? error_errno(err, -r, "cannot note in %s what was read of the fork", folder)
		     : next;
}
