/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine as Firecracker's configuration file describes it (and, part by part, its API):
 * tests/framework/vm_config.json and vmm_config/ of Firecracker 1.16. Every structure there denies
 * unknown fields, so nothing is set that is not needed.
 *
 * cache_type: "Writeback" lets the guest flush, and a flush is an fsync of the volume; a read-only
 * base has nothing to flush ("Unsafe"). A root device is named only without an initrd: with one,
 * the guest's init mounts the root. With vhost-user ("socket") the server says what is read-only, and
 * is_read_only is refused. What is mapped as memory stands in an array of its own ("pmem").
 */
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "vmm/vmm.h"

static const char *cache_type(const struct vm_drive *drive)
{
	return drive->read_only ? "Unsafe" : "Writeback";
}

static json_t *file_json(const struct vm_drive *drive, bool root)
{
	return json_pack("{s:s, s:s, s:b, s:b, s:s}", "drive_id", drive->id, "path_on_host",
		drive->path, "is_root_device", root, "is_read_only", drive->read_only, "cache_type",
		cache_type(drive));
}

static json_t *vhost_user_json(const struct vm_drive *drive, bool root)
{
	return json_pack("{s:s, s:s, s:b, s:s}", "drive_id", drive->id, "socket", drive->path,
		"is_root_device", root, "cache_type", cache_type(drive));
}

static json_t *pmem_json(const struct vm_drive *drive, bool root)
{
	return json_pack("{s:s, s:s, s:b, s:b}", "id", drive->id, "path_on_host", drive->path,
		"root_device", root, "read_only", drive->read_only);
}

/* The drives that are pmem, or all the others. */
static json_t *drives_json(const struct vm_config *config, bool pmem)
{
	json_t *array = json_array();
	for (size_t i = 0; i < config->drive_count; i++) {
		const struct vm_drive *drive = &config->drives[i];
		bool root = i == 0 && !config->initrd;
		if ((drive->kind == VM_DRIVE_PMEM) != pmem)
			continue;
		json_t *object = pmem                                 ? pmem_json(drive, root)
				 : drive->kind == VM_DRIVE_VHOST_USER ? vhost_user_json(drive, root)
								      : file_json(drive, root);
		if (json_array_append_new(array, object) < 0) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

/* JSON is UTF-8, the names of files need not be. */
static int path_check(const char *path, struct ramet_error *err)
{
	json_t *string = path ? json_string(path) : json_null();
	json_decref(string);
	return string ? 0
		      : error_set(err, EILSEQ,
				"Firecracker takes only file names that are UTF-8, and %s is not; "
				"rename it, or take --vmm qemu",
				path);
}

int firecracker_configuration(
	const struct vm_config *config, json_t **configuration, struct ramet_error *err)
{
	int r = vmm_check_drives(&vmm_firecracker, config->drives, config->drive_count, err);
	if (r == 0)
		r = path_check(config->kernel, err);
	if (r == 0)
		r = path_check(config->initrd, err);
	for (size_t i = 0; i < config->drive_count && r == 0; i++)
		r = path_check(config->drives[i].path, err);
	if (r < 0)
		return r;
	if (path_check(config->command_line, NULL) < 0)
		return error_set(err, EILSEQ, "the kernel's arguments are not UTF-8");
	json_t *boot = json_pack("{s:s, s:s, s:s*}", "kernel_image_path", config->kernel,
		"boot_args", config->command_line, "initrd_path", config->initrd);
	json_t *machine = json_pack("{s:i, s:i}", "vcpu_count", (int)config->vcpus, "mem_size_mib",
		(int)config->memory_mib);
	*configuration = json_pack("{s:o, s:o, s:o}", "boot-source", boot, "drives",
		drives_json(config, false), "machine-config", machine);
	if (!*configuration)
		return error_memory(err);
	json_t *pmem = drives_json(config, true);
	if (pmem && json_array_size(pmem) == 0)
		json_decref(pmem); /* versions before 1.14 know no such key */
	else if (json_object_set_new(*configuration, "pmem", pmem) < 0) {
		json_decref(*configuration);
		return error_memory(err);
	}
	return 0;
}
