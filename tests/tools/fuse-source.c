/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuse-source [OPTIONS] DIR MOUNT: the folder DIR, read-only, by FUSE: a source that counts what is
 * read of it, and is slow, fails or hangs on command. In the foreground; "ready" is printed once it is
 * mounted, and SIGTERM or SIGINT unmount it. Root mounts it itself, others through fusermount3.
 *
 *   --count FILE     at the end, write "BYTES PATH" of each file whose content was read, and "BYTES ."
 *                    of all together
 *   --delay-ms N     each opening and reading of a file takes so long
 *   --fail PATTERN   reading files that match (fnmatch(3), of "/usr/lib/x") fails with EIO
 *   --hang PATTERN   whatever is asked of names that match is not answered
 *   --no-cache       the kernel keeps no names and attributes, as if --attr-ms 0 were given
 *   --attr-ms N      how long it keeps them; 1,000 without this
 *
 * While it runs, extended attributes of the mount's root tell and change this, and never hang:
 *   getfattr --only-values -n user.bytes MOUNT      all bytes of content read (of a file: its own)
 *   setfattr -n user.hang -v '*.so' MOUNT           user.fail, user.delay-ms: the same; '' ends it
 *   setfattr -n user.most -v 1000 MOUNT             a read of what is opened from now on gives no more
 *                                                   bytes at a time, and passes by the kernel's cache
 */
#define FUSE_USE_VERSION 312
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <fuse.h>
#include <fuse_lowlevel.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/vector.h"

#define TOGETHER 200 /* requests that may hang at once */

struct counted {
	char *path;
	uint64_t bytes;
};

static struct {
	int folder;
	pthread_mutex_t lock; /* of all below */
	char hang[256], fail[256];
	unsigned delay_ms;
	size_t most; /* bytes; 0: as many as are asked for */
	uint64_t bytes;
	VECTOR(struct counted) files;
} state = {.lock = PTHREAD_MUTEX_INITIALIZER};

static double attribute_seconds = 1;

static bool matches(const char *pattern, const char *path)
{
	pthread_mutex_lock(&state.lock);
	bool match = *pattern && strcmp(path, "/") != 0 && fnmatch(pattern, path, 0) == 0;
	pthread_mutex_unlock(&state.lock);
	return match;
}

static struct fuse_session *session;
static volatile sig_atomic_t ending;

static void end(int signal)
{
	ending = 1;
	fuse_session_exit(session);
}

/* What hangs must end when all does: libfuse waits for its threads. */
static const char *enter(const char *path)
{
	while (!ending && matches(state.hang, path))
		usleep(2000);
	return path[1] ? path + 1 : ".";
}

static size_t most_bytes(void)
{
	pthread_mutex_lock(&state.lock);
	size_t most = state.most;
	pthread_mutex_unlock(&state.lock);
	return most;
}

static void delay(void)
{
	pthread_mutex_lock(&state.lock);
	unsigned milliseconds = state.delay_ms;
	pthread_mutex_unlock(&state.lock);
	usleep(milliseconds * 1000);
}

static struct counted *find_counted(const char *path)
{
	for (size_t i = 0; i < state.files.count; i++)
		if (strcmp(state.files.items[i].path, path) == 0)
			return &state.files.items[i];
	return NULL;
}

static void count(const char *path, uint64_t bytes)
{
	pthread_mutex_lock(&state.lock);
	state.bytes += bytes;
	struct counted *counted = find_counted(path);
	if (!counted && (counted = vector_push(&state.files)))
		*counted = (struct counted){.path = strdup(path)};
	if (counted)
		counted->bytes += bytes;
	pthread_mutex_unlock(&state.lock);
}

/* ------------------------------------------------------------------------------------------- */

static int source_getattr(const char *path, struct stat *st, struct fuse_file_info *info)
{
	const char *name = enter(path);
	int r = info ? fstat((int)info->fh, st)
		     : fstatat(state.folder, name, st, AT_SYMLINK_NOFOLLOW);
	return r < 0 ? -errno : 0;
}

