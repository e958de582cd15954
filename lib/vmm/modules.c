/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libkmod answers from the files that depmod wrote into the folder (modules.dep.bin and so on);
 * this host's own configuration and loaded modules must play no part, so no configuration folder
 * is given and the state in /sys is asked only for what came from the list of built-in modules.
 *
 * Two kinds of need: hard ones (symbols; modules.dep), and the soft ones that a module states
 * ("softdep=pre: crc32c" in ext4): without these a mount fails. A soft one that the kernel has not
 * is no error.
 */
#include "vmm/modules.h"

#include <errno.h>
#include <fcntl.h>
#include <libkmod.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/dynamic.h"
#include "base/fd.h"
#include "base/text.h"
#include "vmm/unpack.h"

#define MAX_MODULE_SIZE ((size_t)64 << 20)
/* Deeper than any real chain of modules; a circle in a damaged modules.dep ends here. */
#define MAX_DEPTH 32

#define FUNCTIONS(F) \
	F(kmod_new) \
	F(kmod_unref) \
	F(kmod_set_log_priority) \
	F(kmod_get_dirname) \
	F(kmod_list_next) \
	F(kmod_module_new_from_lookup) \
	F(kmod_module_get_module) \
	F(kmod_module_get_name) \
	F(kmod_module_get_path) \
	F(kmod_module_get_dependencies) \
	F(kmod_module_get_info) \
	F(kmod_module_info_get_key) \
	F(kmod_module_info_get_value) \
	F(kmod_module_info_free_list) \
	F(kmod_module_unref) \
	F(kmod_module_unref_list)
DYNAMIC_LIBRARY(kmod_library, FUNCTIONS)

struct search {
	struct kmod_library lib;
	struct kmod_ctx *kmod;
	module_list *list;
	struct ramet_error *err;
};

static int add_by_name(struct search *search, const char *name, bool required, int depth);

void modules_free(module_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		free(list->items[i].name);
		free(list->items[i].path);
	}
	vector_free(list);
}

static bool is_listed(const module_list *list, const char *name)
{
	for (size_t i = 0; i < list->count; i++) {
		if (strcmp(list->items[i].name, name) == 0)
			return true;
	}
	return false;
}

static int append(struct search *search, const char *name, const char *path)
{
	_cleanup_free_ char *name_copy = strdup(name), *path_copy = strdup(path);
	struct module_file *file = name_copy && path_copy ? vector_push(search->list) : NULL;
	if (!file)
		return error_memory(search->err);
	file->name = TAKE_PTR(name_copy);
	file->path = TAKE_PTR(path_copy);
	return 0;
}

