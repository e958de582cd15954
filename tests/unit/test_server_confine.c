/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What docs/threat-model.md promises of a server that was taken over, tried in one that is confined as
 * ramet-server is (server/confine.c), for every export: a process of its own for each try. A try ends in
 * what the call says, or the process is ended and its log names the call.
 */
#include <fcntl.h>
#include <liburing.h>
#include <linux/openat2.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/confine.h"
#include "base/fd.h"
#include "base/sandbox_inside.h"
#include "block/ring.h"
#include "server/inside.h"
#include "tests/unit/tap.h"

static const char *const kinds[] = {"vhost-user-blk", "nbd", "nbd-device", "ublk", "fuse"};

/* A root that is served, with a file and a link in it that leads out, to what is beside it. */
struct place {
	char path[32];
	int folder, root;
};

static void place_make(struct place *place)
{
	strcpy(place->path, "/tmp/ramet-test.XXXXXX");
	REQUIRE(mkdtemp(place->path) != NULL);
	place->folder = open(place->path, O_PATH | O_CLOEXEC);
	REQUIRE(mkdirat(place->folder, "root", 0700) == 0);
	place->root = openat(place->folder, "root", O_PATH | O_CLOEXEC);
	close(openat(place->folder, "beside", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	close(openat(place->root, "file", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	REQUIRE(symlinkat("../beside", place->root, "link") == 0);
}

static void place_remove(struct place *place)
{
	unlinkat(place->root, "file", 0);
	unlinkat(place->root, "link", 0);
	unlinkat(place->folder, "beside", 0);
	unlinkat(place->folder, "root", AT_REMOVEDIR);
	close(place->root);
	close(place->folder);
	rmdir(place->path);
}

/* ------------------------------------------------------------------------------------------- */

struct end {
	bool ended; /* by what it tried */
	int result; /* otherwise: what came of it */
	char log[256];
};

/* In the child. */
static int shut_in(const char *kind, int root, int log)
{
	struct server_device device = {.fd = -1};
	struct served served = {.given = &device};
	static struct server server;
	server = (struct server){
		.ops = export_find(kind), .served = &served, .served_count = root >= 0};
	if (root >= 0)
		*(int *)vector_push(&device.roots) = root;
	log_open(&server.log, log);
	struct ramet_error err = {0};
	int r = server.ops ? server_shut_in(&server, &err) : -ENOENT;
	vector_free(&device.roots);
	return r;
}

static struct end confined(const char *kind, int root, int (*try)(const void *ctx), const void *ctx)
{
	int ends[2], log = memfd_create("log", MFD_CLOEXEC), status = 0;
	struct end end = {.ended = true, .result = -ENODATA};
	if (log < 0 || pipe2(ends, O_CLOEXEC) < 0)
		return end;
	pid_t pid = fork();
	if (pid == 0) {
		int result = shut_in(kind, root, log);
		if (result < 0)
			_exit(99);
		result = try(ctx);
		_exit(write_full(ends[1], &result, sizeof result) < 0 ? 98 : 0);
	}
	close(ends[1]);
	if (read_full(ends[0], &end.result, sizeof end.result) == sizeof end.result)
		end.ended = false;
	close(ends[0]);
	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
	CHECK_EQ(status, end.ended ? W_EXITCODE(EXIT_FAILURE, 0) : 0);
	ssize_t n = pread_full(log, end.log, sizeof end.log - 1, 0);
	end.log[n > 0 ? n : 0] = '\0';
	close(log);
	return end;
}

/* ------------------------------------------------------------------------------------------- */

#define ENDED 1
struct call {
	const char *name;
	long number, arguments[6];
	int expected; /* 0, a negative errno, or ENDED */
};

static int make_call(const void *ctx)
{
	const struct call *call = ctx;
	const long *a = call->arguments;
	return syscall(call->number, a[0], a[1], a[2], a[3], a[4], a[5]) < 0 ? -errno : 0;
}

static void check_call(const char *kind, int root, const struct call *call)
{
	struct end end = confined(kind, root, make_call, call);
	char sentence[96];
	snprintf(sentence, sizeof sentence,
		" tried system call %ld, which is forbidden to it, and was ended\n", call->number);
	bool as_told = call->expected == ENDED ? end.ended && strstr(end.log, sentence)
					       : !end.ended && end.result == call->expected;
	if (!as_told)
		printf("# %s, of a server of %s: %s, %d (expected %d); its log: %s\n", call->name,
			kind, end.ended ? "ended" : "not ended", end.result, call->expected,
			end.log);
	CHECK(as_told);
}

static void check_calls(int root, const struct call *calls, size_t count)
{
	for (size_t kind = 0; kind < ARRAY_SIZE(kinds); kind++)
		for (size_t i = 0; i < count; i++)
			check_call(kinds[kind], root, &calls[i]);
}

#define CALL(name, expected, ...) \
	{ \
#name, SYS_##name, {__VA_ARGS__ }, expected \
	}
#define TEXT(text) (long)(uintptr_t)(text)

/* What a program tries that thinks it is free. None would do harm if it were allowed. */
static void test_ended(void)
{
	const long limit = TEXT(&((struct rlimit){RLIM_INFINITY, RLIM_INFINITY}));
	int pair[2];
	const struct call calls[] = {
		CALL(ptrace, ENDED, PTRACE_TRACEME),
		CALL(process_vm_readv, ENDED, getpid()),
		CALL(pidfd_open, ENDED, getpid()),
		CALL(pidfd_getfd, ENDED, -1),
		CALL(execveat, ENDED, AT_FDCWD, TEXT("/bin/true")),
		CALL(creat, ENDED, TEXT("/tmp/ramet-test"), 0600),
		CALL(truncate, ENDED, TEXT("/nonexistent"), 0),
		CALL(rename, ENDED, TEXT("/nonexistent"), TEXT("/nonexistent")),
		CALL(link, ENDED, TEXT("/nonexistent"), TEXT("/nonexistent")),
		CALL(symlink, ENDED, TEXT("/nonexistent"), TEXT("/proc/none")),
		CALL(chmod, ENDED, TEXT("/nonexistent"), 0600),
		CALL(fchmod, ENDED, -1, 0600),
		CALL(chown, ENDED, TEXT("/nonexistent"), 0, 0),
		CALL(mkdir, ENDED, TEXT("/proc/none"), 0700),
		CALL(mknod, ENDED, TEXT("/proc/none"), 0600, 0),
		CALL(setxattr, ENDED, TEXT("/nonexistent"), TEXT("user.x"), 0, 0, 0),
		CALL(open_by_handle_at, ENDED, -1),
		CALL(chroot, ENDED, TEXT("/nonexistent")),
		CALL(pivot_root, ENDED, TEXT("/nonexistent"), TEXT("/nonexistent")),
		CALL(fsopen, ENDED, TEXT("none"), 0),
		CALL(open_tree, ENDED, -1, TEXT("none"), 0),
		CALL(unshare, ENDED, 0),
		CALL(setns, ENDED, -1, 0),
		CALL(setuid, ENDED, getuid()),
		CALL(setgroups, ENDED, 0, 0),
		CALL(capset, ENDED, 0, 0),
		CALL(setrlimit, ENDED, RLIMIT_DATA, limit),
		CALL(prlimit64, ENDED, 0, RLIMIT_DATA, limit, 0),
		CALL(socketpair, ENDED, AF_UNIX, SOCK_STREAM, 0, TEXT(pair)),
		CALL(bind, ENDED, -1, 0, 0),
		CALL(listen, ENDED, -1, 0),
		CALL(tgkill, ENDED, getppid(), getppid(), 0),
		CALL(rt_sigqueueinfo, ENDED, getppid(), 0, 0),
		CALL(io_uring_setup, ENDED, 1, 0),
		CALL(io_uring_register, ENDED, -1, 0, 0, 0),
		CALL(bpf, ENDED, -1, 0, 0),
		CALL(perf_event_open, ENDED, 0, 0, 0, 0, 0),
		CALL(userfaultfd, ENDED, 0),
		CALL(keyctl, ENDED, 0, 0),
		CALL(finit_module, ENDED, -1, 0, 0),
		CALL(seccomp, ENDED, 0, 0, 0),
		CALL(getppid, ENDED, 0),
	};
	check_calls(-1, calls, ARRAY_SIZE(calls));
}

/* What libraries and exports try, and can do without. */
static void test_refused(void)
{
	const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/nonexistent"};
	const struct call calls[] = {
		CALL(open, -EACCES, TEXT("/etc/passwd"), O_RDONLY),
		CALL(openat, -EACCES, AT_FDCWD, TEXT("/etc/passwd"), O_RDONLY),
		CALL(openat, -EACCES, AT_FDCWD, TEXT("/dev/null"), O_RDWR),
		CALL(socket, -EPERM, AF_INET, SOCK_STREAM, 0),
		CALL(socket, -EPERM, AF_UNIX, SOCK_DGRAM, 0),
		CALL(connect, -EPERM, -1, TEXT(&address), sizeof address),
		CALL(execve, -EPERM, TEXT("/bin/true"), 0, 0),
		CALL(fork, -EPERM, 0),
		CALL(vfork, -EPERM, 0),
		CALL(clone, -EPERM, SIGCHLD, 0, 0, 0, 0),
		CALL(clone3, -ENOSYS, 0, 0),
		CALL(kill, -EPERM, getpid(), 0),
		CALL(unlink, -EPERM, TEXT("/nonexistent")),
		CALL(unlinkat, -EPERM, -1, TEXT("/nonexistent"), 0),
		CALL(rmdir, -EPERM, TEXT("/nonexistent")),
		CALL(mount, -EPERM, 0, TEXT("/nonexistent"), 0, 0, 0),
		CALL(umount2, -EPERM, TEXT("/nonexistent"), 0),
		CALL(ioctl, -ENOTTY, -1, 0, 0),
	};
	check_calls(-1, calls, ARRAY_SIZE(calls));
	if (!SANITIZED)
		check_calls(-1,
			&(const struct call)CALL(prctl, -EINVAL, PR_SET_DUMPABLE, 1, 0, 0, 0), 1);
}

/* ------------------------------------------------------------------------------------------- */

static void test_roots(void)
{
	struct place place;
	place_make(&place);
	if (tap_failed)
		return;
	const long none = TEXT(&((struct open_how){.flags = O_RDONLY}));
	const long write = TEXT(&((struct open_how){.flags = O_WRONLY}));
	const long make = TEXT(&((struct open_how){.flags = O_WRONLY | O_CREAT, .mode = 0600}));
	const size_t size = sizeof(struct open_how);
	const struct call inside[] = {
		CALL(openat2, 0, place.root, TEXT("file"), none, size),
		CALL(openat, 0, place.root, TEXT("file"), O_RDONLY),
		CALL(openat, 0, place.root, TEXT("."), O_RDONLY | O_DIRECTORY),
		CALL(openat, ENDED, place.root, TEXT("file"), O_RDWR),
		CALL(openat, ENDED, place.root, TEXT("new"), O_RDONLY | O_CREAT, 0600),
		CALL(openat, ENDED, place.root, TEXT("."), O_TMPFILE | O_RDWR, 0600),
	};
	check_calls(place.root, inside, ARRAY_SIZE(inside));
	const struct call by_landlock[] = {
		CALL(openat2, -EACCES, AT_FDCWD, TEXT("/etc/passwd"), none, size),
		CALL(openat, -EACCES, AT_FDCWD, TEXT("/etc/passwd"), O_RDONLY),
		CALL(openat, -EACCES, place.root, TEXT("../beside"), O_RDONLY),
		CALL(openat, -EACCES, place.root, TEXT("link"), O_RDONLY),
		CALL(openat, -EACCES, AT_FDCWD, TEXT("/proc/1/environ"), O_RDONLY),
		CALL(openat2, -EACCES, place.root, TEXT("file"), write, size),
		CALL(openat2, -EACCES, place.root, TEXT("new"), make, size),
	};
	if (confine_has_paths())
		check_calls(place.root, by_landlock, ARRAY_SIZE(by_landlock));
	place_remove(&place);
	if (!confine_has_paths())
		SKIP("this kernel has no landlock, which limits the paths that can be read");
}

/* ------------------------------------------------------------------------------------------- */

static int map_executable(const void *ctx)
{
	void *memory = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return memory == MAP_FAILED ? -errno : 0;
}

static int make_executable(const void *ctx)
{
	void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return mprotect(memory, 4096, PROT_READ | PROT_EXEC) < 0 ? -errno : 0;
}

static void test_executable(void)
{
	if (SANITIZED)
		SKIP("the sanitizer maps what it likes");
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		CHECK(confined(kinds[i], -1, map_executable, NULL).ended);
		CHECK(confined(kinds[i], -1, make_executable, NULL).ended);
	}
}

/* How many MiB it gets. */
static int take_memory(const void *ctx)
{
	static void *volatile kept;
	for (int i = 0; i < 1000; i++)
		if (!(kept = malloc(1 << 20)))
			return i;
	return 1000;
}

static void test_memory(void)
{
	if (SANITIZED)
		SKIP("the sanitizer needs its memory unlimited");
	struct end end = confined("nbd", -1, take_memory, NULL);
	CHECK(!end.ended && end.result >= 400 && end.result <= 512);
}

static int look_at_limits(const void *ctx)
{
	struct rlimit data, core;
	if (getrlimit(RLIMIT_DATA, &data) < 0 || getrlimit(RLIMIT_CORE, &core) < 0)
		return -errno;
	return core.rlim_max == 0 && (SANITIZED || data.rlim_max <= 512 << 20) ? 0 : -ERANGE;
}

static void test_limits(void)
{
	struct end end = confined("nbd", -1, look_at_limits, NULL);
	CHECK(!end.ended);
	CHECK_EQ(end.result, 0);
}

/* ------------------------------------------------------------------------------------------- */

struct open_files {
	int file, listener, ends[2];
};

static void *read_file_in_thread(void *file)
{
	char byte;
	return pread(*(const int *)file, &byte, 1, 0) == 1 && fdatasync(*(const int *)file) == 0
		       ? file
		       : NULL;
}

static bool moves_bytes(const struct open_files *files)
{
	char bytes[8] = "written";
	struct iovec vector = {bytes, sizeof bytes};
	struct pollfd polled = {.fd = files->ends[1], .events = POLLIN};
	return pwrite(files->file, bytes, sizeof bytes, 0) == sizeof bytes &&
	       preadv(files->file, &vector, 1, 0) == sizeof bytes &&
	       preadv2(files->file, &vector, 1, 0, RWF_NOWAIT) != -2 &&
	       send(files->ends[0], bytes, sizeof bytes, MSG_NOSIGNAL) == sizeof bytes &&
	       poll(&polled, 1, 1000) == 1 &&
	       recv(files->ends[1], bytes, sizeof bytes, 0) == sizeof bytes &&
	       accept4(files->listener, NULL, NULL, SOCK_CLOEXEC) < 0 && errno == EAGAIN;
}

/* What serving needs. */
static int serve(const void *ctx)
{
	struct open_files files = *(const struct open_files *)ctx;
	pthread_t thread;
	void *result = NULL;
	if (!moves_bytes(&files))
		return -EIO;
	if (ftruncate(files.file, 1 << 20) < 0 || fsync(files.file) < 0 ||
		fallocate(files.file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 4096) < 0)
		return -errno;
	if (pthread_create(&thread, NULL, read_file_in_thread, &files.file) != 0 ||
		pthread_join(thread, &result) != 0 || !result)
		return -EAGAIN;
	void *memory = malloc(8 << 20);
	free(memory);
	return memory ? 0 : -ENOMEM;
}

static void test_serves(void)
{
	struct open_files files = {.file = memfd_create("disk", MFD_CLOEXEC),
		.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
	const struct sockaddr_un nameless = {.sun_family = AF_UNIX};
	REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, files.ends) == 0);
	REQUIRE(bind(files.listener, (const struct sockaddr *)&nameless, sizeof(sa_family_t)) == 0);
	REQUIRE(listen(files.listener, 1) == 0);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct end end = confined(kinds[i], -1, serve, &files);
		CHECK(!end.ended);
		CHECK_EQ(end.result, 0);
		CHECK_STR(end.log, "");
	}
	close(files.file);
	close(files.listener);
	close(files.ends[0]);
	close(files.ends[1]);
}

/* Each call that an export asks for, with arguments that make no sense. */
static void test_own_calls(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const struct export_ops *ops = export_find(kinds[i]);
		REQUIRE(ops != NULL);
		for (const int *call = ops->syscalls; call && *call >= 0; call++) {
			const struct call senseless = {
				"its own", *call, {-1, -1, 0, -1, -1, -1}, 0};
			if (*call != SYS_rt_sigreturn)
				CHECK(!confined(kinds[i], -1, make_call, &senseless).ended);
		}
	}
}

