/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owners are the numbers that the archive has, as with tar --numeric-owner: a tree for a guest has
 * users of its own. In ACLs, which GNU tar writes with names alone, a name stands for the number
 * that it has in the host's files, as it does for GNU tar.
 *
 * Times and the like are taken as they are, before 1970 and after 2446 too: what cannot be kept is up
 * to the format of the image.
 */
#include "source/tape_entry.h"

#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "source/acl.h"
#include "source/source.h"

#define NANOSECONDS   1000000000
#define MAJOR_MAX     4095 /* 12 and 20 bits: include/linux/kdev_t.h */
#define MINOR_MAX     1048575
#define ATTRIBUTE_MAX 65536 /* XATTR_SIZE_MAX */

static int add_xattrs(const struct tape *tape, struct tree *tree, struct layer_entry *entry,
	struct ramet_error *err)
{
	const char *name;
	const void *value;
	size_t size;
	if (!tape->lib->archive_entry_xattr_reset(tape->entry))
		return 0;
	while (tape->lib->archive_entry_xattr_next(tape->entry, &name, &value, &size) ==
		ARCHIVE_OK) {
		if (!name || !source_keeps_xattr(name)) {
			tree->omitted_xattrs++;
			continue;
		}
		if (size > ATTRIBUTE_MAX || strlen(name) > 255)
			return tape_damaged(tape,
				"an extended attribute is larger than any filesystem holds", err);
		int r = source_add_xattr(tree, &entry->xattrs, name, value, size);
		if (r < 0)
			return error_memory(err);
	}
	return 0;
}

static int set_owner(const struct tape *tape, struct layer_entry *entry, struct ramet_error *err)
{
	la_int64_t uid = tape->lib->archive_entry_uid(tape->entry);
	la_int64_t gid = tape->lib->archive_entry_gid(tape->entry);
	/* The last number stands for "nobody asked" in the kernel's calls (chown(2)). */
	if (uid < 0 || uid >= UINT32_MAX || gid < 0 || gid >= UINT32_MAX)
		return tape_damaged(tape, "its owner is a number that no user can have", err);
	entry->uid = (uint32_t)uid;
	entry->gid = (uint32_t)gid;
	return 0;
}

static int set_device(const struct tape *tape, struct layer_entry *entry, struct ramet_error *err)
{
	dev_t major = tape->lib->archive_entry_rdevmajor(tape->entry);
	dev_t minor = tape->lib->archive_entry_rdevminor(tape->entry);
	if (major > MAJOR_MAX || minor > MINOR_MAX)
		return tape_damaged(tape, "no device has such numbers", err);
	entry->rdev = makedev((unsigned)major, (unsigned)minor);
	return 0;
}

/* pax writes -1.25 for a second and a quarter before 1970; libarchive gives the two parts of it as
 * they stand there. */
static void set_time(struct layer_entry *entry, int64_t seconds, long nanoseconds)
{
	entry->mtime = seconds;
	if (nanoseconds <= 0 || nanoseconds >= NANOSECONDS)
		return;
	bool before = seconds < 0 && seconds > INT64_MIN;
	entry->mtime = before ? seconds - 1 : seconds;
	entry->mtime_nsec = (uint32_t)(before ? NANOSECONDS - nanoseconds : nanoseconds);
}

int tape_entry(const struct tape *tape, const struct acl_names *names, struct tree *tree,
	struct layer_entry *entry, struct ramet_error *err)
{
	const struct archive_library *lib = tape->lib;
	struct archive_entry *from = tape->entry;
	*entry = (struct layer_entry){
		.path = lib->archive_entry_pathname(from),
		.symlink = lib->archive_entry_symlink(from),
		.hardlink = lib->archive_entry_hardlink(from),
		.mode = lib->archive_entry_filetype(from) | (lib->archive_entry_perm(from) & 07777),
		.place = tape->number,
	};
	set_time(entry, lib->archive_entry_mtime(from), lib->archive_entry_mtime_nsec(from));
	if (entry->hardlink)
		return 0;
	if (S_ISREG(entry->mode))
		entry->size = (uint64_t)lib->archive_entry_size(from);
	int r = set_owner(tape, entry, err);
	if (r == 0 && (S_ISBLK(entry->mode) || S_ISCHR(entry->mode)))
		r = set_device(tape, entry, err);
	if (r == 0)
		r = add_xattrs(tape, tree, entry, err);
	return r < 0 ? r : acl_read(tape, names, tree, entry, err);
}

int tape_entry_map(
	const struct tape *tape, struct range_list *map, bool *sparse, struct ramet_error *err)
{
	la_int64_t offset, length, size = tape->lib->archive_entry_size(tape->entry);
	uint64_t end = 0;
	*sparse = tape->lib->archive_entry_sparse_reset(tape->entry) > 0;
	while (*sparse &&
		tape->lib->archive_entry_sparse_next(tape->entry, &offset, &length) == ARCHIVE_OK) {
		if (offset < 0 || length < 0 || (uint64_t)offset < end || offset > size ||
			length > size - offset)
			return tape_damaged(tape, "its sparse map lies about the file", err);
		end = (uint64_t)offset + (uint64_t)length;
		if (length && ranges_append(map, (uint64_t)offset, (uint64_t)length) < 0)
			return error_memory(err);
	}
	return 0;
}
