/* SPDX-License-Identifier: Apache-2.0 */
/* "USER" or "USER:GROUP", by names or numbers. Without a group it is the user's own. */
#ifndef API_USER_WORD_H
#define API_USER_WORD_H

#include <sys/types.h>

#include "base/error.h"

/* -ENOENT: this host has no such user or group; -EINVAL: a number without a group of a user that this
 * host does not know. */
int user_word_parse(const char *word, uid_t *uid, gid_t *gid, struct ramet_error *err);

#endif
