/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a fork that is to be read, open, and what the host knows of them. */
#ifndef API_FORK_FILES_H
#define API_FORK_FILES_H

#include "base/ranges.h"
#include "base/sandbox.h"
#include "base/text.h"
#include "changes/views.h"
#include "store/store.h"

struct fork_files {
	struct views_source source; /* its fds and strings are those below */
	struct text base_name, volume_name;
	struct text names[STACK_IMAGES_MAX];
	struct stack_image images[STACK_IMAGES_MAX]; /* the base and what stands on it */
	struct lazy_feed *feeds[STACK_IMAGES_MAX];   /* of the lazy ones; otherwise NULL */
	size_t image_count;
	int volume_fd;
	struct range_list differences;
};
enum { FORK_FILES_FDS = (1 + LAZY_FEED_FDS) * STACK_IMAGES_MAX + 2 };

/* Open the images and the volume; nothing of either is parsed. Release it whatever was answered. */
int fork_files_open(struct ramet_store *store, const struct store_fork *fork,
	struct fork_files *files, struct ramet_error *err);
void fork_files_close(struct fork_files *files);
#define _cleanup_fork_files_ __attribute__((cleanup(fork_files_close)))

/* The fds of all of them, and one more; answers how many. */
size_t fork_files_fds(const struct fork_files *files, int more, int fds[static FORK_FILES_FDS]);

/* What a child that parses them may take. */
struct sandbox_limits fork_files_limits(const struct fork_files *files);

#endif
