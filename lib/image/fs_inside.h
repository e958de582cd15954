/* SPDX-License-Identifier: Apache-2.0 */
/* What the readers share behind fs.h: collecting entries and attributes, and proof of a tree. */
#ifndef IMAGE_FS_INSIDE_H
#define IMAGE_FS_INSIDE_H

#include <stdarg.h>

#include "base/error.h"
#include "base/vector.h"
#include "image/fs.h"

/* Limits that no image can talk a reader out of. The kernel's own bounds, where it has one. */
enum {
	FS_ENTRIES_MAX = 1 << 21, /* names in one directory */
	FS_NAME_MAX = 255,
	FS_TARGET_MAX = 4095,      /* bytes of a symlink's target */
	FS_XATTRS_MAX = 4096,      /* attributes of one inode */
	FS_XATTR_SIZE_MAX = 65536, /* bytes of one attribute's value */
};

typedef VECTOR(struct fs_entry) fs_entry_list;
typedef VECTOR(struct fs_xattr) fs_xattr_list;

/* size bytes of a superblock at offset; -EMEDIUMTYPE when the file ends before it does. */
int fs_read_super(int fd, uint64_t offset, void *super, size_t size, struct ramet_error *err);
/* Whether mode is of a file, directory, symlink, device, fifo or socket. */
bool fs_kind_is_known(uint32_t mode);
/* Put in a device's numbers as Linux's 32-bit form has them: new_decode_dev() of linux/kdev_t.h. */
void fs_set_device(struct fs_stat *stat, uint32_t encoded);

/* -EUCLEAN and "WHAT is damaged: ...". */
int fs_damage(struct ramet_error *err, const char *what, const char *format, va_list args)
	__attribute__((format(printf, 3, 0)));

/* Add one name, copied. 0, -ENOMEM, -E2BIG (too many), -EUCLEAN (not a name a file can have). */
int fs_entry_add(fs_entry_list *list, const char *name, size_t length, fs_ref ref, uint32_t type);
/* Sort and hand over; -EUCLEAN when two entries are alike (*twice is the name, which lives as long
 * as the list). The list is empty afterwards when it answers 0. */
int fs_entries_take(fs_entry_list *list, struct fs_entries *entries, const char **twice);
void fs_entry_list_free(fs_entry_list *list);

/* Add prefix + name = value, copied. 0, -ENOMEM, -E2BIG, -EUCLEAN as above. */
int fs_xattr_add(fs_xattr_list *list, const char *prefix, const char *name, size_t name_length,
	const void *value, size_t size);
int fs_xattrs_take(fs_xattr_list *list, struct fs_xattrs *xattrs, const char **twice);
void fs_xattr_list_free(fs_xattr_list *list);

#define _cleanup_entry_list_ __attribute__((cleanup(fs_entry_list_free)))
#define _cleanup_xattr_list_ __attribute__((cleanup(fs_xattr_list_free)))

/*
 * That the directories are a tree: each has one place, (parent, position among its entries). A
 * reader claims that place for each directory it lists in another; a second claim from elsewhere
 * is a loop, or a directory with two names, which would make a walk exponential.
 */
struct fs_places {
	struct fs_place {
		uint64_t child, parent, position;
	} * slots; /* open addressing; child 0 is free */
	size_t count, size;
};

/* 0, -ENOMEM, or -EUCLEAN when child has another place. child is not 0. */
int fs_place_claim(struct fs_places *places, fs_ref child, fs_ref parent, size_t position);
/* The place of child, or NULL. What is listed without one was not called a directory by the one it is
 * in, and would escape the proof. */
const struct fs_place *fs_place_find(const struct fs_places *places, fs_ref child);
void fs_places_free(struct fs_places *places);

#endif
