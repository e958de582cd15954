/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that can be wrong is looked at before anything starts, in the order in which a user
 * would want to hear of it: the fork, its base, the kernel, the modules, the command.
 *
 * A bzImage for a VMM that takes only ELF kernels is unpacked once, into ROOT/kernels.
 */
#include "api/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "vmm/initramfs.h"
#include "vmm/kernel.h"

enum { DEFAULT_MEMORY_MIB = 512, LEAST_MEMORY_MIB = 64, MODULE_FORMATS = 8 };

static int check_options(const struct store_fork *fork, const struct ramet_run_options *options,
	struct ramet_error *err)
{
	bool clone = strcmp(fork->mode, "clone") == 0;
	if (clone && options->ram)
		return error_set(err, EOPNOTSUPP,
			"fork %s is a clone of its base, and writes in memory need an overlay; "
			"fork the base with --provider file",
			fork->name);
	if (options->memory_mib && options->memory_mib < LEAST_MEMORY_MIB)
		return error_set(err, EINVAL,
			"%u MiB of memory are too little for a kernel; give %d",
			options->memory_mib, LEAST_MEMORY_MIB);
	struct stat st;
	if (options->modules && stat(options->modules, &st) < 0)
		return error_errno(
			err, errno, "cannot open the kernel modules in %s", options->modules);
	if (options->modules && !S_ISDIR(st.st_mode))
		return error_set(err, ENOTDIR,
			"%s is not a folder; --modules takes a /lib/modules/VERSION folder",
			options->modules);
	return 0;
}

static int kernel_prepare(struct machine *machine, const struct ramet_store *store,
	const char *path, bool needs_elf, struct ramet_error *err)
{
	enum kernel_kind kind;
	int r = kernel_identify(path, &kind, err);
	if (r < 0)
		return r;
	if (kind == KERNEL_ELF || !needs_elf) {
		machine->kernel = realpath(path, NULL);
		return machine->kernel ? 0 : error_errno(err, errno, "cannot find %s", path);
	}
	_cleanup_free_ char *folder = NULL;
	if (asprintf(&folder, "%s/kernels", store->root) < 0) {
		folder = NULL;
		return error_memory(err);
	}
	if (mkdir(folder, 0755) < 0 && errno != EEXIST)
		return error_errno(err, errno, "cannot make the folder %s", folder);
	return kernel_unpack(path, folder, &machine->kernel, err);
}

static void add_once(const char **names, size_t *count, const char *name)
{
	for (size_t i = 0; i < *count; i++)
		if (strcmp(names[i], name) == 0)
			return;
	names[(*count)++] = name;
}

/* The modules that the guest needs for its drives, NULL-terminated. The names of formats are those
 * of their modules, and there are few. */
static void modules_name(const struct machine *machine, const struct vmm *vmm,
	const char *names[static VMM_MODULES_MAX + MODULE_FORMATS])
{
	const struct store_layers *layers = &machine->fork.layers;
	vmm_name_modules(vmm, machine->drives, machine->drive_count, names);
	size_t count = 0;
	while (names[count])
		count++;
	const size_t most = count + MODULE_FORMATS - 3;
	add_once(names, &count, machine->fork.format);
	for (size_t i = 0; i < layers->count && count < most; i++)
		add_once(names, &count, layers->items[i].format);
	add_once(names, &count, "ext4");
	add_once(names, &count, "overlay");
	names[count] = NULL;
}

/* Written aside first: a VMM that reads the one before is not disturbed. */
static int initramfs_prepare(struct machine *machine, const struct vmm *vmm, const char *modules,
	const char *name, struct ramet_error *err)
{
	const char *names[VMM_MODULES_MAX + MODULE_FORMATS];
	modules_name(machine, vmm, names);
	const char *more = machine->more.length ? machine->more.data : NULL;
	struct initramfs_options options = {
		.modules_dir = modules, .modules = names, .arguments = more};
	if (asprintf(&machine->initrd, "%s/%s", machine->fork.folder, name) < 0) {
		machine->initrd = NULL;
		return error_memory(err);
	}
	_cleanup_outfile_ struct outfile out = OUTFILE_NONE;
	int r = outfile_open(&out, machine->initrd, err);
	if (r == 0)
		r = initramfs_write(out.fd, &options, err);
	if (r == 0)
		r = outfile_publish(&out, err);
	return r;
}

/* One that is attached, where that will do, is held by its server. */
static int fork_hold(struct machine *machine, struct ramet_store *store, const char *name,
	bool attached, struct ramet_error *err)
{
	int state = attached ? attachment_find(store, name, &machine->attachment, err) : 0;
	if (state < 0)
		return state;
	if (state == ATTACHMENT_LIVES && !machine->attachment.for_run)
		return 0;
	attachment_free(&machine->attachment);
	return store_fork_lock(store, name, &machine->lock, err);
}

