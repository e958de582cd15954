/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The value of system.posix_acl_access and _default: version 2 in 32 bits, then entries of a tag and
 * permissions in 16 bits each and an id in 32, little-endian, sorted by tag and id
 * (include/uapi/linux/posix_acl_xattr.h, posix_acl.h). The group's bits of a file's mode are those of
 * its ACL's mask, where it has one (acl(5)).
 */
#include "source/acl.h"

#include <endian.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "source/source.h"

#define VERSION   2
#define NO_ID     UINT32_MAX
#define NAMES_MAX ((size_t)4 << 20)
#define ACL_MAX   1024 /* entries; a file's attribute holds fewer than 8192 */

enum { USER_OBJ = 1, USER = 2, GROUP_OBJ = 4, GROUP = 8, MASK = 16, OTHER = 32 };

struct acl_entry {
	uint16_t tag, permissions;
	uint32_t id;
};
struct acl {
	uint32_t version;
	struct acl_entry entries[ACL_MAX];
};

void acl_names_load(struct acl_names *names)
{
	if (read_file(AT_FDCWD, "/etc/passwd", NAMES_MAX, &names->users, NULL) < 0)
		names->users = NULL;
	if (read_file(AT_FDCWD, "/etc/group", NAMES_MAX, &names->groups, NULL) < 0)
		names->groups = NULL;
}

void acl_names_free(struct acl_names *names)
{
	free(names->users);
	free(names->groups);
	*names = (struct acl_names){0};
}

/* "NAME:PASSWORD:NUMBER:...", a line each (passwd(5), group(5)). */
static bool find_id(const char *file, const char *name, uint32_t *id)
{
	size_t length = strlen(name);
	for (const char *line = file; line && *line; line += *line == '\n') {
		if (length && strncmp(line, name, length) == 0 && line[length] == ':') {
			const char *number = strchr(line + length + 1, ':');
			char *end;
			unsigned long value = number ? strtoul(number + 1, &end, 10) : 0;
			if (number && end != number + 1 && *end == ':' && value < NO_ID) {
				*id = (uint32_t)value;
				return true;
			}
		}
		line += strcspn(line, "\n");
	}
	return false;
}

static uint16_t tag_of(int tag)
{
	switch (tag) {
	case ARCHIVE_ENTRY_ACL_USER_OBJ:
		return USER_OBJ;
	case ARCHIVE_ENTRY_ACL_USER:
		return USER;
	case ARCHIVE_ENTRY_ACL_GROUP_OBJ:
		return GROUP_OBJ;
	case ARCHIVE_ENTRY_ACL_GROUP:
		return GROUP;
	case ARCHIVE_ENTRY_ACL_MASK:
		return MASK;
	case ARCHIVE_ENTRY_ACL_OTHER:
		return OTHER;
	default:
		return 0;
	}
}

/* One entry; false when it cannot be told whom it means. */
static bool convert(const struct acl_names *names, int tag, int permissions, int id,
	const char *name, struct acl_entry *into)
{
	*into = (struct acl_entry){
		.tag = tag_of(tag), .permissions = (uint16_t)(permissions & 7), .id = NO_ID};
	if (into->tag != USER && into->tag != GROUP)
		return into->tag != 0;
	into->id = (uint32_t)id;
	return id >= 0 ||
	       (name && find_id(into->tag == USER ? names->users : names->groups, name, &into->id));
}

static int compare(const void *a, const void *b)
{
	const struct acl_entry *x = a, *y = b;
	if (x->tag != y->tag)
		return x->tag < y->tag ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

static void to_disk(struct acl *acl, size_t count)
{
	acl->version = htole32(VERSION);
	for (size_t i = 0; i < count; i++) {
		struct acl_entry *entry = &acl->entries[i];
		*entry = (struct acl_entry){
			htole16(entry->tag), htole16(entry->permissions), htole32(entry->id)};
	}
}

/* 1 and the entries, sorted; 0: there are none, or one that cannot be kept (*omitted). */
static int collect(const struct tape *tape, const struct acl_names *names, int type,
	struct acl *acl, size_t *count, bool *omitted)
{
	const struct archive_library *lib = tape->lib;
	int found, permissions, tag, id;
	const char *name;
	*count = 0;
	if (lib->archive_entry_acl_reset(tape->entry, type) <= 0)
		return 0;
	while (lib->archive_entry_acl_next(
		       tape->entry, type, &found, &permissions, &tag, &id, &name) == ARCHIVE_OK) {
		if (*count == ACL_MAX ||
			!convert(names, tag, permissions, id, name, &acl->entries[*count])) {
			*omitted = true;
			return 0;
		}
		++*count;
	}
	qsort(acl->entries, *count, sizeof acl->entries[0], compare);
	return *count > 0;
}

static void take_mask(const struct acl *acl, size_t count, uint32_t *mode)
{
	for (size_t i = 0; i < count; i++)
		if (acl->entries[i].tag == MASK)
			*mode = (*mode & ~070u) | (uint32_t)acl->entries[i].permissions << 3;
}

int acl_read(const struct tape *tape, const struct acl_names *names, struct tree *tree,
	struct layer_entry *entry, struct ramet_error *err)
{
	static const struct {
		int type;
		const char *name;
	} kinds[] = {
		{ARCHIVE_ENTRY_ACL_TYPE_ACCESS, "system.posix_acl_access"},
		{ARCHIVE_ENTRY_ACL_TYPE_DEFAULT, "system.posix_acl_default"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct acl acl;
		size_t count;
		bool omitted = false;
		if (!collect(tape, names, kinds[i].type, &acl, &count, &omitted)) {
			tree->omitted_xattrs += omitted;
			continue;
		}
		if (kinds[i].type == ARCHIVE_ENTRY_ACL_TYPE_ACCESS)
			take_mask(&acl, count, &entry->mode);
		to_disk(&acl, count);
		if (source_add_xattr(tree, &entry->xattrs, kinds[i].name, &acl,
			    sizeof acl.version + count * sizeof acl.entries[0]) < 0)
			return error_memory(err);
	}
	return 0;
}
