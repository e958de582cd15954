/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Link counts. A file has as many names as its inode says. Directories are counted in ext4 alone,
 * where e2fsck insists on them; 1 there means "too many to count" (the feature dir_nlink). What
 * squashfs writers put there differs, and no kernel looks at it. A squashfs says how many inodes it
 * has, and all of them have names.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "look/proof_inside.h"

static int by_inode(const void *left, const void *right)
{
	const struct proof_name *a = left, *b = right;
	if (a->inode != b->inode)
		return a->inode < b->inode ? -1 : 1;
	return a < b ? -1 : a > b;
}

static int say(struct proof *proof, uint32_t directory, const char *name,
	const struct ramet_error *why, struct ramet_error *err)
{
	_cleanup_text_ struct text path = {0};
	if (proof_path(proof, directory, name, &path) < 0)
		return error_memory(err);
	return proof_report(proof, path.data, why, err);
}

/* Names first .. end - 1 are of one inode. */
static int check_links(struct proof *proof, size_t first, size_t end, struct ramet_error *err)
{
	const struct proof_name *name = &proof->names.items[first];
	struct ramet_error why = {0};
	if (name->nlink == end - first)
		return 0;
	error_set(&why, EUCLEAN, "its link count is %u, and it has %zu name%s", name->nlink,
		end - first, end - first == 1 ? "" : "s");
	return say(proof, name->directory, name->name, &why, err);
}

static int check_directories(struct proof *proof, struct ramet_error *err)
{
	int r = 0;
	for (uint32_t i = 0; i < proof->directories.count && r == 0; i++) {
		const struct proof_directory *directory = &proof->directories.items[i];
		struct ramet_error why = {0};
		if (directory->nlink == directory->below + 2 || directory->nlink == 1)
			continue;
		error_set(&why, EUCLEAN, "its link count is %u, and it has %u directories in it",
			directory->nlink, directory->below);
		r = say(proof, i, NULL, &why, err);
	}
	return r;
}

static void check_inodes(struct proof *proof, uint64_t inodes)
{
	char sentence[128];
	if (inodes == proof->facts->inodes)
		return;
	snprintf(sentence, sizeof sentence,
		"the superblock says that there are %llu inodes, and the tree has %llu",
		(unsigned long long)proof->facts->inodes, (unsigned long long)inodes);
	report_add(&proof->result->report, "", sentence);
}

int proof_check_names(struct proof *proof, struct ramet_error *err)
{
	const char *format = proof->view->fs->ops->format;
	struct proof_result *result = proof->result;
	uint64_t inodes = proof->directories.count;
	/* What could not be listed has names that were not counted. */
	bool whole = proof->share->number == 0 && result->report.found == 0;
	int r = 0;
	if (proof->names.count)
		qsort(proof->names.items, proof->names.count, sizeof *proof->names.items, by_inode);
	for (size_t i = 0, end; i < proof->names.count && r == 0; i = end, inodes++) {
		const struct proof_name *name = &proof->names.items[i];
		for (end = i + 1; end < proof->names.count; end++)
			if (proof->names.items[end].inode != name->inode)
				break;
		if (name->regular) {
			result->files++;
			result->content_bytes += name->size;
		}
		if (whole)
			r = check_links(proof, i, end, err);
	}
	if (r == 0 && whole && strcmp(format, "ext4") == 0)
		r = check_directories(proof, err);
	if (r == 0 && whole && strcmp(format, "squashfs") == 0)
		check_inodes(proof, inodes);
	return r;
}
