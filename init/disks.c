/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices become a root.
 *
 * Overlay: upper in root/ and work in work/ of the volume, as the overlay-init script of
 * firecracker-containerd has them, so that either can boot the other's volume. index, metacopy and
 * the making of redirects are off whatever the kernel's defaults: a volume stays readable by any
 * kernel and by ramet diff. The mount's text may be one page long at most, so layers are named
 * 0, 1, ... relative to their folder (Documentation/filesystems/overlayfs.rst: the first in
 * lowerdir= is the topmost).
 *
 * overlayfs mounts read-only, with no more than a kernel message, when it cannot make its work
 * folder; that is asked for afterwards.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "init/machine.h"

#define DEVICE_WAIT_MS 5000
/* From the kernel's include/uapi/linux/ext4.h. */
#define EXT4_IOC_RESIZE_FS _IOW('f', 16, uint64_t)

struct filesystem {
	const char *type;
	uint64_t blocks;
	uint32_t block_size;
};

static void sleep_ms(long ms)
{
	struct timespec time = {.tv_nsec = ms * 1000000};
	nanosleep(&time, NULL);
}

static bool is_memory(const char *name)
{
	return strncmp(name, "pmem", 4) == 0;
}

void device_await(struct machine *machine, const char *name, char path[static 80])
{
	struct stat info;
	if (strlen(name) > 64)
		fail(machine, "the device name ", name, " is too long", NULL);
	join(path, 80, "dev/", name, NULL);
	for (int waited = 0; waited < DEVICE_WAIT_MS; waited += 10) {
		if (stat(path, &info) == 0) {
			if (S_ISBLK(info.st_mode))
				return;
			fail(machine, "/", path, " is no block device", NULL);
		}
		sleep_ms(10);
	}
	fail(machine, "there is no device /", path,
		": its drive is not attached, or the kernel lacks the drivers (",
		is_memory(name) ? "virtio_pmem and nd_pmem" : "virtio_blk and virtio_mmio",
		"; ramet run --modules brings them)", NULL);
}

