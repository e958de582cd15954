/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QEMU's microvm machine: virtio-mmio devices, one serial port and little else, the nearest to
 * Firecracker that runs without KVM (docs/system/i386/microvm.rst of QEMU).
 *
 * - virtio-mmio version 2 is asked for (force-legacy=off): QEMU 7.2 still starts with version 1.
 * - Devices are found through ACPI, in the order of their -device arguments from the last slot
 *   down, and the kernel numbers them as it finds them: QEMU fills the slots from the highest, so
 *   the order of arguments is the order of vda, vdb...
 * - There is room for 23 of them. Where a fork has more drives, all of them are PCI devices, eight
 *   functions in a slot: the kernel looks at slots and functions in their order, so again the order
 *   is that of the arguments.
 * - Under emulation nothing but the PIT can tell the guest how fast its clock (the host's, passed
 *   through) runs, and on a busy host that measurement fails and the kernel then waits for ever.
 *   So the rate is measured here and told (tsc_early_khz). Every boot hung without it on a loaded
 *   machine, none with it.
 * - The emulated processor is an x86-64-v2, which current distributions need, with RDRAND so that
 *   the guest's random numbers do not have to wait for noise.
 * - In a -blockdev value a comma is written twice; everything else stands for itself.
 * - The sandbox refuses QEMU what a VM has no use for: new programs, more rights.
 *
 * The control socket (QMP) is one end of a socket pair, so it needs no name on disk.
 */
#include <errno.h>
#include <stdarg.h>
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
#include "base/text.h"
#include "base/vector.h"
#include "vmm/vmm.h"

/* Of the 24 slots of virtio-mmio the first to be filled have the highest interrupts, and the last has
 * pin 0 of the second IOAPIC, whose interrupt a Linux guest never sees (QEMU 7.2). On PCI: slots 1 to
 * 31 of one bus, eight functions in each. */
enum { MMIO_DRIVES = 23, PCI_FUNCTIONS = 8, PCI_DRIVES = 31 * PCI_FUNCTIONS };

/* The arguments of a program as they are put together. */
struct arguments {
	VECTOR(char *) list;
	bool failed;
};

static void arguments_free(struct arguments *arguments)
{
	for (size_t i = 0; i < arguments->list.count; i++)
		free(arguments->list.items[i]);
	vector_free(&arguments->list);
}

static void add_taken(struct arguments *arguments, char *string)
{
	char **place = string ? vector_push(&arguments->list) : NULL;
	if (place)
		*place = string;
	else
		free(string);
	arguments->failed |= !place;
}

static void add(struct arguments *arguments, const char *string)
{
	add_taken(arguments, strdup(string));
}

static void __attribute__((format(printf, 2, 3)))
add_format(struct arguments *arguments, const char *format, ...)
{
	char *string;
	va_list args;
	va_start(args, format);
	if (vasprintf(&string, format, args) < 0)
		string = NULL;
	va_end(args);
	add_taken(arguments, string);
}

/* index: its place on PCI, -1: on virtio-mmio. */
static void add_drive(struct arguments *arguments, const struct vm_drive *drive, int index)
{
	struct text value = {0};
	text_format(&value,
		"driver=raw,node-name=%s,read-only=%s,discard=unmap,file.driver=file,"
		"file.filename=",
		drive->id, drive->read_only ? "on" : "off");
	for (const char *c = drive->path; *c; c++)
		text_append_bytes(&value, *c == ',' ? ",," : c, *c == ',' ? 2 : 1);
	add(arguments, "-blockdev");
	add_taken(arguments, value.failed ? NULL : TAKE_PTR(value.data));
	text_free(&value);
	/* QEMU would stop the VM when the host is full; the guest has to be told instead. */
	add(arguments, "-device");
	if (index < 0)
		add_format(arguments,
			"virtio-blk-device,drive=%s,serial=%s,werror=report,rerror=report",
			drive->id, drive->id);
	else
		add_format(arguments,
			"virtio-blk-pci,drive=%s,serial=%s,werror=report,rerror=report,"
			"multifunction=on,addr=%x.%x,vectors=0,disable-legacy=on",
			drive->id, drive->id, 1U + (unsigned)index / PCI_FUNCTIONS,
			(unsigned)index % PCI_FUNCTIONS);
}

static void add_machine(struct arguments *arguments, const struct vm_config *config)
{
	static const char *const fixed[] = {"-nodefaults", "-no-user-config", "-no-reboot",
		"-display", "none", "-global", "virtio-mmio.force-legacy=off", "-sandbox",
		"on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
		"-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"};
	add(arguments, "-M");
	add(arguments, config->drive_count > MMIO_DRIVES ? "microvm,pcie=on" : "microvm");
	add(arguments, "-accel");
	add(arguments, config->kvm ? "kvm" : "tcg");
	add(arguments, "-cpu");
	add(arguments, config->kvm ? "host" : "qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt,+rdrand");
	add(arguments, "-m");
	add_format(arguments, "%uM", config->memory_mib);
	add(arguments, "-smp");
	add_format(arguments, "%u", config->vcpus);
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		add(arguments, fixed[i]);
}

static void add_all(struct arguments *arguments, const char *program,
	const struct vm_config *config, int control)
{
	add(arguments, program);
	add_machine(arguments, config);
	add(arguments, "-chardev");
	add_format(arguments, "socket,id=control,fd=%d", control);
	add(arguments, "-mon");
	add(arguments, "chardev=control,mode=control");
	bool pci = config->drive_count > MMIO_DRIVES;
	for (size_t i = 0; i < config->drive_count; i++)
		add_drive(arguments, &config->drives[i], pci ? (int)i : -1);
	add(arguments, "-kernel");
	add(arguments, config->kernel);
	if (config->initrd) {
		add(arguments, "-initrd");
		add(arguments, config->initrd);
	}
	add(arguments, "-append");
	add(arguments, config->command_line);
}

static int qemu_start(const struct vmm *vmm, const char *program, const struct vm_config *config,
	struct vm *vm, struct ramet_error *err)
{
	int control[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control) < 0)
		return error_errno(err, errno, "cannot make a socket");
	vm->control = control[0];
	_cleanup_close_ int theirs = control[1];
	__attribute__((cleanup(arguments_free))) struct arguments arguments = {0};
	add_all(&arguments, program, config, theirs);
	char **end = vector_push(&arguments.list);
	if (end)
		*end = NULL;
	if (!end || arguments.failed)
		return error_memory(err);
	int keep[] = {theirs, config->keep_fd};
	struct process_options options = {.argv = arguments.list.items,
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
	.arguments = "reboot=t panic=-1 random.trust_cpu=on",
#ifdef __x86_64__
	.tune = qemu_tune,
#endif
	.mmio_drives = MMIO_DRIVES,
	.most_drives = PCI_DRIVES,
	.start = qemu_start,
	.ask = qemu_ask,
	.stop = qemu_stop,
};
