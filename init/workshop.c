/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The base may be read-only and need not have a folder made for us, so the mount points are in a
 * tmpfs. It goes over /dev (or another folder that any root has; in the end the one that this very
 * program is in), and has a devtmpfs of its own within: all mounts of devtmpfs show the same nodes.
 * Everything after this is by paths relative to the workshop.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <termios.h>
#include <unistd.h>

#include "init/machine.h"

#define RAMFS_MAGIC 0x858458f6
#define TMPFS_MAGIC 0x01021994

/* The kernel unpacks an initramfs into a ramfs or a tmpfs; a base is neither. */
static bool root_is_initramfs(void)
{
	struct statfs info;
	return statfs("/", &info) == 0 && ((unsigned long)info.f_type == RAMFS_MAGIC ||
						  (unsigned long)info.f_type == TMPFS_MAGIC);
}

static void workshop_mount(struct machine *machine)
{
	static const char *const places[] = {
		"/dev", "/proc", "/sys", "/run", "/tmp", "/sbin", "/etc"};
	if (!machine->in_image)
		mkdir("/dev", 0755);
	for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
		if (mount("tmpfs", places[i], "tmpfs", MS_NOSUID, "mode=0755") == 0) {
			if (chdir(places[i]) == 0)
				return;
			fail(machine, "the workshop could not be entered: ", why(), NULL);
		}
		if (errno != ENOENT && errno != ENOTDIR)
			break;
	}
	fail(machine, "a tmpfs could not be mounted: ", why(), NULL);
}

static void mount_kernel(struct machine *machine, const char *type, const char *target)
{
	unsigned long flags = MS_NOSUID |
			      (strcmp(type, "devtmpfs") == 0 ? 0 : MS_NODEV | MS_NOEXEC);
	if (mount(type, target, type, flags, NULL) < 0)
		fail(machine, "the kernel's ", type, " could not be mounted: ", why(),
			" (is it built in?)", NULL);
}

/*
 * Bytes go out as the command writes them: no newline is turned into two characters. Ctrl-C (0x03)
 * still interrupts and Ctrl-D (0x04) still ends the input, for a person and for a program at the
 * other end; only a person gets an echo and line editing.
 */
static void console_set_up(const struct machine *machine)
{
	struct termios settings;
	if (tcgetattr(machine->console, &settings) < 0)
		return;
	settings.c_oflag &= ~(tcflag_t)OPOST;
	settings.c_iflag &= ~(tcflag_t)(IXON | IXOFF | ISTRIP | INLCR | IGNCR | ICRNL);
	settings.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN);
	settings.c_lflag |= ISIG | ICANON;
	if (machine->asked.tty) {
		settings.c_iflag |= ICRNL | IUTF8;
		settings.c_lflag |= ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN;
		struct winsize size = {
			.ws_row = machine->asked.rows, .ws_col = machine->asked.columns};
		ioctl(machine->console, TIOCSWINSZ, &size);
	} else {
		/* Ctrl-C drops nothing that is on its way out. */
		settings.c_lflag |= NOFLSH;
	}
	tcsetattr(machine->console, TCSANOW, &settings);
}

/* The kernel could open a console only where the root had one. */
static void console_open(struct machine *machine)
{
	int fd = open("dev/console", O_RDWR | O_NOCTTY);
	if (fd < 0)
		return;
	for (int i = 0; i < 3; i++)
		dup2(fd, i);
	if (fd > 2)
		close(fd);
	machine->console = 2;
}

void workshop_open(struct machine *machine)
{
	static const char *const folders[] = {
		"dev", "proc", "sys", "base", "layers", "volume", "merged"};
	machine->in_image = !root_is_initramfs();
	workshop_mount(machine);
	for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
		if (mkdir(folders[i], 0755) < 0)
			fail(machine, "the folder ", folders[i], " could not be made: ", why(),
				NULL);
	}
	mount_kernel(machine, "devtmpfs", "dev");
	console_open(machine);
	mount_kernel(machine, "proc", "proc");
	mount_kernel(machine, "sysfs", "sys");
}

/* A whole file into text, which is zeroed; the last newlines are cut off. */
static void text_read(
	struct machine *machine, const char *path, const char *what, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t length = 0;
	ssize_t n = 0;
	while (fd >= 0 && length < size - 1) {
		n = read(fd, text + length, size - 1 - length);
		if (n <= 0)
			break;
		length += (size_t)n;
	}
	if (fd < 0 || n < 0)
		fail(machine, what, " could not be read: ", why(), NULL);
	close(fd);
	if (length == size - 1)
		fail(machine, what, " is too long", NULL);
	while (length > 0 && text[length - 1] == '\n')
		text[--length] = '\0';
}

void cmdline_read(struct machine *machine)
{
	/* One byte more than the longest, and a NUL. */
	static char text[2 * INIT_MAX_CMDLINE + 2], more[INIT_MAX_ARGUMENTS + 2];
	text_read(machine, "proc/cmdline", "the kernel command line", text, sizeof text);
	bool has_more = !machine->in_image && access(INIT_ARGUMENTS_FILE, F_OK) == 0;
	if (has_more) {
		text_read(machine, INIT_ARGUMENTS_FILE, "the initramfs's " INIT_ARGUMENTS_FILE,
			more, sizeof more);
		unlink(INIT_ARGUMENTS_FILE);
	}
	if (!cmdline_parse_both(&machine->asked, has_more ? more : NULL, text))
		fail_with(machine, machine->asked.error);
	console_set_up(machine);
}
