/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot [-s PID] [-v] VMM FOLDER KERNEL MODULES DRIVE... -- COMMAND [ARGUMENT]...: one machine by
 * lib/vmm alone, for the tests of what reaches its drives. MODULES "-": the kernel needs none. DRIVE is
 * KIND,ID,ro|rw,PATH[,EXPORT]; the ones that are "ro" are images, from the bottom up, and a last one
 * that is "rw" the volume. PID: what serves them; when it ends, and FOLDER has a file "server" by then,
 * the pid in that goes on. The command's status is this program's; 120: the machine failed, with a
 * sentence.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "vmm/arguments.h"
#include "vmm/initramfs.h"
#include "vmm/kernel.h"
#include "vmm/run.h"

enum { DRIVES_MAX = 32, FAILED = 120 };

static const char *const kinds[VM_DRIVE_KINDS] = {
	[VM_DRIVE_FILE] = "file",
	[VM_DRIVE_VHOST_USER] = "vhost-user",
	[VM_DRIVE_NBD] = "nbd",
	[VM_DRIVE_PMEM] = "pmem",
};

struct boot {
	const char *folder;
	struct vm_drive drives[DRIVES_MAX];
	size_t count;
	char *kernel, initrd[256];
	struct text line, more;
};

static int server_open(const char *pid)
{
	return (int)syscall(SYS_pidfd_open, (pid_t)atoi(pid), 0);
}

/* Opened once; the first one's fd, which was the caller's, may stay. */
static int server_again(void *ctx)
{
	const struct boot *boot = ctx;
	char path[256], pid[16] = "";
	snprintf(path, sizeof path, "%s/server", boot->folder);
	FILE *file = fopen(path, "r");
	if (!file)
		return -1;
	bool there = fgets(pid, sizeof pid, file) && strchr(pid, '\n');
	fclose(file);
	return there ? server_open(pid) : -1;
}

static bool drive_parse(char *word, struct vm_drive *drive)
{
	const char *kind = strtok(word, ",");
	drive->id = strtok(NULL, ",");
	const char *access = strtok(NULL, ",");
	drive->path = strtok(NULL, ",");
	drive->export = strtok(NULL, ",");
	if (!drive->path)
		return false;
	drive->read_only = strcmp(access, "ro") == 0;
	for (int i = 0; i < VM_DRIVE_KINDS; i++)
		if (strcmp(kind, kinds[i]) == 0) {
			drive->kind = i;
			return true;
		}
	return false;
}

static int initramfs_make(
	struct boot *boot, const struct vmm *vmm, const char *modules, struct ramet_error *err)
{
	static const char *const formats[] = {"squashfs", "erofs", "ext4", "overlay", NULL};
	const char *names[VMM_MODULES_MAX + ARRAY_SIZE(formats)];
	size_t n = 0;
	vmm_name_modules(vmm, boot->drives, boot->count, names);
	while (names[n])
		n++;
	memcpy(names + n, formats, sizeof formats);
	struct initramfs_options options = {
		.modules_dir = strcmp(modules, "-") == 0 ? NULL : modules,
		.modules = names,
		.arguments = boot->more.length ? boot->more.data : NULL};
	snprintf(boot->initrd, sizeof boot->initrd, "%s/initramfs", boot->folder);
	_cleanup_close_ int fd = open(boot->initrd, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	return fd < 0 ? -errno : initramfs_write(fd, &options, err);
}

static int kernel_prepare(
	struct boot *boot, const struct vmm *vmm, const char *path, struct ramet_error *err)
{
	enum kernel_kind kind;
	int r = kernel_identify(path, &kind, err);
	if (r < 0)
		return r;
	if (kind != KERNEL_ELF && vmm->needs_elf)
		return kernel_unpack(path, boot->folder, &boot->kernel, err);
	boot->kernel = strdup(path);
	return boot->kernel ? 0 : -ENOMEM;
}

static int arguments_make(struct boot *boot, const struct vmm_choice *choice, char **command,
	bool verbose, struct ramet_error *err)
{
	bool ram = boot->drives[boot->count - 1].read_only;
	struct guest_arguments arguments = {.vmm = choice->vmm,
		.kvm = choice->kvm,
		.images = boot->count - !ram,
		.drives = boot->drives,
		.ram = ram,
		.initramfs = true,
		.verbose = verbose,
		.nonce = "N",
		.argv = (const char *const *)command};
	return guest_arguments_write(&arguments, &boot->line, &boot->more, err);
}

static int run(struct boot *boot, const struct vmm_choice *choice, const char *server, bool verbose,
	struct run_result *result, struct ramet_error *err)
{
	_cleanup_close_ int folder = open(boot->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct vm_config config = {.folder = boot->folder,
		.folder_fd = folder,
		.kernel = boot->kernel,
		.initrd = boot->initrd,
		.command_line = boot->line.data,
		.drives = boot->drives,
		.drive_count = boot->count,
		.vcpus = 1,
		.memory_mib = 128,
		.kvm = choice->kvm,
		.keep_fd = -1,
		.stop_fd = -1};
	_cleanup_close_ int server_fd = server ? server_open(server) : -1;
	struct run_options options = {.console_in = -1,
		.console_out = STDOUT_FILENO,
		.stop_fd = -1,
		.server_fd = server_fd,
		.server_again = server_again,
		.ctx = boot,
		.timeout = 120,
		.nonce = "N",
		.has_command = true,
		.verbose = verbose};
	return vm_run(choice, &config, &options, result, err);
}

static int usage(void)
{
	fprintf(stderr,
		"usage: boot [-s PID] [-v] VMM FOLDER KERNEL MODULES DRIVE... -- COMMAND...\n");
	return 2;
}

int main(int argc, char **argv)
{
	static struct boot boot;
	const char *server = NULL;
	bool verbose = false;
	for (int option; (option = getopt(argc, argv, "+s:v")) != -1;) {
		verbose |= option == 'v';
		server = option == 's' ? optarg : server;
	}
	argv += optind;
	if (argc - optind < 7)
		return usage();
	boot.folder = argv[1];
	char **word = argv + 4;
	for (; *word && strcmp(*word, "--") != 0 && boot.count < DRIVES_MAX; word++)
		if (!drive_parse(*word, &boot.drives[boot.count++]))
			return usage();
	if (!*word || boot.count == 0)
		return usage();
	struct ramet_error err = {0};
	struct vmm_choice choice = {0};
	struct run_result result = {0};
	const struct vm_needs needs = {.drives = boot.count};
	const char *accelerator = getenv("RAMET_ACCEL");
	int r = vmm_choose(argv[0], accelerator ? accelerator : "auto", &needs, &choice, &err);
	if (r == 0)
		r = arguments_make(&boot, &choice, word + 1, verbose, &err);
	if (r == 0)
		r = initramfs_make(&boot, choice.vmm, argv[3], &err);
	if (r == 0)
		r = kernel_prepare(&boot, choice.vmm, argv[2], &err);
	if (r == 0)
		r = run(&boot, &choice, server, verbose, &result, &err);
	if (r < 0)
		fprintf(stderr, "boot: %s.\n", *err.message ? err.message : strerror(-r));
	else if (result.timed_out)
		fprintf(stderr, "boot: timed out.\n");
	vmm_choice_free(&choice);
	text_free(&boot.line);
	text_free(&boot.more);
	free(boot.kernel);
	return r < 0 || result.timed_out ? FAILED : result.exit_status;
}
