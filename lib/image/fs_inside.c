/* SPDX-License-Identifier: Apache-2.0 */
#include "image/fs_inside.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fd.h"

int fs_read_super(int fd, uint64_t offset, void *super, size_t size, struct ramet_error *err)
{
	ssize_t n = pread_full(fd, super, size, offset);
	if (n < 0)
		return error_errno(err, (int)-n, "cannot read the superblock");
	if ((size_t)n < size)
		return error_set(err, EMEDIUMTYPE, "the superblock is cut off");
	return 0;
}

bool fs_kind_is_known(uint32_t mode)
{
	static const uint32_t kinds[] = {
		S_IFREG, S_IFDIR, S_IFLNK, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK};
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if ((mode & S_IFMT) == kinds[i])
			return true;
	return false;
}

void fs_set_device(struct fs_stat *stat, uint32_t encoded)
{
	stat->rdev_major = (encoded & 0xfff00) >> 8;
	stat->rdev_minor = (encoded & 0xff) | ((encoded >> 12) & 0xfff00);
}

int fs_damage(struct ramet_error *err, const char *what, const char *format, va_list args)
{
	char text[512];
	int n = vsnprintf(text, sizeof text, format, args);
	return error_set(err, EUCLEAN, "%s is damaged: %s", what, n < 0 ? format : text);
}

static bool name_is_sane(const char *name, size_t length)
{
	if (length == 0 || length > FS_NAME_MAX)
		return false;
	if (memchr(name, '/', length) || memchr(name, '\0', length))
		return false;
	return !(name[0] == '.' && (length == 1 || (length == 2 && name[1] == '.')));
}

int fs_entry_add(fs_entry_list *list, const char *name, size_t length, fs_ref ref, uint32_t type)
{
	if (!name_is_sane(name, length))
		return -EUCLEAN;
	if (list->count >= FS_ENTRIES_MAX)
		return -E2BIG;
	_cleanup_free_ char *copy = strndup(name, length);
	struct fs_entry *entry = copy ? vector_push(list) : NULL;
	if (!entry)
		return -ENOMEM;
	*entry = (struct fs_entry){.name = TAKE_PTR(copy), .ref = ref, .type = type};
	return 0;
}

static int compare_entries(const void *a, const void *b)
{
	return strcmp(((const struct fs_entry *)a)->name, ((const struct fs_entry *)b)->name);
}

int fs_entries_take(fs_entry_list *list, struct fs_entries *entries, const char **twice)
{
	bool sorted = true;
	for (size_t i = 1; i < list->count && sorted; i++)
		sorted = compare_entries(&list->items[i - 1], &list->items[i]) < 0;
	if (!sorted)
		qsort(list->items, list->count, sizeof *list->items, compare_entries);
	for (size_t i = 1; i < list->count && !sorted; i++) {
		if (compare_entries(&list->items[i - 1], &list->items[i]) == 0) {
			*twice = list->items[i].name;
			return -EUCLEAN;
		}
	}
	*entries = (struct fs_entries){.items = list->items, .count = list->count};
	*list = (fs_entry_list){0};
	return 0;
}

void fs_entry_list_free(fs_entry_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i].name);
	vector_free(list);
}

int fs_xattr_add(fs_xattr_list *list, const char *prefix, const char *name, size_t name_length,
	const void *value, size_t size)
{
	size_t prefix_length = strlen(prefix);
	if (memchr(name, '\0', name_length) || prefix_length + name_length > FS_NAME_MAX ||
		prefix_length + name_length == 0 || size > FS_XATTR_SIZE_MAX)
		return -EUCLEAN;
	if (list->count >= FS_XATTRS_MAX)
		return -E2BIG;
	_cleanup_free_ char *full = malloc(prefix_length + name_length + 1);
	_cleanup_free_ char *copy = malloc(size + 1);
	struct fs_xattr *xattr = full && copy ? vector_push(list) : NULL;
	if (!xattr)
		return -ENOMEM;
	memcpy(full, prefix, prefix_length);
	memcpy(full + prefix_length, name, name_length);
	full[prefix_length + name_length] = '\0';
	if (size)
		memcpy(copy, value, size);
	copy[size] = '\0';
	*xattr = (struct fs_xattr){.name = TAKE_PTR(full), .value = TAKE_PTR(copy), .size = size};
	return 0;
}

static int compare_xattrs(const void *a, const void *b)
{
	return strcmp(((const struct fs_xattr *)a)->name, ((const struct fs_xattr *)b)->name);
}

int fs_xattrs_take(fs_xattr_list *list, struct fs_xattrs *xattrs, const char **twice)
{
	if (list->count > 1)
		qsort(list->items, list->count, sizeof *list->items, compare_xattrs);
	for (size_t i = 1; i < list->count; i++) {
		if (compare_xattrs(&list->items[i - 1], &list->items[i]) == 0) {
			*twice = list->items[i].name;
			return -EUCLEAN;
		}
	}
	*xattrs = (struct fs_xattrs){.items = list->items, .count = list->count};
	*list = (fs_xattr_list){0};
	return 0;
}

void fs_xattr_list_free(fs_xattr_list *list)
{
	struct fs_xattrs all = {.items = list->items, .count = list->count};
	fs_xattrs_free(&all);
	*list = (fs_xattr_list){0};
}

/* Where child is, or the free slot where it would go. size is a power of two and never full. */
static struct fs_place *place_slot(struct fs_place *slots, size_t size, uint64_t child)
{
	size_t at = (size_t)(child * 0x9e3779b97f4a7c15ULL >> 20);
	while (slots[at & (size - 1)].child && slots[at & (size - 1)].child != child)
		at++;
	return &slots[at & (size - 1)];
}

static int places_grow(struct fs_places *places)
{
	size_t size = places->size ? places->size * 2 : 256;
	struct fs_place *slots = calloc(size, sizeof *slots);
	if (!slots)
		return -ENOMEM;
	for (size_t i = 0; i < places->size; i++) {
		if (places->slots[i].child)
			*place_slot(slots, size, places->slots[i].child) = places->slots[i];
	}
	free(places->slots);
	places->slots = slots;
	places->size = size;
	return 0;
}

int fs_place_claim(struct fs_places *places, fs_ref child, fs_ref parent, size_t position)
{
	if (places->count * 4 >= places->size * 3) {
		int r = places_grow(places);
		if (r < 0)
			return r;
	}
	struct fs_place *slot = place_slot(places->slots, places->size, child);
	if (slot->child)
		return slot->parent == parent && slot->position == position ? 0 : -EUCLEAN;
	*slot = (struct fs_place){.child = child, .parent = parent, .position = position};
	places->count++;
	return 0;
}

const struct fs_place *fs_place_find(const struct fs_places *places, fs_ref child)
{
	if (!places->size)
		return NULL;
	struct fs_place *slot = place_slot(places->slots, places->size, child);
	return slot->child ? slot : NULL;
}

void fs_places_free(struct fs_places *places)
{
	free(places->slots);
	*places = (struct fs_places){0};
}
