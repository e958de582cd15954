/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fork's drives as a VMM is to have them: files, or what is served of them: by a server of this run,
 * or by the one that the fork is attached by.
 */
#include <errno.h>
#include <string.h>

#include "api/machine.h"
#include "base/cleanup.h"

/* How a VMM reaches what is attached in that way. */
static enum vm_drive_kind kind_of(const char *export)
{
	if (strcmp(export, "vhost-user-blk") == 0)
		return VM_DRIVE_VHOST_USER;
	return strcmp(export, "nbd") == 0 ? VM_DRIVE_NBD : VM_DRIVE_FILE;
}

static void place_attached(const struct machine *machine, struct vm_drive *drive)
{
	const struct attachment *attachment = &machine->attachment;
	for (size_t i = 0; i < attachment->devices.count; i++) {
		const struct attachment_device *device = &attachment->devices.items[i];
		if (strcmp(device->name, drive->id) != 0)
			continue;
		drive->kind = kind_of(attachment->kind);
		drive->path = drive->kind == VM_DRIVE_FILE ? device->address : device->place;
		drive->export = device->name;
	}
}

static int place(const struct machine *machine, struct vm_drive *drive, struct ramet_error *err)
{
	const char *name = machine->fork.name;
	if (machine->server.store)
		return run_server_place(&machine->server, drive, err);
	place_attached(machine, drive);
	if (drive->path)
		return 0;
	return error_set(err, EOPNOTSUPP,
		"drive %s of fork %s is a lazy image, and nothing serves it; 'ramet attach %s --via "
		"vhost-user-blk' first",
		drive->id, name, name);
}

static int add(struct machine *machine, const char *id, const char *path, bool read_only,
	struct ramet_error *err)
{
	struct vm_drive *drive = &machine->drives[machine->drive_count++];
	*drive = (struct vm_drive){.id = id, .path = path, .read_only = read_only};
	return place(machine, drive, err);
}

int machine_fill_drives(struct machine *machine, bool clone, bool ram, struct ramet_error *err)
{
	const struct store_fork *fork = &machine->fork;
	int r = clone ? 0 : add(machine, "base", fork->base_plain, true, err);
	for (size_t i = 0; i < fork->layers.count && i < ARRAY_SIZE(machine->layer_ids) && r == 0;
		i++) {
		char *id = machine->layer_ids[i];
		snprintf(id, sizeof machine->layer_ids[i], "layer%zu", i + 1);
		r = add(machine, id, fork->layers.items[i].plain, true, err);
	}
	if (r == 0 && !ram)
		r = add(machine, "volume", fork->volume, false, err);
	return r;
}

int machine_check_drives(
	const struct machine *machine, const struct vmm *vmm, struct ramet_error *err)
{
	if (machine->drive_count <= vmm->most_drives)
		return vmm_check_drives(vmm, machine->drives, machine->drive_count, err);
	return error_set(err, E2BIG,
		"fork %s has %zu drives, and %s has room for %zu; make one image of it with 'ramet "
		"commit %s IMAGE --flatten' and fork that%s",
		machine->fork.name, machine->drive_count, vmm->name, vmm->most_drives,
		machine->fork.name,
		vmm->most_drives < vmm_qemu.most_drives ? ", or take --vmm qemu" : "");
}

int machine_count_drives(struct ramet_store *store, const struct ramet_run_options *options,
	struct vm_needs *needs, bool *served, struct ramet_error *err)
{
	_cleanup_fork_ struct store_fork fork = {0};
	enum vm_drive_kind kind = VM_DRIVE_FILE;
	*needs = (struct vm_needs){.kinds = {[VM_DRIVE_FILE] = true}};
	int r = store_fork_find(store, options->name, &fork, err);
	if (r == 0)
		r = run_server_choose(&fork, options, served, &kind, err);
	if (r < 0)
		return r;
	bool clone = strcmp(fork.mode, "clone") == 0;
	needs->drives = clone ? 1 : 1 + fork.layers.count + (options->ram ? 0 : 1);
	needs->kinds[kind] |= *served;
	return 0;
}