/* ------------------------------------------------------------------------------------------- */

/* What comes of an operation whose arguments make no sense. */
static int by_ring(struct io_uring *uring, uint8_t operation)
{
	struct io_uring_cqe *cqe;
	struct io_uring_sqe *sqe = io_uring_get_sqe(uring);
	io_uring_prep_rw(operation, sqe, -1, NULL, 0, 0);
	if (io_uring_submit_and_wait(uring, 1) < 0 || io_uring_peek_cqe(uring, &cqe) < 0)
		return -EPROTO;
	int result = cqe->res;
	io_uring_cqe_seen(uring, cqe);
	return result;
}

static void test_rings(void)
{
	static const uint8_t allowed[] = {IORING_OP_READV, IORING_OP_WRITEV};
	static const uint8_t others[] = {IORING_OP_OPENAT, IORING_OP_OPENAT2, IORING_OP_CONNECT,
		IORING_OP_ACCEPT, IORING_OP_SENDMSG, IORING_OP_UNLINKAT, IORING_OP_RENAMEAT,
		IORING_OP_SPLICE, IORING_OP_READ, IORING_OP_URING_CMD};
	struct io_uring uring;
	if (io_uring_queue_init(4, &uring, IORING_SETUP_R_DISABLED) < 0)
		SKIP("io_uring is refused here");
	CHECK(ring_restrict(&uring, allowed, ARRAY_SIZE(allowed)));
	for (size_t i = 0; i < ARRAY_SIZE(allowed); i++)
		CHECK_EQ(by_ring(&uring, allowed[i]), -EBADF);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		CHECK_EQ(by_ring(&uring, others[i]), -EACCES);
	CHECK(!ring_restrict(&uring, others, 1));
	io_uring_queue_exit(&uring);
}

TEST_MAIN({"a call that serving does not need ends the server, and its log names it", test_ended},
	{"what libraries try is refused: no file, no socket, no program, no process", test_refused},
	{"roots are read, and nothing else, and nothing is written there", test_roots},
	{"no memory can be executed", test_executable}, {"it gets 512 MiB at most", test_memory},
	{"it leaves no core file", test_limits}, {"what serving needs is allowed", test_serves},
	{"a ring takes the operations that it was made for, and no other", test_rings},
	{"every export makes the calls that it has asked for", test_own_calls})
