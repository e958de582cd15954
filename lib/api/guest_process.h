/* SPDX-License-Identifier: Apache-2.0 */
/* The default command of an image, from the catalogue's JSON (source/process.h) to words. */
#ifndef API_GUEST_PROCESS_H
#define API_GUEST_PROCESS_H

#include "base/document.h"

/* Lists are NULL-terminated, and NULL when there are none; their strings belong to the document. */
struct guest_process {
	struct document document;
	const char **args, **env, **user; /* user: as struct guest_arguments has it */
	const char *cwd;
};

/* json "" or NULL: all are NULL. Errors: EBADMSG, ENOMEM. guest_process_free() after both. */
int guest_process_parse(struct guest_process *process, const char *json, struct ramet_error *err);
void guest_process_free(struct guest_process *process);

#endif
