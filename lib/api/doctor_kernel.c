/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel offers: devices and system calls. */
#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <linux/io_uring.h>
#include <linux/landlock.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "api/doctor.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/kvm.h"

static void append_errno(struct text *detail, int code)
{
	char text[128];
	text_format(detail, ": %s", strerror_r(code, text, sizeof text));
}

bool doctor_find_kvm(struct ramet_store *store, struct text *detail, struct text *advice)
{
	struct ramet_error err = {0};
	int r = kvm_probe(&err);
	text_append(detail, r == 0 ? "a 64-bit machine ran in it" : err.message);
	if (r == -EACCES || r == -EPERM)
		text_append(advice, "join the group that owns /dev/kvm (usually kvm), or be root");
	else if (r == -ENOENT)
		text_append(advice,
			"switch virtualisation on in the firmware, or nesting on in the "
			"hypervisor, and modprobe kvm_intel or kvm_amd; until then QEMU "
			"emulates");
	else
		text_append(advice,
			"use a host with hardware virtualisation; until then QEMU emulates");
	return r == 0;
}

/* Open a control device; the fd, or -1 with everything said. */
static int open_device(
	const char *path, const char *module, struct text *detail, struct text *advice)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	int code = errno;
	text_append(detail, path);
	append_errno(detail, code);
	if (code == EACCES || code == EPERM)
		text_append(advice, "be root");
	else
		text_format(advice, "modprobe %s, on a kernel that has it", module);
	return -1;
}

bool doctor_find_device_mapper(struct ramet_store *store, struct text *detail, struct text *advice)
{
	_cleanup_close_ int fd = open_device("/dev/mapper/control", "dm_mod", detail, advice);
	if (fd < 0)
		return false;
	struct dm_ioctl request = {
		.version = {DM_VERSION_MAJOR, 0, 0}, .data_size = sizeof request};
	if (ioctl(fd, DM_VERSION, &request) < 0) {
		text_append(detail, "/dev/mapper/control does not answer");
		append_errno(detail, errno);
		text_append(advice, "be root");
		return false;
	}
	text_format(detail, "interface version %u.%u.%u", request.version[0], request.version[1],
		request.version[2]);
	return true;
}

bool doctor_find_nbd(struct ramet_store *store, struct text *detail, struct text *advice)
{
	unsigned count = 0;
	struct stat st;
	for (char path[32]; count < 4096; count++) {
		snprintf(path, sizeof path, "/sys/block/nbd%u", count);
		if (stat(path, &st) < 0)
			break;
	}
	if (count == 0) {
		text_append(detail, "the kernel has no device nbd0");
		text_append(advice, "modprobe nbd, on a kernel that has it");
		return false;
	}
	_cleanup_close_ int fd = open_device("/dev/nbd0", "nbd", detail, advice);
	if (fd >= 0)
		text_format(detail, "%u devices", count);
	return fd >= 0;
}

bool doctor_find_ublk(struct ramet_store *store, struct text *detail, struct text *advice)
{
	_cleanup_close_ int fd = open_device("/dev/ublk-control", "ublk_drv", detail, advice);
	if (fd >= 0)
		text_append(detail, "/dev/ublk-control opens");
	return fd >= 0;
}

/* What the sysctl says (Linux 6.6): 0 for all, 1 for a group only, 2 for nobody. */
static void explain_io_uring(int code, struct text *detail, struct text *advice)
{
	_cleanup_free_ char *disabled = NULL;
	text_append(detail, "a ring cannot be set up");
	append_errno(detail, code);
	if (read_file(AT_FDCWD, "/proc/sys/kernel/io_uring_disabled", 16, &disabled, NULL) == 0 &&
		*disabled != '0') {
		text_format(detail, " (kernel.io_uring_disabled is %c)", *disabled);
		text_append(advice,
			"sysctl kernel.io_uring_disabled=0; pread and pwrite serve until "
			"then");
	} else {
		text_append(advice,
			"allow io_uring in the container's seccomp profile, or use a newer "
			"kernel; pread and pwrite serve until then");
	}
}

bool doctor_find_io_uring(struct ramet_store *store, struct text *detail, struct text *advice)
{
	struct io_uring_params parameters = {0};
	_cleanup_close_ int ring = (int)syscall(SYS_io_uring_setup, 4, &parameters);
	if (ring < 0) {
		explain_io_uring(errno, detail, advice);
		return false;
	}
	text_format(detail, "a ring was set up, features 0x%x", parameters.features);
	return true;
}

bool doctor_find_landlock(struct ramet_store *store, struct text *detail, struct text *advice)
{
	long version = syscall(
		SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	if (version > 0) {
		text_format(detail, "ABI version %ld", version);
		return true;
	}
	text_append(detail, "a rule set cannot be made");
	append_errno(detail, errno);
	text_append(advice, errno == EOPNOTSUPP
				    ? "add landlock to the kernel's lsm= parameter; seccomp alone "
				      "guards the parsers until then"
				    : "use a kernel with landlock (5.13); seccomp alone guards the "
				      "parsers until then");
	return false;
}
