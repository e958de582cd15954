/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is in it: /init, /dev/console (the kernel opens it before init runs, and says "unable to
 * open an initial console" otherwise), the folder init makes its mounts in, the arguments that the
 * kernel's command line has no room for, and the modules with their order in a list (names in
 * init/names.h).
 */
#include "vmm/initramfs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "init/names.h"
#include "init/program.h"
#include "vmm/cpio.h"
#include "vmm/modules.h"

/* A path of init/names.h as the archive wants it. */
static const char *relative(const char *path)
{
	return path + (*path == '/');
}

static int add_module(struct cpio_writer *cpio, const struct module_file *file, size_t number,
	struct text *order, struct ramet_error *err)
{
	_cleanup_free_ void *content = NULL;
	size_t length = 0;
	char name[300];
	int r = module_read(file, &content, &length, err);
	if (r < 0)
		return r;
	snprintf(name, sizeof name, "%s/%02zu-%s.ko", relative(INIT_MODULES_FOLDER), number,
		file->name);
	text_format(order, "/%s\n", name);
	return cpio_add(cpio, name, S_IFREG | 0644, 0, content, length, err);
}

static int add_modules(
	struct cpio_writer *cpio, const struct initramfs_options *options, struct ramet_error *err)
{
	_cleanup_modules_ module_list list = {0};
	_cleanup_text_ struct text order = {0};
	int r = modules_find(options->modules_dir, options->modules, &list, err);
	if (r == 0)
		r = cpio_add(cpio, relative(INIT_MODULES_FOLDER), S_IFDIR | 0755, 0, NULL, 0, err);
	for (size_t i = 0; r == 0 && i < list.count; i++)
		r = add_module(cpio, &list.items[i], i + 1, &order, err);
	if (r < 0)
		return r;
	if (order.failed)
		return error_memory(err);
	return cpio_add(cpio, relative(INIT_MODULES_LIST), S_IFREG | 0644, 0, order.data,
		order.length, err);
}

int initramfs_write(int fd, const struct initramfs_options *options, struct ramet_error *err)
{
	struct cpio_writer cpio = {.fd = fd};
	int r = cpio_add(&cpio, "dev", S_IFDIR | 0755, 0, NULL, 0, err);
	if (r == 0)
		r = cpio_add(&cpio, "dev/console", S_IFCHR | 0600, makedev(5, 1), NULL, 0, err);
	if (r == 0)
		r = cpio_add(
			&cpio, "init", S_IFREG | 0755, 0, init_program, init_program_size, err);
	if (r == 0 && options->arguments)
		r = cpio_add(&cpio, relative(INIT_ARGUMENTS_FILE), S_IFREG | 0600, 0,
			options->arguments, strlen(options->arguments), err);
	if (r == 0 && options->modules_dir)
		r = add_modules(&cpio, options, err);
	return r == 0 ? cpio_end(&cpio, err) : r;
}
