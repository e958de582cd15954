/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plain-image [-l|-m] FORMAT FOLDER OUTPUT [SIZE]: a plain image of the folder, for tests of what is
 * served lazily. -l: laid out first and its content put in afterwards; -m: its metadata alone, as a
 * layout leaves them. What it took goes to standard output.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/progress.h"
#include "image/image.h"
#include "source/source.h"
#include "tests/tools/fill.h"

struct task {
	const struct image_format *format;
	const char *folder, *output;
	uint64_t size;
	bool layout, fill;
};

static int make(const struct task *task, struct ramet_error *err)
{
	_cleanup_tree_ struct tree *tree = NULL;
	_cleanup_layout_ struct layout layout = {0};
	_cleanup_close_ int fd = open(task->output, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_errno(err, errno, "cannot make %s", task->output);
	const struct source_options source = {0};
	const struct image_options options = {
		.plain = true, .layout = task->layout ? &layout : NULL, .size = task->size};
	struct image_figures figures;
	double start = clock_seconds();
	int r = tree_new(&tree, err);
	if (r == 0)
		r = source_walk(tree, task->folder, &source, err);
	if (r == 0)
		r = tree_finish(tree, err);
	double walked = clock_seconds();
	if (r == 0)
		r = task->format->write(tree, fd, &options, &figures, err);
	double written = clock_seconds();
	if (r == 0 && task->fill)
		r = fill(tree, &layout, fd, err);
	if (r == 0)
		printf("%" PRIu64 " entries, walk %.3f s, write %.3f s, read %" PRIu64
		       " bytes, %zu runs\n",
			tree->entries, walked - start, written - walked, figures.bytes_read,
			layout.runs.count);
	return r;
}

int main(int argc, char **argv)
{
	struct task task = {0};
	for (int option; (option = getopt(argc, argv, "lm")) != -1;) {
		task.layout = true;
		task.fill = option == 'l';
	}
	argv += optind;
	argc -= optind;
	task.format = argc >= 3 ? image_format_find(argv[0]) : NULL;
	if (!task.format) {
		fprintf(stderr, "usage: plain-image [-l|-m] FORMAT FOLDER OUTPUT [SIZE]\n");
		return 2;
	}
	task.folder = argv[1];
	task.output = argv[2];
	task.size = argc > 3 ? strtoull(argv[3], NULL, 0) : 0;
	struct ramet_error err = {0};
	int r = make(&task, &err);
	if (r < 0)
		fprintf(stderr, "plain-image: %s\n", *err.message ? err.message : strerror(-r));
	return r < 0;
}
