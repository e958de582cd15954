/* SPDX-License-Identifier: Apache-2.0 */
/* POSIX ACLs of archives, as the extended attributes that Linux keeps them in. */
#ifndef SOURCE_ACL_H
#define SOURCE_ACL_H

#include "source/layer.h"
#include "source/tape.h"

/* The host's users and groups: archives have ACLs with names. Start with {0}. */
struct acl_names {
	char *users, *groups; /* as /etc/passwd and /etc/group; NULL: none */
};
/* A host without one of the files has no names: no failure. */
void acl_names_load(struct acl_names *names);
void acl_names_free(struct acl_names *names);

/* Add the ACLs of the tape's entry to entry->xattrs. One that names a user whose number is not known
 * is left out, and counted in tree->omitted_xattrs. */
int acl_read(const struct tape *tape, const struct acl_names *names, struct tree *tree,
	struct layer_entry *entry, struct ramet_error *err);

#endif
