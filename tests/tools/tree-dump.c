/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree-dump squashfs IMAGE | ext4 IMAGE | erofs IMAGE | dir FOLDER |
 *           overlay LOWER UPPER DIR [LOWER-FORMAT]
 *
 * Print a tree in one canonical form, seen through a reader or through the kernel: a line each for
 * path, type and mode, owners, links, size, time, device, target, attributes and a sum of the
 * content. Two dumps of one tree are alike byte by byte, which makes the kernel an oracle. Hard
 * links are shown as the path that came first. "--no-content", "--no-time" leave those out.
 */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/vector.h"
#include "image/erofs_reader.h"
#include "image/ext4_reader.h"
#include "image/overlay.h"
#include "image/squashfs_reader.h"

static bool no_content, no_time;

struct seen {
	uint64_t inode;
	char *path;
};
static VECTOR(struct seen) seen;

static void die(const char *what, const struct ramet_error *err)
{
	fprintf(stderr, "tree-dump: %s: %s\n", what, err ? err->message : strerror(errno));
	exit(1);
}

/* The path under which a file with many links was shown first, or NULL. */
static const char *link_seen(uint64_t inode, const char *path)
{
	for (size_t i = 0; i < seen.count; i++) {
		if (seen.items[i].inode == inode)
			return seen.items[i].path;
	}
	struct seen *add = vector_push(&seen);
	*add = (struct seen){inode, strdup(path)};
	return NULL;
}

static void print_name(const char *name)
{
	for (; *name; name++) {
		if (*name > ' ' && *name < 127 && *name != '\\')
			putchar(*name);
		else
			printf("\\%03o", (unsigned char)*name);
	}
}

static void print_stat(const char *path, const struct fs_stat *st)
{
	print_name(path);
	printf(" %o %u:%u", st->mode, st->uid, st->gid);
	if (!S_ISDIR(st->mode))
		printf(" links=%u size=%" PRIu64, st->nlink, st->size);
	if (S_ISBLK(st->mode) || S_ISCHR(st->mode))
		printf(" dev=%u:%u", st->rdev_major, st->rdev_minor);
	if (!no_time)
		printf(" %" PRId64 ".%09u", st->mtime, st->mtime_nsec);
	if (!S_ISDIR(st->mode) && st->nlink > 1) {
		const char *first = link_seen(st->inode, path);
		if (first) {
			printf(" =");
			print_name(first);
		}
	}
}

static void print_xattrs(const struct fs_xattrs *xattrs)
{
	for (size_t i = 0; i < xattrs->count; i++) {
		printf(" ");
		print_name(xattrs->items[i].name);
		printf("=");
		for (size_t b = 0; b < xattrs->items[i].size; b++)
			printf("%02x", ((uint8_t *)xattrs->items[i].value)[b]);
	}
}

static uint64_t sum(uint64_t state, const uint8_t *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++)
		state = (state ^ bytes[i]) * 0x100000001b3ULL;
	return state;
}

/* Content is taken extent by extent; holes count as their length in zeros, which are skipped. */
static void print_fs_content(struct fs *fs, fs_ref ref, uint64_t size, const char *path)
{
	static uint8_t buffer[1 << 17];
	struct ramet_error err = {0};
	uint64_t state = 0xcbf29ce484222325ULL, at = 0;
	while (at < size) {
		struct fs_extent extent;
		if (fs->ops->extent(fs, ref, at, &extent, &err) < 0)
			die(path, &err);
		if (extent.offset != at || extent.length == 0 || extent.length > size - at)
			die("an extent that does not fit", NULL);
		for (uint64_t end = at + extent.length; at < end && !extent.hole;) {
			size_t done, want = MIN(sizeof buffer, end - at);
			if (fs->ops->read(fs, ref, at, buffer, want, &done, &err) < 0)
				die(path, &err);
			if (done != want)
				die("a short read", NULL);
			for (size_t i = 0; i < done; i++) {
				if (buffer[i])
					state = sum(state ^ (at + i), &buffer[i], 1);
			}
			at += done;
		}
		at = extent.offset + extent.length;
	}
	printf(" sum=%016" PRIx64, state);
}

