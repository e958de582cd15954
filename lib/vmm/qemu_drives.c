/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drives of a QEMU machine, and the machine that can have them.
 *
 * - A file or an NBD export is a -blockdev under a virtio-blk device. QEMU would stop the VM when the
 *   host has an error (a full disk, a server that is gone); the guest has to be told instead.
 * - NBD (driver "nbd"): when the server is gone requests wait for a new one a while, then fail.
 * - vhost-user-blk: the server moves bytes to and from the guest's memory itself, so that memory is a
 *   memfd which it can map too. One queue of 256, as Firecracker has it. QEMU connects anew when the
 *   server is gone; until then the guest's requests wait.
 * - virtio-pmem is memory that is plugged in: neither microvm nor a machine without room behind its
 *   memory (maxmem, slots) can have it (hw/virtio/virtio-pmem.c, docs/nvdimm.txt), so it makes the
 *   machine a q35. The file is mapped whole; the guest's kernel takes regions of 2 MiB only.
 * - On PCI eight functions are in a slot: the kernel looks at slots and functions in their order, so
 *   the order of arguments is the order of names, as on virtio-mmio.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "vmm/qemu_line.h"

enum { PCI_FUNCTIONS = 8, RECONNECT_SECONDS = 5 };

/* Where it is on PCI, as the end of a -device value; "" on virtio-mmio. */
struct place {
	char text[96];
};

static struct place place_of(int index)
{
	struct place place = {""};
	if (index >= 0)
		snprintf(place.text, sizeof place.text,
			",multifunction=on,addr=%x.%x,disable-legacy=on",
			1U + (unsigned)index / PCI_FUNCTIONS, (unsigned)index % PCI_FUNCTIONS);
	return place;
}

static void add_blk(struct qemu_line *line, const struct vm_drive *drive, int index)
{
	qemu_line_format(line, "-device",
		"virtio-blk-%s,drive=%s,serial=%s,werror=report,rerror=report%s",
		index < 0 ? "device" : "pci,vectors=0", drive->id, drive->id, place_of(index).text);
}

static int add_file(
	struct qemu_line *line, const struct vm_drive *drive, int index, struct ramet_error *err)
{
	char value[160];
	struct stat st;
	bool device = stat(drive->path, &st) == 0 && S_ISBLK(st.st_mode);
	snprintf(value, sizeof value,
		"driver=raw,node-name=%s,read-only=%s,discard=unmap,file.driver=%s,file.filename=",
		drive->id, drive->read_only ? "on" : "off", device ? "host_device" : "file");
	qemu_line_path(line, "-blockdev", value, drive->path);
	add_blk(line, drive, index);
	return 0;
}

static int add_nbd(
	struct qemu_line *line, const struct vm_drive *drive, int index, struct ramet_error *err)
{
	char value[256];
	snprintf(value, sizeof value,
		"driver=raw,node-name=%s,read-only=%s,discard=unmap,file.driver=nbd,"
		"file.export=%s,file.reconnect-delay=%d,file.server.type=unix,file.server.path=",
		drive->id, drive->read_only ? "on" : "off", drive->export, RECONNECT_SECONDS);
	qemu_line_path(line, "-blockdev", value, drive->path);
	add_blk(line, drive, index);
	return 0;
}

static int add_vhost_user(
	struct qemu_line *line, const struct vm_drive *drive, int index, struct ramet_error *err)
{
	char value[64];
	snprintf(value, sizeof value, "socket,id=server-%s,reconnect=1,path=", drive->id);
	qemu_line_path(line, "-chardev", value, drive->path);
	qemu_line_format(line, "-device",
		"vhost-user-blk%s,chardev=server-%s,num-queues=1,queue-size=256%s",
		index < 0 ? "" : "-pci,vectors=0", drive->id, place_of(index).text);
	return 0;
}

/* How much memory the guest sees for it. */
static int pmem_size(const struct vm_drive *drive, uint64_t *size, struct ramet_error *err)
{
	_cleanup_close_ int fd = open(
		drive->path, (drive->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	off_t end = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
	if (end < 0)
		return error_errno(err, errno, "cannot open drive %s, %s", drive->id, drive->path);
	*size = (uint64_t)end;
	if (end == 0 || *size % VM_PMEM_ALIGN != 0)
		return error_set(err, EINVAL,
			"qemu can map only files of whole %d MiB as pmem, and drive %s, %s, has "
			"%" PRIu64 " bytes",
			VM_PMEM_ALIGN >> 20, drive->id, drive->path, *size);
	return 0;
}

static int add_pmem(
	struct qemu_line *line, const struct vm_drive *drive, int index, struct ramet_error *err)
{
	uint64_t size;
	char value[128];
	int r = pmem_size(drive, &size, err);
	if (r < 0)
		return r;
	snprintf(value, sizeof value,
		"memory-backend-file,id=memory-%s,size=%" PRIu64 ",share=on,readonly=%s,mem-path=",
		drive->id, size, drive->read_only ? "on" : "off");
	qemu_line_path(line, "-object", value, drive->path);
	qemu_line_format(line, "-device", "virtio-pmem-pci,memdev=memory-%s%s", drive->id,
		place_of(index).text);
	return 0;
}

int qemu_line_drives(
	struct qemu_line *line, const struct vm_config *config, bool pci, struct ramet_error *err)
{
	static int (*const add[VM_DRIVE_KINDS])(struct qemu_line * line,
		const struct vm_drive *drive, int index, struct ramet_error *err) = {
		[VM_DRIVE_FILE] = add_file,
		[VM_DRIVE_VHOST_USER] = add_vhost_user,
		[VM_DRIVE_NBD] = add_nbd,
		[VM_DRIVE_PMEM] = add_pmem,
	};
	int r = 0;
	for (size_t i = 0; i < config->drive_count && r == 0; i++)
		r = add[config->drives[i].kind](line, &config->drives[i], pci ? (int)i : -1, err);
	return r;
}

static bool has_kind(const struct vm_config *config, enum vm_drive_kind kind)
{
	for (size_t i = 0; i < config->drive_count; i++)
		if (config->drives[i].kind == kind)
			return true;
	return false;
}

/* Memory, and the room behind it. */
static int add_memory(
	struct qemu_line *line, const struct vm_config *config, struct ramet_error *err)
{
	uint64_t most = (uint64_t)config->memory_mib << 20;
	size_t slots = 0;
	for (size_t i = 0; i < config->drive_count; i++) {
		uint64_t size = 0;
		if (config->drives[i].kind != VM_DRIVE_PMEM)
			continue;
		int r = pmem_size(&config->drives[i], &size, err);
		if (r < 0)
			return r;
		most += size;
		slots++;
	}
	if (slots)
		qemu_line_format(line, "-m", "%uM,slots=%zu,maxmem=%" PRIu64 "B",
			config->memory_mib, slots, most);
	else
		qemu_line_format(line, "-m", "%uM", config->memory_mib);
	return 0;
}

int qemu_line_machine(
	struct qemu_line *line, const struct vm_config *config, bool pci, struct ramet_error *err)
{
	const bool shared = has_kind(config, VM_DRIVE_VHOST_USER);
	const char *machine = has_kind(config, VM_DRIVE_PMEM) ? "q35"
			      : pci                           ? "microvm,pcie=on"
							      : "microvm";
	if (shared)
		qemu_line_format(line, "-object",
			"memory-backend-memfd,id=memory,size=%uM,share=on", config->memory_mib);
	qemu_line_format(line, "-M", "%s%s", machine, shared ? ",memory-backend=memory" : "");
	return add_memory(line, config, err);
}
