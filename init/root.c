/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entering the new root: its mount is moved over / and made the root by chroot, as switch_root
 * does; pivot_root is refused on an initramfs. (A plain chroot would not do: in one, the kernel
 * lets nobody make user namespaces.) The kernel's filesystems move along.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "init/machine.h"

/* Sentences of this file outlive the call; there is one at most. */
static const char *trouble(const char *what, const char *path)
{
	static char sentence[512];
	join(sentence, sizeof sentence, what, path, ": ", why(), NULL);
	return sentence;
}

/* Move a mount of the workshop to where the root has a folder of that name. A folder is made
 * where the root has none. */
static const char *move_in(const struct machine *machine, const char *name)
{
	char target[32];
	join(target, sizeof target, machine->root, "/", name, NULL);
	mkdir(target, 0755);
	if (mount(name, target, NULL, MS_MOVE, NULL) < 0)
		return trouble("the image can have no /", name);
	return NULL;
}

static const char *switch_root(const struct machine *machine)
{
	if (strcmp(machine->root, "/") == 0)
		return chdir("/") < 0 ? trouble("the root could not be entered", "") : NULL;
	if (chdir(machine->root) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 ||
		chroot(".") < 0 || chdir("/") < 0)
		return trouble("the root could not be switched", "");
	return NULL;
}

static void link_make(const char *target, const char *path)
{
	/* It may be there, made by the kernel or by who ran before. */
	int ignored = symlink(target, path);
	(void)ignored;
}

/* What an init gives to the programs it runs. What cannot be had is left out: a command may well
 * do without. /tmp stays in the root, so that what is put there is found afterwards. */
static void surroundings_make(void)
{
	mkdir("/dev/pts", 0755);
	mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC,
		"ptmxmode=0666,mode=0620,gid=5");
	mkdir("/dev/shm", 01777);
	mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
	mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755");
	mount("cgroup2", "/sys/fs/cgroup", "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	link_make("/proc/self/fd", "/dev/fd");
	link_make("/proc/self/fd/0", "/dev/stdin");
	link_make("/proc/self/fd/1", "/dev/stdout");
	link_make("/proc/self/fd/2", "/dev/stderr");
}

static void loopback_up(void)
{
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	ioctl(fd, SIOCSIFFLAGS, &request);
	close(fd);
}

static void hostname_set(const struct machine *machine, bool whole)
{
	char name[65] = "";
	const char *asked = machine->asked.hostname;
	if (!asked && !whole)
		return;
	int fd = asked ? -1 : open("/etc/hostname", O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		ssize_t n = read(fd, name, sizeof name - 1);
		name[n > 0 ? n : 0] = '\0';
		name[strcspn(name, " \t\r\n")] = '\0';
		close(fd);
	}
	if (!asked)
		asked = *name ? name : "ramet";
	if (sethostname(asked, strlen(asked)) < 0)
		return;
}

static const char *make_read_only(const char *path)
{
	/* The root is a mount already. */
	if ((path[1] && mount(path, path, NULL, MS_BIND | MS_REC, NULL) < 0) ||
		mount(NULL, path, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) < 0)
		return trouble("this path of the image could not be made read-only: ", path);
	return NULL;
}

const char *root_enter(struct machine *machine, bool whole)
{
	static const char *const names[] = {"proc", "sys", "dev"};
	const char *wrong = NULL;
	for (size_t i = 0; !wrong && i < sizeof names / sizeof *names; i++)
		wrong = move_in(machine, names[i]);
	if (!wrong)
		wrong = switch_root(machine);
	if (wrong)
		return wrong;
	if (whole) {
		surroundings_make();
		loopback_up();
	}
	hostname_set(machine, whole);
	return NULL;
}

const char *root_protect(const struct machine *machine)
{
	const char *wrong = NULL;
	for (size_t i = 0; !wrong && i < machine->asked.ro_count; i++)
		wrong = make_read_only(machine->asked.ro[i]);
	return wrong;
}

/* The initramfs is memory: nothing of it is needed any more. */
static void initramfs_free(const struct machine *machine)
{
	if (!machine->in_image)
		unlink("/init");
}

/* Execute a program with the arguments that the kernel gave to this one. Returns on failure. */
static void become(const struct machine *machine, const char *path)
{
	char *argv[64];
	size_t count = 0;
	argv[count++] = (char *)path;
	for (; count < 63 && machine->argv[count]; count++)
		argv[count] = machine->argv[count];
	argv[count] = NULL;
	execve(path, argv, machine->environment);
}

void image_init(struct machine *machine)
{
	static const char *const usual[] = {
		"/sbin/init", "/usr/sbin/init", "/etc/init", "/bin/init"};
	const char *asked = machine->asked.init;
	initramfs_free(machine);
	/* The overlay holds its layers by itself. */
	const char *wrong = root_enter(machine, false);
	if (!wrong)
		wrong = root_protect(machine);
	if (wrong)
		fail_with(machine, wrong);
	say_step(machine, "the image's init is next");
	if (asked) {
		become(machine, asked);
		fail(machine, "the init ", asked, " of the image could not be run: ", why(), NULL);
	}
	for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
		become(machine, usual[i]);
		if (errno != ENOENT)
			fail(machine, "the init ", usual[i],
				" of the image could not be run: ", why(), NULL);
	}
	fail(machine,
		"the image has no init (looked for /sbin/init, /usr/sbin/init, /etc/init and "
		"/bin/init); give a command, or name it with " INIT_ARG_INIT "=",
		NULL);
}

void handover(struct machine *machine)
{
	const char *program = machine->asked.handover;
	if (machine->in_image)
		fail(machine, INIT_ARG_HANDOVER " is for ramet's initramfs only", NULL);
	image_mount(machine, machine->asked.layers[0], "base", "base");
	initramfs_free(machine);
	machine->root = "base";
	umount2("proc", 0);
	umount2("sys", 0);
	/* A base without /dev gets none from the kernel either. */
	mount("dev", "base/dev", NULL, MS_MOVE, NULL);
	const char *wrong = switch_root(machine);
	if (wrong)
		fail_with(machine, wrong);
	become(machine, program);
	fail(machine, "the program ", program, " of the base could not be run: ", why(),
		"; build the image with --init", NULL);
}
