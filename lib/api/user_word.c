/* SPDX-License-Identifier: Apache-2.0 */
#include "api/user_word.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* An entry of passwd or group with its strings; longer ones count as not there. */
enum { ENTRY_BYTES = 16384 };

/* The largest number means "leave it as it is" to chown(2), so nobody has it. */
static bool is_number(const char *word, uint32_t *number)
{
	char *end;
	if (!*word || strspn(word, "0123456789") != strlen(word) || strlen(word) > 10)
		return false;
	unsigned long long value = strtoull(word, &end, 10);
	*number = (uint32_t)value;
	return value < UINT32_MAX;
}

static int find_user(
	const char *word, uid_t *uid, gid_t *gid, bool needs_group, struct ramet_error *err)
{
	char strings[ENTRY_BYTES];
	struct passwd entry, *found = NULL;
	uint32_t number;
	if (is_number(word, &number)) {
		*uid = number;
		getpwuid_r(number, &entry, strings, sizeof strings, &found);
		if (!found && needs_group)
			return error_set(err, EINVAL,
				"this host does not know user %s, and so not its group: say USER:GROUP",
				word);
	} else {
		getpwnam_r(word, &entry, strings, sizeof strings, &found);
		if (!found)
			return error_set(err, ENOENT, "this host has no user called %s", word);
		*uid = found->pw_uid;
	}
	if (found && needs_group)
		*gid = found->pw_gid;
	return 0;
}

static int find_group(const char *word, gid_t *gid, struct ramet_error *err)
{
	char strings[ENTRY_BYTES];
	struct group entry, *found = NULL;
	uint32_t number;
	if (is_number(word, &number)) {
		*gid = number;
		return 0;
	}
	getgrnam_r(word, &entry, strings, sizeof strings, &found);
	if (!found)
		return error_set(err, ENOENT, "this host has no group called %s", word);
	*gid = found->gr_gid;
	return 0;
}

int user_word_parse(const char *word, uid_t *uid, gid_t *gid, struct ramet_error *err)
{
	_cleanup_free_ char *user = strdup(word);
	if (!user)
		return error_memory(err);
	char *group = strchr(user, ':');
	if (group)
		*group++ = '\0';
	int r = find_user(user, uid, gid, !group, err);
	return r == 0 && group ? find_group(group, gid, err) : r;
}
