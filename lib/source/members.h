/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The members of a tar archive that holds other files: which there are and where, found out in a
 * sandbox. Only files and links are kept.
 */
#ifndef SOURCE_MEMBERS_H
#define SOURCE_MEMBERS_H

#include "base/vector.h"
#include "source/stream.h"

#define MEMBERS_MAX 100000

struct member {
	const char *name; /* without "./" in front */
	const char *link; /* of links; else NULL */
	bool hard; /* link is a name in the archive, and not relative to the member's folder */
	uint64_t offset, size;
};

struct members {
	VECTOR(struct member) list; /* in the order of the archive */
	char *memory;               /* what the strings are in */
	bool packed;                /* the archive is compressed */
	bool foreign;               /* wanted refused a name: the list ends there */
};

/*
 * List them. wanted (may be NULL) tells whether a name may be in the archive; the first that may not
 * ends the listing. Errors: EUCLEAN, E2BIG, those of sandbox_run.
 */
int members_list(struct members *members, const struct reel *reel,
	const struct archive_library *lib, bool (*wanted)(const char *name),
	struct ramet_error *err);
void members_free(struct members *members);
#define _cleanup_members_ __attribute__((cleanup(members_free)))

/* The last file of that name, links followed within the archive. NULL: there is none. */
const struct member *members_find(const struct members *members, const char *name);

/* All of a member, which must be small (DOCUMENT_BYTES_MAX); the caller frees *data. */
int members_load(const struct members *members, const struct member *member,
	const struct reel *reel, const struct archive_library *lib, char **data, size_t *length,
	struct ramet_error *err);

/* Its bytes; archive must outlive the reel. name is borrowed. */
struct reel members_reel(const struct members *members, const struct member *member,
	const struct reel *archive, const char *name);

#endif
