/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QEMU's microvm machine: virtio-mmio devices, one serial port and little else, the nearest to
 * Firecracker that runs without KVM (docs/system/i386/microvm.rst of QEMU).
 *
 * - virtio-mmio version 2 is asked for (force-legacy=off): QEMU 7.2 still starts with version 1.
 * - Devices are found through ACPI, in the order of their -device arguments from the last slot
 *   down, and the kernel numbers them as it finds them: QEMU fills the slots from the highest, so
 *   the order of arguments is the order of vda, vdb...
 * - There is room for 23 of them. Where a fork has more drives, or one that virtio-mmio does not
 *   have, all of them are PCI devices (qemu_drives.c).
 * - Under emulation nothing but the PIT can tell the guest how fast its clock (the host's, passed
 *   through) runs, and on a busy host that measurement fails and the kernel then waits for ever.
 *   So the rate is measured here and told (tsc_early_khz). Every boot hung without it on a loaded
 *   machine, none with it.
 * - The emulated processor is an x86-64-v2, which current distributions need, with RDRAND so that
 *   the guest's random numbers do not have to wait for noise.
 * - The sandbox refuses QEMU what a VM has no use for: new programs, more rights.
 *
 * The control socket (QMP) is one end of a socket pair, so it needs no name on disk.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#ifdef __x86_64__
#include <x86intrin.h>
#endif

#include "base/cleanup.h"
#include "vmm/qemu_line.h"

/* Of the 24 slots of virtio-mmio the first to be filled have the highest interrupts, and the last has
 * pin 0 of the second IOAPIC, whose interrupt a Linux guest never sees (QEMU 7.2). On PCI: slots 1 to
 * 31 of one bus, eight functions in each. */
enum { MMIO_DRIVES = 23, PCI_DRIVES = 31 * 8 };

static int add_machine(
	struct qemu_line *line, const struct vm_config *config, bool pci, struct ramet_error *err)
{
	static const char *const fixed[] = {"-nodefaults", "-no-user-config", "-no-reboot",
		"-display", "none", "-global", "virtio-mmio.force-legacy=off", "-sandbox",
		"on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
		"-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"};
	int r = qemu_line_machine(line, config, pci, err);
	if (r < 0)
		return r;
	qemu_line_format(line, "-accel", "%s", config->kvm ? "kvm" : "tcg");
	qemu_line_format(line, "-cpu", "%s",
		config->kvm ? "host" : "qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt,+rdrand");
	qemu_line_format(line, "-smp", "%u", config->vcpus);
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		qemu_line_add(line, fixed[i]);
	return 0;
}

static int add_all(struct qemu_line *line, const char *program, const struct vm_config *config,
	int control, struct ramet_error *err)
{
	bool pci = vmm_uses_pci(&vmm_qemu, config->drives, config->drive_count);
	qemu_line_add(line, program);
	int r = add_machine(line, config, pci, err);
	if (r < 0)
		return r;
	qemu_line_format(line, "-chardev", "socket,id=control,fd=%d", control);
	qemu_line_format(line, "-mon", "chardev=control,mode=control");
	r = qemu_line_drives(line, config, pci, err);
	if (r < 0)
		return r;
	qemu_line_format(line, "-kernel", "%s", config->kernel);
	if (config->initrd)
		qemu_line_format(line, "-initrd", "%s", config->initrd);
	qemu_line_format(line, "-append", "%s", config->command_line);
	return 0;
}

static int qemu_start(const struct vmm *vmm, const char *program, const struct vm_config *config,
	struct vm *vm, struct ramet_error *err)
{
	int control[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control) < 0)
		return error_errno(err, errno, "cannot make a socket");
	vm->control = control[0];
	_cleanup_close_ int theirs = control[1];
	_cleanup_qemu_line_ struct qemu_line line = {0};
	int r = vmm_check_drives(vmm, config->drives, config->drive_count, err);
	if (r == 0)
		r = add_all(&line, program, config, theirs, err);
	if (r < 0)
		return r;
	char **end = vector_push(&line.list);
	if (end)
		*end = NULL;
	if (!end || line.failed)
		return error_memory(err);
	int keep[] = {theirs, config->keep_fd};
	struct process_options options = {.argv = line.list.items,
		.dirfd = config->folder_fd,
		.log = "vmm.log",
		.keep_fds = keep,
		.keep_fd_count = config->keep_fd >= 0 ? 2 : 1};
	return process_start(&options, &vm->process, err);
}

/* QMP wants to be greeted first; a second greeting is refused and does no harm. Its answers are
 * never read: they are a few hundred bytes that the socket holds. */
static void qmp_send(struct vm *vm, const char *command)
{
	char message[128];
	int length = snprintf(message, sizeof message,
		"{\"execute\":\"qmp_capabilities\"}\n{\"execute\":\"%s\"}\n", command);
	if (vm->control >= 0)
		(void)!send(vm->control, message, (size_t)length, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void qemu_ask(struct vm *vm)
{
	qmp_send(vm, "system_powerdown");
}

static void qemu_stop(struct vm *vm)
{
	qmp_send(vm, "quit");
}

#ifdef __x86_64__

/* The time and the counter at one moment, as nearly as some tries give it. */
static void clock_pair(uint64_t *nanoseconds, uint64_t *ticks)
{
	uint64_t best = UINT64_MAX;
	for (int i = 0; i < 16; i++) {
		struct timespec t;
		uint64_t before = __rdtsc();
		clock_gettime(CLOCK_MONOTONIC_RAW, &t);
		uint64_t took = __rdtsc() - before;
		if (took >= best)
			continue;
		best = took;
		*ticks = before + took / 2;
		*nanoseconds = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
	}
}

static void qemu_tune(bool kvm, char *buffer, size_t size)
{
	*buffer = '\0';
	if (kvm)
		return;
	uint64_t time[2], ticks[2];
	clock_pair(&time[0], &ticks[0]);
	nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
	clock_pair(&time[1], &ticks[1]);
	if (time[1] > time[0] && ticks[1] > ticks[0])
		snprintf(buffer, size, " tsc_early_khz=%ju",
			(uintmax_t)((double)(ticks[1] - ticks[0]) * 1e6 /
				    (double)(time[1] - time[0])));
}

#endif

const struct vmm vmm_qemu = {
	.name = "qemu",
	.program = "qemu-system-x86_64",
	.install = "install QEMU (Debian: qemu-system-x86)",
	.arguments = "reboot=t panic=-1 random.trust_cpu=on swiotlb=noforce",
#ifdef __x86_64__
	.tune = qemu_tune,
#endif
	.mmio_drives = MMIO_DRIVES,
	.most_drives = PCI_DRIVES,
	.takes = {[VM_DRIVE_FILE] = true,
		[VM_DRIVE_VHOST_USER] = true,
		[VM_DRIVE_NBD] = true,
		[VM_DRIVE_PMEM] = true},
	.reconnects = {[VM_DRIVE_VHOST_USER] = true, [VM_DRIVE_NBD] = true},
	.pmem_on_pci = true,
	.start = qemu_start,
	.ask = qemu_ask,
	.stop = qemu_stop,
};
