/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading all content, in the order in which it stands in the image: then a squashfs's fragment
 * blocks, each of which holds the ends of many files, are decompressed once and not once a file, and
 * a disk is read forward. A file is cut where its bytes are in different places. The cuts, sorted,
 * are dealt out to the shares by their bytes, one run each.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "changes/side.h"
#include "look/proof_inside.h"

enum { BUFFER = 1 << 20, CUTS_MAX = 64, PROGRESS_STEP = 8 << 20 };

/* A run of a file's bytes that stand together. */
struct cut {
	uint64_t position, offset, length;
	uint32_t name;
};
typedef VECTOR(struct cut) cut_list;

struct reading {
	struct proof *proof;
	char *buffer;
	struct proof_progress progress;
	uint64_t told;
	uint32_t damaged; /* the name whose damage was reported last, + 1 */
};

static int by_position(const void *left, const void *right)
{
	const struct cut *a = left, *b = right;
	if (a->position != b->position)
		return a->position < b->position ? -1 : 1;
	if (a->name != b->name)
		return a->name < b->name ? -1 : 1;
	return a->offset < b->offset ? -1 : a->offset > b->offset;
}

static int locate(
	struct fs *fs, const struct proof_name *name, struct cut *cut, struct ramet_error *why)
{
	if (fs->ops->locate)
		return fs->ops->locate(
			fs, name->ref, cut->offset, &cut->position, &cut->length, why);
	struct fs_extent extent;
	int r = fs->ops->extent(fs, name->ref, cut->offset, &extent, why);
	if (r < 0)
		return r;
	/* Plain files are read forward all the same, wherever they begin. */
	cut->position = extent.device_offset;
	cut->length = name->size - cut->offset;
	return 0;
}

static int report_name(struct reading *reading, uint32_t number, const struct ramet_error *why,
	struct ramet_error *err)
{
	struct proof *proof = reading->proof;
	const struct proof_name *name = &proof->names.items[number];
	_cleanup_text_ struct text path = {0};
	if (reading->damaged == number + 1)
		return 0;
	reading->damaged = number + 1;
	if (proof_path(proof, name->directory, name->name, &path) < 0)
		return error_memory(err);
	return proof_report(proof, path.data, why, err);
}

/* What cannot be located is read from where it is, and the first share says why that fails. */
static int cut_file(
	struct reading *reading, uint32_t number, cut_list *cuts, struct ramet_error *err)
{
	struct proof *proof = reading->proof;
	const struct proof_name *name = &proof->names.items[number];
	for (uint64_t offset = 0, count = 0; offset < name->size; count++) {
		struct ramet_error why = {0};
		struct cut cut = {.offset = offset, .name = number};
		int r = locate(proof->view->fs, name, &cut, &why);
		uint64_t left = name->size - offset;
		if (r < 0 && proof->share->number == 0)
			r = report_name(reading, number, &why, err);
		else if (r < 0)
			r = 0;
		if (r < 0 || why.code)
			return r;
		if (cut.length == 0 || cut.length > left || count == CUTS_MAX)
			cut.length = left;
		struct cut *place = vector_push(cuts);
		if (!place)
			return error_memory(err);
		*place = cut;
		offset += cut.length;
	}
	return 0;
}

/* Hard links are one file: names are sorted by inode. */
static int cut_files(struct reading *reading, cut_list *cuts, struct ramet_error *err)
{
	const struct proof *proof = reading->proof;
	int r = 0;
	for (uint32_t i = 0; i < proof->names.count && r == 0; i++) {
		const struct proof_name *name = &proof->names.items[i];
		if (name->regular && (i == 0 || name[-1].inode != name->inode))
			r = cut_file(reading, i, cuts, err);
	}
	if (cuts->count)
		qsort(cuts->items, cuts->count, sizeof *cuts->items, by_position);
	return r;
}

static void tell(struct reading *reading, bool now)
{
	int fd = reading->proof->share->progress_fd;
	const struct proof_progress *progress = &reading->progress;
	if (fd < 0 || (!now && progress->done - reading->told < PROGRESS_STEP))
		return;
	reading->told = progress->done;
	/* Less than PIPE_BUF, so it is whole or not there; nobody depends on it. */
	ssize_t n = write(fd, progress, sizeof *progress);
	(void)n;
}

static int read_piece(struct reading *reading, const struct change_side *file, uint64_t offset,
	uint64_t length, struct ramet_error *why)
{
	struct fs *fs = file->view->fs;
	for (uint64_t done = 0; done < length;) {
		size_t step = (size_t)MIN(length - done, (uint64_t)BUFFER), got = 0;
		int r = fs->ops->read(
			fs, file->ref, offset + done, reading->buffer, step, &got, why);
		if (r < 0)
			return r;
		if (got != step)
			return error_set(why, EUCLEAN, "it ends before its own size");
		done += step;
		reading->proof->result->bytes_read += step;
		reading->progress.done += step;
		tell(reading, false);
	}
	return 0;
}

/* A hole may be of 2^60 bytes: it is not read. */
static int read_cut(struct reading *reading, const struct cut *cut, struct ramet_error *err)
{
	const struct proof *proof = reading->proof;
	const struct proof_name *name = &proof->names.items[cut->name];
	const struct changes_view view = {.fs = proof->view->fs, .name = ""};
	const struct change_side file = {
		.view = &view, .path = "", .ref = name->ref, .stat = {.size = name->size}};
	uint64_t end = cut->offset + cut->length;
	struct ramet_error why = {0};
	struct fs_extent extent;
	int r = 0;
	for (uint64_t at = cut->offset; at < end && r == 0; at += extent.length) {
		r = side_extent(&file, at, &extent, &why);
		if (r < 0)
			break;
		extent.length = MIN(extent.length, end - at);
		if (extent.hole)
			reading->progress.done += extent.length;
		else
			r = read_piece(reading, &file, at, extent.length, &why);
	}
	return r < 0 ? report_name(reading, cut->name, &why, err) : 0;
}

static int read_share(struct reading *reading, const cut_list *cuts, struct ramet_error *err)
{
	const struct proof_share *share = reading->proof->share;
	uint64_t total = 0, before = 0;
	for (size_t i = 0; i < cuts->count; i++)
		total += cuts->items[i].length;
	uint64_t each = total / share->count + 1;
	reading->progress.total = MIN(each, total);
	tell(reading, true);
	int r = 0;
	for (size_t i = 0; i < cuts->count && r == 0; i++) {
		if (before / each == share->number)
			r = read_cut(reading, &cuts->items[i], err);
		before += cuts->items[i].length;
	}
	tell(reading, true);
	return r;
}

int proof_read_content(struct proof *proof, struct ramet_error *err)
{
	_cleanup_free_ char *buffer = malloc(BUFFER);
	struct reading reading = {
		.proof = proof, .buffer = buffer, .progress = {.share = proof->share->number}};
	cut_list cuts = {0};
	int r = buffer ? cut_files(&reading, &cuts, err) : error_memory(err);
	if (r == 0)
		r = read_share(&reading, &cuts, err);
	vector_free(&cuts);
	return r;
}