static void dump_fs(struct fs *fs, fs_ref ref, const char *path, unsigned depth)
{
	struct ramet_error err = {0};
	struct fs_stat st;
	struct fs_xattrs xattrs = {0};
	if (depth > 2000)
		die("too deep", NULL);
	if (fs->ops->stat(fs, ref, &st, &err) < 0 || fs->ops->xattrs(fs, ref, &xattrs, &err) < 0)
		die(path, &err);
	print_stat(path, &st);
	if (S_ISLNK(st.mode)) {
		char *target;
		if (fs->ops->readlink(fs, ref, &target, &err) < 0)
			die(path, &err);
		printf(" -> ");
		print_name(target);
		free(target);
	}
	print_xattrs(&xattrs);
	fs_xattrs_free(&xattrs);
	if (S_ISREG(st.mode) && !no_content)
		print_fs_content(fs, ref, st.size, path);
	putchar('\n');
	if (!S_ISDIR(st.mode))
		return;
	struct fs_entries entries = {0};
	if (fs->ops->list(fs, ref, &entries, &err) < 0)
		die(path, &err);
	for (size_t i = 0; i < entries.count; i++) {
		char *below;
		if (asprintf(&below, "%s/%s", path, entries.items[i].name) < 0)
			die(path, NULL);
		dump_fs(fs, entries.items[i].ref, below, depth + 1);
		free(below);
	}
	fs_entries_free(&entries);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void host_xattrs(const char *real)
{
	static char names[65536], value[65536];
	ssize_t length = llistxattr(real, names, sizeof names);
	VECTOR(char *) list = {0};
	for (ssize_t at = 0; at < length; at += (ssize_t)strlen(names + at) + 1)
		*vector_push(&list) = names + at;
	if (list.count)
		qsort(list.items, list.count, sizeof *list.items, compare_names);
	for (size_t i = 0; i < list.count; i++) {
		ssize_t size = lgetxattr(real, list.items[i], value, sizeof value);
		struct fs_xattr one = {list.items[i], value, (size_t)size};
		if (size >= 0)
			print_xattrs(&(struct fs_xattrs){&one, 1});
	}
	vector_free(&list);
}

static void host_content(const char *real)
{
	static uint8_t buffer[1 << 17];
	uint64_t state = 0xcbf29ce484222325ULL, at = 0;
	int fd = open(real, O_RDONLY | O_NOFOLLOW);
	off_t data = 0;
	while (fd >= 0 && (data = lseek(fd, (off_t)at, SEEK_DATA)) >= 0) {
		at = (uint64_t)data;
		ssize_t n = pread(fd, buffer, sizeof buffer, data);
		if (n <= 0)
			break;
		for (ssize_t i = 0; i < n; i++) {
			if (buffer[i])
				state = sum(state ^ (at + (uint64_t)i), &buffer[i], 1);
		}
		at += (uint64_t)n;
	}
	close(fd);
	printf(" sum=%016" PRIx64, state);
}

static void dump_dir(const char *real, const char *path)
{
	struct stat st;
	if (lstat(real, &st) < 0)
		die(real, NULL);
	struct fs_stat same = {.mode = st.st_mode,
		.uid = st.st_uid,
		.gid = st.st_gid,
		.nlink = (uint32_t)st.st_nlink,
		.size = (uint64_t)st.st_size,
		.mtime = st.st_mtim.tv_sec,
		.mtime_nsec = (uint32_t)st.st_mtim.tv_nsec,
		.rdev_major = major(st.st_rdev),
		.rdev_minor = minor(st.st_rdev),
		.inode = st.st_ino};
	print_stat(path, &same);
	if (S_ISLNK(st.st_mode)) {
		char target[4097];
		ssize_t n = readlink(real, target, sizeof target - 1);
		target[n < 0 ? 0 : n] = '\0';
		printf(" -> ");
		print_name(target);
	}
	host_xattrs(real);
	if (S_ISREG(st.st_mode) && !no_content)
		host_content(real);
	putchar('\n');
	struct dirent **names = NULL;
	int count = S_ISDIR(st.st_mode) ? scandir(real, &names, NULL, NULL) : 0;
	if (count < 0)
		die(real, NULL);
	VECTOR(char *) list = {0};
	for (int i = 0; i < count; i++) {
		if (strcmp(names[i]->d_name, ".") != 0 && strcmp(names[i]->d_name, "..") != 0)
			*vector_push(&list) = names[i]->d_name;
	}
	if (list.count)
		qsort(list.items, list.count, sizeof *list.items, compare_names);
	for (size_t i = 0; i < list.count; i++) {
		char *real_below, *below;
		if (asprintf(&real_below, "%s/%s", real, list.items[i]) < 0 ||
			asprintf(&below, "%s/%s", path, list.items[i]) < 0)
			die(path, NULL);
		dump_dir(real_below, below);
		free(real_below);
		free(below);
	}
	vector_free(&list);
	for (int i = 0; i < count; i++)
		free(names[i]);
	free(names);
}

static struct fs *open_view(const char *format, const char *path)
{
	struct ramet_error err = {0};
	struct fs *fs = NULL;
	bool replayed;
	int r, fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die(path, NULL);
	if (strcmp(format, "ext4") == 0)
		r = ext4_open(fd, &fs, &replayed, &err);
	else
		r = strcmp(format, "erofs") == 0 ? erofs_open(fd, &fs, &err)
						 : squashfs_open(fd, &fs, &err);
	if (r < 0)
		die(path, &err);
	return fs;
}

/* Open until the end; named here so that the leak sanitizer sees who has them. */
static struct fs *lower, *upper, *fs;

static struct fs *open_overlay(int argc, char **argv)
{
	struct ramet_error err = {0};
	lower = open_view(argc > 5 ? argv[5] : "squashfs", argv[2]);
	upper = open_view("ext4", argv[3]);
	fs_ref root;
	if (!lower || fs_lookup(upper, argv[4], &root, &err) < 0 ||
		overlay_open(lower, upper, root, &fs, &err) < 0)
		die(argv[3], &err);
	return fs;
}

int main(int argc, char **argv)
{
	while (argc > 1 && strncmp(argv[1], "--no-", 5) == 0) {
		no_content = no_content || strcmp(argv[1], "--no-content") == 0;
		no_time = no_time || strcmp(argv[1], "--no-time") == 0;
		argv++;
		argc--;
	}
	if (argc < 3) {
		fprintf(stderr,
			"usage: tree-dump squashfs|ext4|erofs|dir PATH, overlay LOWER UPPER DIR\n");
		return 2;
	}
	if (strcmp(argv[1], "dir") == 0) {
		dump_dir(argv[2], "");
		return 0;
	}
	bool merged = strcmp(argv[1], "overlay") == 0 && argc > 4;
	fs = merged ? open_overlay(argc, argv) : open_view(argv[1], argv[2]);
	struct ramet_error err = {0};
	fs_ref root;
	if (fs->ops->root(fs, &root, &err) < 0)
		die(argv[2], &err);
	dump_fs(fs, root, "", 0);
	return 0;
}
