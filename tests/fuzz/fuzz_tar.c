/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a tar archive: made a tree twice, as a whole one and as a layer on itself, and all
 * content read. Sums of headers are put right first, so that changed bytes reach what is behind.
 */
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "source/content.h"
#include "source/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BLOCK ((size_t)512)

static uint64_t octal(const uint8_t *field, size_t length)
{
	uint64_t value = 0;
	if (field[0] & 0x80)
		for (size_t i = 4; i < length; i++)
			value = value << 8 | field[i];
	else
		for (size_t i = 0; i < length && field[i] >= '0' && field[i] <= '7'; i++)
			value = value * 8 + (field[i] - '0');
	return value;
}

static void mend_sum(uint8_t *header)
{
	unsigned sum = 0;
	char digits[8];
	memset(header + 148, ' ', 8);
	for (size_t i = 0; i < BLOCK; i++)
		sum += header[i];
	snprintf(digits, sizeof digits, "%06o", sum);
	memcpy(header + 148, digits, 7);
}

static void mend(uint8_t *bytes, size_t size)
{
	static const uint8_t zeros[BLOCK];
	for (size_t at = 0; at + BLOCK <= size;) {
		uint8_t *header = bytes + at;
		at += BLOCK;
		if (memcmp(header, zeros, BLOCK) == 0)
			continue;
		mend_sum(header);
		uint64_t content = octal(header + 124, 12);
		if (content <= size)
			at += (content + BLOCK - 1) / BLOCK * BLOCK;
	}
}

static void read_file_of(struct tree *tree, struct tree_node *node)
{
	static char buffer[65536];
	struct ramet_error err;
	_cleanup_content_ struct content content;
	uint64_t start, end;
	if (content_open(&content, tree, node, &err) < 0)
		return;
	for (uint64_t offset = 0, pieces = 0; offset < node->size && pieces < 64;
		offset = end, pieces++) {
		if (content_data(&content, offset, &start, &end, &err) < 0)
			return;
		if (start < offset || end > node->size || (start < node->size && end <= start))
			abort();
		size_t length = (size_t)MIN(end - start, sizeof buffer);
		if (content_read(&content, start, buffer, length, &err) < 0)
			return;
	}
	(void)content_verify(&content, &err);
}

static void read_all(struct tree *tree)
{
	struct ramet_error err;
	struct tree_node *node;
	_cleanup_content_order_ struct content_order order = {0};
	if (tree_content_order(tree, &order, &err) < 0)
		return;
	while ((node = content_order_next(&order)))
		read_file_of(tree, node);
}

static void check(const struct tree *tree)
{
	for (struct tree_node *node = tree->root; node; node = tree_next(node)) {
		if (node->next && strcmp(node->name, node->next->name) >= 0)
			abort();
		if (node->parent &&
			(!*node->name || strchr(node->name, '/') || strcmp(node->name, ".") == 0 ||
				strcmp(node->name, "..") == 0))
			abort();
		if (node->parent && !S_ISDIR(node->parent->mode))
			abort();
	}
}

static void apply(struct tree *tree, struct stream *stream, bool whiteouts)
{
	struct ramet_error err = {0};
	const struct stream_options options = {.whiteouts = whiteouts};
	static const struct source_options quiet;
	_cleanup_layers_ struct layers *layers = NULL;
	if (layers_new(&layers, tree, &err) < 0)
		return;
	if (stream_apply(stream, layers, &options, &quiet, &err) < 0 && !*err.message)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct archive_library lib;
	struct ramet_error err = {0};
	struct reel reel;
	struct stream *streams[2] = {NULL, NULL};
	struct tree *tree = NULL;
	if (!lib.library.handle && archive_load(&lib, &err) < 0)
		abort();
	_cleanup_free_ uint8_t *bytes = malloc(size + 1);
	_cleanup_close_ int fd = memfd_create("tar", MFD_CLOEXEC);
	memcpy(bytes, data, size);
	mend(bytes, size);
	if (fd < 0 || write_full(fd, bytes, size) < 0 || reel_of_file(&reel, fd, "tar", &err) < 0 ||
		tree_new(&tree, &err) < 0)
		return -1;
	for (size_t i = 0; i < 2; i++)
		if (stream_new(&streams[i], &reel, &lib, &err) == 0)
			apply(tree, streams[i], i);
	check(tree);
	if (tree_finish(tree, &err) == 0)
		read_all(tree);
	tree_free(tree);
	stream_free(streams[0]);
	stream_free(streams[1]);
	return 0;
}