static uint32_t little32(const unsigned char *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/*
 * What a device holds, by the magic numbers of fs/{squashfs,ext4,erofs}'s superblocks. The counts
 * are filled in for ext4 (s_blocks_count_lo/hi at 4 and 0x150, s_log_block_size at 24, the 64-bit
 * flag 0x80 in s_feature_incompat at 0x60).
 */
static struct filesystem filesystem_probe(struct machine *machine, const char *path)
{
	struct filesystem found = {0};
	static unsigned char head[2048];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : pread(fd, head, sizeof head, 0);
	if (n < 0)
		fail(machine, "the device /", path, " could not be read: ", why(), NULL);
	close(fd);
	const unsigned char *ext4 = head + 1024;
	if (n < (ssize_t)sizeof head)
		return found;
	if (memcmp(head, "hsqs", 4) == 0) {
		found.type = "squashfs";
	} else if (little32(ext4) == 0xe0f5e1e2) {
		found.type = "erofs";
	} else if (ext4[56] == 0x53 && ext4[57] == 0xef && little32(ext4 + 24) <= 6) {
		found.type = "ext4";
		found.block_size = 1024U << little32(ext4 + 24);
		found.blocks = little32(ext4 + 4);
		if (little32(ext4 + 0x60) & 0x80)
			found.blocks |= (uint64_t)little32(ext4 + 0x150) << 32;
	}
	return found;
}

/* Why a mount failed, with what the errors of filesystems mean. */
static const char *mount_why(void)
{
	switch (errno) {
	case ENODEV:
		return "the kernel has no such filesystem, neither built in nor as a module in the "
		       "initramfs";
	case EUCLEAN:
	case EINVAL:
	case EIO:
	case EBADMSG:
		return "it is damaged, or needs a newer kernel; check it on the host";
	case EROFS:
		return "it was not unmounted cleanly and cannot be repaired on a read-only drive";
	default:
		return why();
	}
}

/*
 * What is in memory need not be copied into the page cache: EROFS and ext4 hand the pages on as they
 * are (Documentation/filesystems/dax.rst) where image and device agree to that. ext4 refuses
 * otherwise, EROFS does without.
 */
static bool image_map(
	struct machine *machine, const char *path, const char *target, const char *type)
{
	if (strcmp(type, "squashfs") == 0 ||
		mount(path, target, type, MS_RDONLY | MS_NOATIME, "dax") < 0)
		return false;
	say_step(machine, "an image is mounted with dax");
	return true;
}

void image_mount(struct machine *machine, const char *name, const char *target, const char *what)
{
	char path[80];
	device_await(machine, name, path);
	struct filesystem found = filesystem_probe(machine, path);
	if (!found.type)
		fail(machine, "the ", what, " /", path, " holds no squashfs, ext4 or EROFS image",
			NULL);
	if (is_memory(name) && image_map(machine, path, target, found.type))
		return;
	if (mount(path, target, found.type, MS_RDONLY | MS_NOATIME, NULL) < 0)
		fail(machine, "the ", what, " /", path, " (", found.type,
			") could not be mounted: ", mount_why(), NULL);
}

static void volume_mount(struct machine *machine)
{
	char path[80];
	if (!machine->asked.volume) {
		if (mount("tmpfs", "volume", "tmpfs", MS_NOATIME, "mode=0755") < 0)
			fail(machine, "a tmpfs for changes could not be mounted: ", why(), NULL);
		return;
	}
	device_await(machine, machine->asked.volume, path);
	struct filesystem found = filesystem_probe(machine, path);
	if (!found.type || strcmp(found.type, "ext4") != 0)
		fail(machine, "the volume /", path,
			" holds no ext4 filesystem; make it with ramet fork, or "
			"with mkfs.ext4",
			NULL);
	if (mount(path, "volume", "ext4", MS_NOATIME, NULL) < 0)
		fail(machine, "the volume /", path, " could not be mounted: ",
			errno == EROFS || errno == EACCES ? "its drive is read-only" : mount_why(),
			NULL);
	machine->volume_mounted = true;
}

/* The merged root takes its owner, mode and times from the upper folder: a new one gets those of
 * the base, so that nothing has changed before something changes. */
static void upper_make(struct machine *machine, const char *lowest_top)
{
	struct stat info;
	static const char upper[] = "volume/" INIT_VOLUME_UPPER,
			  work[] = "volume/" INIT_VOLUME_WORK;
	bool fresh = mkdir(upper, 0755) == 0;
	if ((!fresh && errno != EEXIST) || (mkdir(work, 0755) < 0 && errno != EEXIST))
		fail(machine, "the volume's folders could not be made: ", why(), NULL);
	if (fresh && stat(lowest_top, &info) == 0) {
		struct timespec times[2] = {info.st_atim, info.st_mtim};
		if (chown(upper, info.st_uid, info.st_gid) < 0 ||
			chmod(upper, info.st_mode & 07777) < 0 ||
			utimensat(AT_FDCWD, upper, times, 0) < 0)
			fail(machine, "the volume's folders could not be made: ", why(), NULL);
	}
}

/* Where layer i is mounted, as the layers folder sees it. The base of the other way of running
 * is the root that is there already. */
static void layer_path(const struct machine *machine, size_t i, char path[static 24])
{
	char buffer[21];
	if (i == 0 && machine->in_image)
		join(path, 24, "/", NULL);
	else
		join(path, 24, number(i, buffer), NULL);
}

static void layers_mount(struct machine *machine)
{
	char path[24], target[48];
	for (size_t i = 0; i < machine->asked.layer_count; i++) {
		layer_path(machine, i, path);
		if (path[0] == '/') {
			/* The kernel's argument rw would let a change reach the base. */
			if (mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY, NULL) < 0)
				fail(machine, "the base could not be made read-only: ", why(),
					NULL);
			continue;
		}
		join(target, sizeof target, "layers/", path, NULL);
		if (mkdir(target, 0755) < 0)
			fail(machine, "the folder ", target, " could not be made: ", why(), NULL);
		image_mount(machine, machine->asked.layers[i], target, i == 0 ? "base" : "layer");
	}
}

void overlay_mount(struct machine *machine)
{
	static char options[1024];
	char path[24];
	struct statvfs state;
	layers_mount(machine);
	say_step(machine, "the base is mounted");
	volume_mount(machine);
	say_step(machine, "the volume is mounted");
	if (chdir("layers") < 0)
		fail(machine, "the workshop could not be entered: ", why(), NULL);
	join(options, sizeof options, "lowerdir=", NULL);
	for (size_t i = machine->asked.layer_count; i-- > 0;) {
		layer_path(machine, i, path);
		size_t used = strlen(options);
		join(options + used, sizeof options - used, path, i > 0 ? ":" : "", NULL);
	}
	size_t used = strlen(options);
	join(options + used, sizeof options - used,
		",upperdir=../volume/" INIT_VOLUME_UPPER ",workdir=../volume/" INIT_VOLUME_WORK
		",index=off,metacopy=off,redirect_dir=follow",
		NULL);
	layer_path(machine, machine->asked.layer_count - 1, path);
	if (chdir("..") < 0)
		fail(machine, "the workshop could not be entered: ", why(), NULL);
	char top[48];
	join(top, sizeof top, path[0] == '/' ? "" : "layers/", path, NULL);
	upper_make(machine, top);
	if (chdir("layers") < 0 ||
		mount("overlay", "../merged", "overlay", MS_NOATIME, options) < 0)
		fail(machine,
			"the overlay could not be mounted: ", errno == ENODEV ? mount_why() : why(),
			NULL);
	machine->merged = true;
	machine->root = "merged";
	if (chdir("..") < 0)
		fail(machine, "the workshop could not be entered: ", why(), NULL);
	if (statvfs("merged", &state) == 0 && (state.f_flag & ST_RDONLY))
		fail(machine, "the volume takes no changes: it is full or damaged", NULL);
	say_step(machine, "the overlay is mounted");
}