/* "pre: a b post: c": add a and b. */
static int add_soft_needs(struct search *search, const char *text, int depth)
{
	_cleanup_free_ char *copy = strdup(text);
	if (!copy)
		return error_memory(search->err);
	bool before = false;
	char *rest = NULL;
	for (char *word = strtok_r(copy, " \t", &rest); word; word = strtok_r(NULL, " \t", &rest)) {
		if (strcmp(word, "pre:") == 0 || strcmp(word, "post:") == 0) {
			before = word[1] == 'r';
			continue;
		}
		int r = before ? add_by_name(search, word, false, depth + 1) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

static int add_all_soft_needs(struct search *search, struct kmod_module *module, int depth)
{
	struct kmod_list *info = NULL, *entry;
	int r = 0;
	if (search->lib.kmod_module_get_info(module, &info) < 0)
		return 0;
	for (entry = info; entry; entry = search->lib.kmod_list_next(info, entry)) {
		if (r == 0 && strcmp(search->lib.kmod_module_info_get_key(entry), "softdep") == 0)
			r = add_soft_needs(
				search, search->lib.kmod_module_info_get_value(entry), depth);
	}
	search->lib.kmod_module_info_free_list(info);
	return r;
}

/* Add a module after all that it needs. */
static int add_module(struct search *search, struct kmod_module *module, int depth)
{
	const char *name = search->lib.kmod_module_get_name(module),
		   *path = search->lib.kmod_module_get_path(module);
	/* Without a file it was found in the list of what is built in. */
	if (!path || is_listed(search->list, name))
		return 0;
	if (depth > MAX_DEPTH)
		return error_set(search->err, ELOOP, "the kernel module %s needs itself", name);
	int r = add_all_soft_needs(search, module, depth);
	struct kmod_list *needs = search->lib.kmod_module_get_dependencies(module), *entry;
	for (entry = needs; entry; entry = search->lib.kmod_list_next(needs, entry)) {
		struct kmod_module *need = search->lib.kmod_module_get_module(entry);
		if (r == 0)
			r = add_module(search, need, depth + 1);
		search->lib.kmod_module_unref(need);
	}
	search->lib.kmod_module_unref_list(needs);
	if (r < 0 || is_listed(search->list, name))
		return r;
	return append(search, name, path);
}

static int add_by_name(struct search *search, const char *name, bool required, int depth)
{
	struct kmod_list *found = NULL, *entry;
	int r = search->lib.kmod_module_new_from_lookup(search->kmod, name, &found);
	if (r < 0 && r != -ENOENT && r != -ENOSYS)
		return error_errno(search->err, -r,
			"the kernel module %s could not be looked up in %s", name,
			search->lib.kmod_get_dirname(search->kmod));
	if (!found) {
		return required
			       ? error_set(search->err, ENOENT,
					 "the kernel at %s has no %s, neither built in nor as a module; "
					 "use a kernel that has it",
					 search->lib.kmod_get_dirname(search->kmod), name)
			       : 0;
	}
	r = 0;
	for (entry = found; entry; entry = search->lib.kmod_list_next(found, entry)) {
		struct kmod_module *module = search->lib.kmod_module_get_module(entry);
		if (r == 0)
			r = add_module(search, module, depth);
		search->lib.kmod_module_unref(module);
	}
	search->lib.kmod_module_unref_list(found);
	return r;
}

int modules_find(
	const char *dir, const char *const *wanted, module_list *list, struct ramet_error *err)
{
	static const char *const no_configuration[] = {NULL};
	_cleanup_free_ char *index = NULL;
	if (asprintf(&index, "%s/modules.dep.bin", dir) < 0) {
		index = NULL;
		return error_memory(err);
	}
	if (access(index, R_OK) < 0)
		return error_errno(err, errno,
			"%s is no folder of kernel modules (/lib/modules/VERSION, after depmod): "
			"modules.dep.bin cannot be read",
			dir);
	struct search search = {.list = list, .err = err};
	int r = kmod_library_load(&search.lib, "libkmod.so.2", err);
	if (r < 0)
		return r;
	search.kmod = search.lib.kmod_new(dir, no_configuration);
	if (search.kmod) {
		search.lib.kmod_set_log_priority(search.kmod, 0);
		for (size_t i = 0; r == 0 && wanted && wanted[i]; i++)
			r = add_by_name(&search, wanted[i], true, 0);
		search.lib.kmod_unref(search.kmod);
	} else {
		r = error_memory(err);
	}
	dynamic_close(&search.lib.library);
	return r;
}

static int append_piece(void *ctx, const void *bytes, size_t length)
{
	struct text *text = ctx;
	text_append_bytes(text, bytes, length);
	return text->failed ? -ENOMEM : 0;
}

int module_read(
	const struct module_file *file, void **data, size_t *length, struct ramet_error *err)
{
	_cleanup_free_ char *packed = NULL;
	_cleanup_text_ struct text module = {0};
	size_t packed_length;
	int r = read_file(AT_FDCWD, file->path, MAX_MODULE_SIZE, &packed, &packed_length);
	if (r == 0)
		r = unpack(packed, packed_length, MAX_MODULE_SIZE, append_piece, &module, err);
	if (r == -ELIBACC)
		return r;
	if (r == -EFBIG)
		return error_set(
			err, EFBIG, "the kernel module %s is over 64 MiB large", file->path);
	if (r == -EBADMSG)
		return error_set(err, EBADMSG,
			"the kernel module %s cannot be unpacked: it is damaged, or packed in an "
			"unknown way",
			file->path);
	if (r < 0)
		return error_errno(err, -r, "the kernel module %s cannot be read", file->path);
	*length = module.length;
	*data = TAKE_PTR(module.data);
	return 0;
}