static int fork_take(struct machine *machine, struct ramet_store *store, const char *name,
	bool attached, struct ramet_error *err)
{
	int r = fork_hold(machine, store, name, attached, err);
	if (r == 0)
		r = store_fork_find(store, name, &machine->fork, err);
	if (r == 0)
		r = store_fork_check_base(&machine->fork, err);
	if (r < 0)
		return r;
	machine->folder_fd = open(machine->fork.folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (machine->folder_fd < 0)
		return error_errno(err, errno, "cannot open the folder of fork %s", name);
	if (access(machine->fork.volume, R_OK | W_OK) < 0)
		return error_errno(err, errno, "cannot use the volume of fork %s", name);
	return 0;
}

/* The user's command counts more than the image's; both run as the image says. */
static int command_prepare(struct machine *machine, const struct ramet_run_options *options,
	struct guest_arguments *arguments, struct ramet_error *err)
{
	struct guest_process *process = &machine->process;
	int r = guest_process_parse(process, machine->fork.process, err);
	if (r < 0)
		return error_prefix(err, r, "fork %s", options->name);
	arguments->argv = options->argv         ? options->argv
			  : options->image_init ? NULL
						: process->args;
	arguments->env = process->env;
	arguments->user = process->user;
	arguments->cwd = process->cwd;
	return 0;
}

static int server_prepare(struct machine *machine, struct ramet_store *store,
	const struct ramet_run_options *options, struct ramet_error *err)
{
	bool needed = false;
	enum vm_drive_kind kind;
	int r = run_server_choose(&machine->fork, options, &needed, &kind, err);
	return r < 0 || !needed ? r
				: run_server_prepare(&machine->server, store, &machine->fork,
					  &machine->lock, options, kind, err);
}

int machine_prepare(struct machine *machine, struct ramet_store *store,
	const struct ramet_run_options *options, struct guest_arguments *arguments,
	const char *initramfs_name, bool attached, struct ramet_error *err)
{
	const struct vmm *vmm = arguments->vmm;
	int r = fork_take(machine, store, options->name, attached, err);
	if (r == 0)
		r = check_options(&machine->fork, options, err);
	if (r < 0)
		return r;
	arguments->clone = strcmp(machine->fork.mode, "clone") == 0;
	if (!attached)
		r = server_prepare(machine, store, options, err);
	if (r == 0)
		r = machine_fill_drives(machine, arguments->clone, options->ram, err);
	if (r == 0)
		r = machine_check_drives(machine, vmm, err);
	if (r == 0)
		r = kernel_prepare(machine, store, options->kernel, vmm->needs_elf, err);
	/* An init in the image needs ours only to get at its modules. */
	arguments->initramfs = !options->in_image_init || options->modules;
	if (r == 0)
		r = command_prepare(machine, options, arguments, err);
	if (r < 0)
		return r;
	arguments->images = machine->fork.layers.count + 1;
	arguments->drives = machine->drives;
	arguments->ram = options->ram;
	arguments->in_image_init = options->in_image_init;
	arguments->verbose = options->verbose;
	arguments->hostname = machine->fork.name;
	arguments->read_only_paths = machine->fork.read_only_paths;
	arguments->append = options->append;
	r = guest_arguments_write(arguments, &machine->command_line,
		options->in_image_init ? NULL : &machine->more, err);
	if (r == 0 && arguments->initramfs)
		r = initramfs_prepare(machine, vmm, options->modules, initramfs_name, err);
	if (r < 0)
		return r;
	machine->config = (struct vm_config){
		.folder = machine->fork.folder,
		.folder_fd = machine->folder_fd,
		.kernel = machine->kernel,
		.initrd = machine->initrd,
		.command_line = machine->command_line.data,
		.drives = machine->drives,
		.drive_count = machine->drive_count,
		.vcpus = options->vcpus ? options->vcpus : 1,
		.memory_mib = options->memory_mib ? options->memory_mib : DEFAULT_MEMORY_MIB,
		.keep_fd = machine->lock.fd,
		.stop_fd = options->stop_fd,
	};
	return 0;
}

void machine_free(struct machine *machine)
{
	run_server_end(&machine->server);
	attachment_free(&machine->attachment);
	store_fork_free(&machine->fork);
	store_lock_release(&machine->lock);
	cleanup_close(&machine->folder_fd);
	free(TAKE_PTR(machine->kernel));
	free(TAKE_PTR(machine->initrd));
	text_free(&machine->command_line);
	text_free(&machine->more);
	guest_process_free(&machine->process);
}