/* Grow an ext4 that is mounted at root to the size of its device. */
static void clone_grow(struct machine *machine, const char *device)
{
	struct filesystem found = filesystem_probe(machine, device);
	uint64_t bytes = 0;
	int fd = open(device, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, BLKGETSIZE64, &bytes) < 0)
		fail(machine, "the size of the base device is not to be had: ", why(), NULL);
	close(fd);
	uint64_t blocks = found.block_size ? bytes / found.block_size : 0;
	if (blocks <= found.blocks)
		return;
	fd = open(machine->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, EXT4_IOC_RESIZE_FS, &blocks) < 0)
		fail(machine, "the filesystem could not be grown to its device's size: ", why(),
			"; fork it with the base's own size", NULL);
	close(fd);
	say_step(machine, "the filesystem is grown");
}

/* The kernel has mounted the root already. */
static void clone_take_root(struct machine *machine)
{
	struct stat info;
	machine->root = "/";
	if (machine->asked.read_only)
		return;
	if (stat("/", &info) < 0 || mknod("root-device", S_IFBLK | 0600, info.st_dev) < 0)
		fail(machine, "the root's device could not be found: ", why(), NULL);
	if (mount(NULL, "/", NULL, MS_REMOUNT | MS_NOATIME, NULL) < 0)
		fail(machine, "the root could not be made writable: ", why(), NULL);
	machine->volume_mounted = true;
	clone_grow(machine, "root-device");
}

void clone_mount(struct machine *machine)
{
	char path[80];
	if (machine->in_image) {
		clone_take_root(machine);
		return;
	}
	if (machine->asked.read_only) {
		image_mount(machine, machine->asked.layers[0], "base", "base");
		machine->root = "base";
		return;
	}
	device_await(machine, machine->asked.layers[0], path);
	struct filesystem found = filesystem_probe(machine, path);
	if (!found.type || strcmp(found.type, "ext4") != 0)
		fail(machine, "ramet.mode=clone needs an ext4 filesystem on /", path,
			", and there is ", found.type ? found.type : "none", NULL);
	if (mount(path, "base", "ext4", MS_NOATIME, NULL) < 0)
		fail(machine, "the base /", path, " could not be mounted: ",
			errno == EROFS || errno == EACCES ? "its drive is read-only" : mount_why(),
			NULL);
	machine->root = "base";
	machine->volume_mounted = true;
	clone_grow(machine, path);
	say_step(machine, "the base is mounted");
}

/* Whether a device is free again: the last user of an unmounted filesystem may take a moment. */
static bool device_is_free(const char *name)
{
	char path[80];
	join(path, sizeof path, "dev/", name, NULL);
	for (int tries = 0; tries < 100; tries++) {
		int fd = open(path, O_RDONLY | O_EXCL | O_CLOEXEC);
		if (fd >= 0) {
			close(fd);
			return true;
		}
		if (errno != EBUSY)
			return true;
		sleep_ms(10);
	}
	return false;
}

bool disks_close(struct machine *machine)
{
	bool clone = machine->asked.clone, ok = true;
	const char *place = clone ? machine->root : "volume";
	if (machine->merged && umount2("merged", 0) < 0)
		umount2("merged", MNT_DETACH);
	machine->merged = false;
	if (!machine->volume_mounted)
		return true;
	machine->volume_mounted = false;
	int fd = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || syncfs(fd) < 0)
		ok = false;
	close(fd);
	const char *name = clone ? machine->asked.layers[0] : machine->asked.volume;
	if (strcmp(place, "/") == 0)
		return mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0 && ok;
	if (umount2(place, 0) < 0 || !device_is_free(name)) {
		mount(NULL, place, NULL, MS_REMOUNT | MS_RDONLY, NULL);
		say(machine, "the volume is still in use: its journal is left for the next mount",
			NULL);
	}
	return ok;
}
