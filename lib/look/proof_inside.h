/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of a proof share. */
#ifndef LOOK_PROOF_INSIDE_H
#define LOOK_PROOF_INSIDE_H

#include "base/arena.h"
#include "base/text.h"
#include "base/vector.h"
#include "look/proof.h"

/* A directory; directories[0] is the root. */
struct proof_directory {
	uint32_t parent;
	uint32_t nlink, below; /* what it says, and how many directories it has */
	const char *name;
};

/* One name of anything else. */
struct proof_name {
	const char *name;
	uint64_t inode, size;
	fs_ref ref;
	uint32_t directory, nlink;
	bool regular;
};

struct proof {
	const struct changes_view *view;
	const struct image_facts *facts;
	const struct proof_share *share;
	struct proof_result *result;
	struct arena arena; /* the names */
	VECTOR(struct proof_directory) directories;
	VECTOR(struct proof_name) names;
	VECTOR(uint32_t) open; /* the directories from the root to where the walk is */
};

/* The path of a name in a directory, or of the directory itself for name NULL. */
int proof_path(const struct proof *proof, uint32_t directory, const char *name, struct text *path);

/* Report why something about path is wrong. Fails for what is no damage: no memory, or something that
 * cannot be read here. */
int proof_report(struct proof *proof, const char *path, const struct ramet_error *why,
	struct ramet_error *err);

/* proof_names.c: sort the names by inode, and report on link counts. */
int proof_check_names(struct proof *proof, struct ramet_error *err);

/* proof_content.c: read the share's content; names are sorted by inode. */
int proof_read_content(struct proof *proof, struct ramet_error *err);

#endif
