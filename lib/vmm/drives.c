/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drives as the guest sees them: names, and what its kernel needs. virtio-blk is named by the
 * kernel's drivers/block/virtio_blk.c (virtblk_name_format), however the VMM reaches the bytes;
 * virtio-pmem by drivers/nvdimm, whose regions count from 0 in the order in which they are found.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "vmm/vmm.h"

static const char *const kind_words[VM_DRIVE_KINDS] = {
	[VM_DRIVE_FILE] = "file",
	[VM_DRIVE_VHOST_USER] = "vhost-user-blk",
	[VM_DRIVE_NBD] = "NBD",
	[VM_DRIVE_PMEM] = "virtio-pmem",
};

void vm_drive_name(size_t index, char name[static VM_DRIVE_NAME_SIZE])
{
	char letters[VM_DRIVE_NAME_SIZE], *at = letters + sizeof letters;
	*--at = '\0';
	for (size_t rest = index + 1; rest > 0 && at > letters + 2; rest = (rest - 1) / 26)
		*--at = (char)('a' + (rest - 1) % 26);
	snprintf(name, VM_DRIVE_NAME_SIZE, "vd%s", at);
}

static size_t count_pmem(const struct vm_drive *drives, size_t count)
{
	size_t n = 0;
	for (size_t i = 0; drives && i < count; i++)
		n += drives[i].kind == VM_DRIVE_PMEM;
	return n;
}

void vm_drive_device(
	const struct vm_drive *drives, size_t index, char name[static VM_DRIVE_NAME_SIZE])
{
	size_t pmem = count_pmem(drives, index);
	if (drives && drives[index].kind == VM_DRIVE_PMEM)
		snprintf(name, VM_DRIVE_NAME_SIZE, "pmem%u", (unsigned)pmem);
	else
		vm_drive_name(index - pmem, name);
}

int vmm_takes(const struct vmm *vmm, enum vm_drive_kind kind, struct ramet_error *err)
{
	if (vmm->takes[kind])
		return 0;
	return error_set(err, EOPNOTSUPP,
		"%s takes no %s drives; take --vmm qemu, or attach the "
		"drive in another way",
		vmm->name, kind_words[kind]);
}

static bool is_socket(const struct vm_drive *drive)
{
	return drive->kind == VM_DRIVE_VHOST_USER || drive->kind == VM_DRIVE_NBD;
}

int vmm_check_drives(
	const struct vmm *vmm, const struct vm_drive *drives, size_t count, struct ramet_error *err)
{
	int r = 0;
	for (size_t i = 0; i < count && r == 0; i++) {
		r = vmm_takes(vmm, drives[i].kind, err);
		if (r == 0 && is_socket(&drives[i]) && strlen(drives[i].path) >= VM_SOCKET_MAX)
			r = error_set(err, ENAMETOOLONG,
				"the path of the socket of drive %s has %zu bytes and can have %d; "
				"take a shorter folder (--root, RAMET_ROOT): %s",
				drives[i].id, strlen(drives[i].path), VM_SOCKET_MAX - 1,
				drives[i].path);
	}
	return r;
}

bool vmm_uses_pci(const struct vmm *vmm, const struct vm_drive *drives, size_t count)
{
	return count > vmm->mmio_drives || (vmm->pmem_on_pci && count_pmem(drives, count) > 0);
}

void vmm_name_modules(const struct vmm *vmm, const struct vm_drive *drives, size_t count,
	const char *names[static VMM_MODULES_MAX])
{
	size_t n = 0, pmem = count_pmem(drives, count);
	names[n++] = vmm_uses_pci(vmm, drives, count) ? "virtio_pci" : "virtio_mmio";
	if (pmem < count)
		names[n++] = "virtio_blk";
	if (pmem > 0) {
		names[n++] = "nd_pmem";
		names[n++] = "virtio_pmem";
	}
	names[n] = NULL;
}