static int source_readlink(const char *path, char *target, size_t size)
{
	ssize_t length = readlinkat(state.folder, enter(path), target, size - 1);
	if (length < 0)
		return -errno;
	target[length] = '\0';
	return 0;
}

static int source_readdir(const char *path, void *buffer, fuse_fill_dir_t fill, off_t offset,
	struct fuse_file_info *info, enum fuse_readdir_flags flags)
{
	int fd = openat(state.folder, enter(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir)
		return -errno;
	for (struct dirent *entry; (entry = readdir(dir));) {
		struct stat st;
		if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			fill(buffer, entry->d_name, &st, 0, FUSE_FILL_DIR_PLUS);
	}
	closedir(dir);
	return 0;
}

static int source_open(const char *path, struct fuse_file_info *info)
{
	if ((info->flags & O_ACCMODE) != O_RDONLY)
		return -EROFS;
	const char *name = enter(path);
	delay();
	int fd = openat(state.folder, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	info->fh = (uint64_t)fd;
	info->direct_io = most_bytes() != 0;
	return 0;
}

static int source_release(const char *path, struct fuse_file_info *info)
{
	close((int)info->fh);
	return 0;
}

static int source_read(
	const char *path, char *buffer, size_t size, off_t offset, struct fuse_file_info *info)
{
	enter(path);
	delay();
	if (matches(state.fail, path))
		return -EIO;
	size_t most = most_bytes();
	if (most)
		size = MIN(size, most);
	ssize_t n = pread((int)info->fh, buffer, size, offset);
	if (n < 0)
		return -errno;
	count(path, (uint64_t)n);
	return (int)n;
}

/* An attribute of a file below the folder, by a path that follows no symlink at its end. */
static void proc_path(const char *path, char text[static 4200])
{
	snprintf(text, 4200, "/proc/self/fd/%d/%s", state.folder, enter(path));
}

static int answer(const char *text, char *value, size_t size)
{
	size_t length = strlen(text);
	if (size && size < length)
		return -ERANGE;
	if (size)
		memcpy(value, text, length);
	return (int)length;
}

static int get_bytes(const char *path, char *value, size_t size)
{
	char text[32];
	pthread_mutex_lock(&state.lock);
	const struct counted *counted = find_counted(path);
	uint64_t bytes = strcmp(path, "/") == 0 ? state.bytes : counted ? counted->bytes : 0;
	pthread_mutex_unlock(&state.lock);
	snprintf(text, sizeof text, "%llu", (unsigned long long)bytes);
	return answer(text, value, size);
}

static int source_getxattr(const char *path, const char *name, char *value, size_t size)
{
	char text[4200];
	if (strcmp(name, "user.bytes") == 0)
		return get_bytes(path, value, size);
	proc_path(path, text);
	ssize_t n = lgetxattr(text, name, value, size);
	return n < 0 ? -errno : (int)n;
}

static int source_listxattr(const char *path, char *list, size_t size)
{
	char text[4200];
	proc_path(path, text);
	ssize_t n = llistxattr(text, list, size);
	return n < 0 ? -errno : (int)n;
}

static int source_setxattr(
	const char *path, const char *name, const char *value, size_t size, int flags)
{
	char text[sizeof state.hang];
	if (strcmp(path, "/") != 0 || size >= sizeof text)
		return -EROFS;
	snprintf(text, sizeof text, "%.*s", (int)size, value);
	int r = 0;
	pthread_mutex_lock(&state.lock);
	if (strcmp(name, "user.hang") == 0)
		memcpy(state.hang, text, sizeof text);
	else if (strcmp(name, "user.fail") == 0)
		memcpy(state.fail, text, sizeof text);
	else if (strcmp(name, "user.delay-ms") == 0)
		state.delay_ms = (unsigned)atoi(text);
	else if (strcmp(name, "user.most") == 0)
		state.most = strtoul(text, NULL, 10);
	else
		r = -EROFS;
	pthread_mutex_unlock(&state.lock);
	return r;
}

/* Without the last two the kernel itself would hold back requests beyond a few that hang. */
static void *source_init(struct fuse_conn_info *connection, struct fuse_config *config)
{
	config->use_ino = 1;
	config->attr_timeout = config->entry_timeout = attribute_seconds;
	config->negative_timeout = 0;
	connection->max_background = TOGETHER;
	connection->congestion_threshold = TOGETHER;
	return NULL;
}

static const struct fuse_operations operations = {
	.init = source_init,
	.getattr = source_getattr,
	.readlink = source_readlink,
	.readdir = source_readdir,
	.open = source_open,
	.release = source_release,
	.read = source_read,
	.getxattr = source_getxattr,
	.listxattr = source_listxattr,
	.setxattr = source_setxattr,
};

/* ------------------------------------------------------------------------------------------- */

static int write_counts(const char *path)
{
	_cleanup_fclose_ FILE *file = fopen(path, "w");
	if (!file)
		return -errno;
	fprintf(file, "%llu .\n", (unsigned long long)state.bytes);
	for (size_t i = 0; i < state.files.count; i++)
		fprintf(file, "%llu %s\n", (unsigned long long)state.files.items[i].bytes,
			state.files.items[i].path + 1);
	return 0;
}

static int serve(const char *program, const char *mount)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	if (fuse_opt_add_arg(&args, program) || fuse_opt_add_arg(&args, "-o") ||
		fuse_opt_add_arg(&args, "fsname=fuse-source,subtype=test"))
		return -ENOMEM;
	struct fuse *fuse = fuse_new(&args, &operations, sizeof operations, NULL);
	if (!fuse || fuse_mount(fuse, mount) != 0)
		return -EIO;
	session = fuse_get_session(fuse);
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	fuse_loop_cfg_set_max_threads(config, TOGETHER);
	struct sigaction action = {.sa_handler = end};
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	printf("ready %s\n", mount);
	fflush(stdout);
	int r = fuse_loop_mt(fuse, config);
	fuse_unmount(fuse);
	fuse_destroy(fuse);
	fuse_opt_free_args(&args);
	fuse_loop_cfg_destroy(config);
	return r < 0 ? r : 0;
}

static int usage(void)
{
	fprintf(stderr, "usage: fuse-source [--count FILE] [--delay-ms N] [--fail PATTERN]\n"
			"       [--hang PATTERN] [--no-cache] [--attr-ms N] DIR MOUNT\n");
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option long_options[] = {{"count", required_argument, NULL, 'c'},
		{"delay-ms", required_argument, NULL, 'd'}, {"fail", required_argument, NULL, 'f'},
		{"hang", required_argument, NULL, 'h'}, {"no-cache", no_argument, NULL, 'n'},
		{"attr-ms", required_argument, NULL, 'a'}, {0}};
	const char *counts = NULL;
	for (int option; (option = getopt_long(argc, argv, "", long_options, NULL)) != -1;)
		switch (option) {
		case 'c':
			counts = optarg;
			break;
		case 'd':
			state.delay_ms = (unsigned)atoi(optarg);
			break;
		case 'f':
			snprintf(state.fail, sizeof state.fail, "%s", optarg);
			break;
		case 'h':
			snprintf(state.hang, sizeof state.hang, "%s", optarg);
			break;
		case 'n':
			attribute_seconds = 0;
			break;
		case 'a':
			attribute_seconds = atoi(optarg) / 1000.0;
			break;
		default:
			return usage();
		}
	if (argc - optind != 2)
		return usage();
	state.folder = open(argv[optind], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (state.folder < 0) {
		fprintf(stderr, "fuse-source: cannot open %s: %s\n", argv[optind], strerror(errno));
		return 1;
	}
	int r = serve(argv[0], argv[optind + 1]);
	if (r == 0 && counts)
		r = write_counts(counts);
	return r < 0;
}
