/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/sandbox.h"
#include "tests/unit/tap.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED true
#else
#define SANITIZED false
#endif

static const struct sandbox_limits limits = {.memory = 64 << 20, .cpu_seconds = 5};

static int run(int (*work)(void *ctx, struct ramet_error *err), void *ctx, struct ramet_error *err)
{
	return sandbox_run("the test", &limits, work, ctx, NULL, 0, NULL, 0, err);
}

struct sum {
	int a, b, sum;
};

static int work_sum(void *ctx, struct ramet_error *err)
{
	struct sum *s = ctx;
	s->sum = s->a + s->b;
	return 0;
}

static void test_answer(void)
{
	struct sum s = {.a = 20, .b = 22};
	struct ramet_error err = {0};
	CHECK_EQ(sandbox_run("the test", &limits, work_sum, &s, NULL, 0, &s, sizeof s, &err), 0);
	CHECK_EQ(s.sum, 42);
	CHECK_EQ(waitpid(-1, NULL, 0), -1);
	CHECK_EQ(errno, ECHILD);
}

static int work_error(void *ctx, struct ramet_error *err)
{
	return error_set(err, EUCLEAN, "inode 7 is damaged: \"\033[2J\"");
}

static void test_error(void)
{
	struct ramet_error err = {0};
	CHECK_EQ(run(work_error, NULL, &err), -EUCLEAN);
	CHECK_EQ(err.code, EUCLEAN);
	CHECK_STR(err.message, "inode 7 is damaged: \"?[2J\"");
}

static int work_open(void *ctx, struct ramet_error *err)
{
	int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : 0;
}

static void test_open(void)
{
	CHECK_EQ(run(work_open, NULL, NULL), -EACCES);
}

static int work_socket(void *ctx, struct ramet_error *err)
{
	return socket(AF_UNIX, SOCK_STREAM, 0) < 0 ? -errno : 0;
}
static int work_fork(void *ctx, struct ramet_error *err)
{
	pid_t pid = fork();
	if (pid == 0)
		_exit(0);
	return 0;
}
static int work_kill(void *ctx, struct ramet_error *err)
{
	kill(getppid(), SIGUSR1);
	return 0;
}

static void test_forbidden(void)
{
	int (*const tries[])(void *, struct ramet_error *) = {work_socket, work_fork, work_kill};
	for (size_t i = 0; i < ARRAY_SIZE(tries); i++) {
		struct ramet_error err = {0};
		CHECK_EQ(run(tries[i], NULL, &err), -EUCLEAN);
		CHECK(strstr(
			err.message, "the test cannot be read: its reader tried a system call"));
	}
}

static int work_executable(void *ctx, struct ramet_error *err)
{
	void *p = mmap(
		NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return p == MAP_FAILED ? -errno : 0;
}

static void test_executable(void)
{
	if (SANITIZED)
		SKIP("the sanitizer maps what it likes");
	CHECK_EQ(run(work_executable, NULL, NULL), -EUCLEAN);
}

static int work_memory(void *ctx, struct ramet_error *err)
{
	static void *volatile kept;
	for (int i = 0; i < 1000; i++) {
		kept = malloc(1 << 20);
		if (!kept)
			return error_memory(err);
	}
	return 0;
}

static void test_memory(void)
{
	if (SANITIZED)
		SKIP("the sanitizer needs its memory unlimited");
	CHECK_EQ(run(work_memory, NULL, NULL), -ENOMEM);
}

static int work_spin(void *ctx, struct ramet_error *err)
{
	for (volatile unsigned i = 0;; i++)
		;
	return 0;
}

static void test_time(void)
{
	struct sandbox_limits second = {.cpu_seconds = 1};
	struct ramet_error err = {0};
	CHECK_EQ(sandbox_run("the test", &second, work_spin, NULL, NULL, 0, NULL, 0, &err),
		-EUCLEAN);
	CHECK_STR(err.message,
		"the test cannot be read: it took more than 1 seconds of processor time");
}

static int work_crash(void *ctx, struct ramet_error *err)
{
	return raise(SIGSEGV);
}

static void test_crash(void)
{
	if (SANITIZED)
		SKIP("the sanitizer catches crashes itself");
	struct ramet_error err = {0};
	CHECK_EQ(run(work_crash, NULL, &err), -EUCLEAN);
	CHECK(strstr(err.message, "the test cannot be read: its reader crashed"));
}

struct pair {
	int kept, other;
};

static int work_fds(void *ctx, struct ramet_error *err)
{
	struct pair *pair = ctx;
	char byte = 'x';
	if (write(pair->other, &byte, 1) != -1 || errno != EBADF)
		return -EINVAL;
	return write_full(pair->kept, "hello", 5);
}

static void test_fds(void)
{
	int ends[2];
	struct pair pair = {.other = open("/dev/null", O_RDWR | O_CLOEXEC)};
	REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
	pair.kept = ends[1];
	CHECK_EQ(
		sandbox_run("the test", &limits, work_fds, &pair, &pair.kept, 1, NULL, 0, NULL), 0);
	char bytes[5];
	CHECK_EQ(read_full(ends[0], bytes, 5), 5);
	CHECK(memcmp(bytes, "hello", 5) == 0);
	close(ends[0]);
	close(ends[1]);
	close(pair.other);
}

static int work_pipe(void *ctx, struct ramet_error *err)
{
	return write_full(*(int *)ctx, "hello", 5);
}

static void test_broken_pipe(void)
{
	int ends[2];
	REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
	close(ends[0]);
	CHECK_EQ(sandbox_run("the test", &limits, work_pipe, &ends[1], &ends[1], 1, NULL, 0, NULL),
		-EPIPE);
	close(ends[1]);
}

static void *allocate(void *stop)
{
	while (!*(volatile bool *)stop)
		free(malloc((size_t)rand() % 100000));
	return NULL;
}

static int work_allocate(void *ctx, struct ramet_error *err)
{
	for (int i = 0; i < 1000; i++)
		free(malloc((size_t)i * 100));
	return 0;
}

static void test_threads(void)
{
	bool stop = false;
	pthread_t thread;
	REQUIRE(pthread_create(&thread, NULL, allocate, &stop) == 0);
	for (int i = 0; i < 50; i++)
		CHECK_EQ(run(work_allocate, NULL, NULL), 0);
	stop = true;
	pthread_join(thread, NULL);
}

static int work_interrupted(void *ctx, struct ramet_error *err)
{
	return raise(SIGINT);
}

static void test_interrupted(void)
{
	signal(SIGINT, SIG_IGN);
	CHECK_EQ(run(work_interrupted, NULL, NULL), -EINTR);
	signal(SIGINT, SIG_DFL);
}

static void test_quick(void)
{
	struct timespec a, b;
	double best = 1;
	for (int i = 0; i < 20; i++) {
		struct sum s = {0};
		clock_gettime(CLOCK_MONOTONIC, &a);
		CHECK_EQ(sandbox_run("x", &limits, work_sum, &s, NULL, 0, &s, sizeof s, NULL), 0);
		clock_gettime(CLOCK_MONOTONIC, &b);
		double seconds = (double)(b.tv_sec - a.tv_sec) +
				 (double)(b.tv_nsec - a.tv_nsec) / 1e9;
		best = MIN(best, seconds);
	}
	printf("# a sandbox takes %.3f ms\n", best * 1e3);
	CHECK(SANITIZED || best < 0.02);
}

/* ------------------------------------------------------------------------------------------- */
/* Children that may do more.                                                                   */

static int run_job(struct sandbox_job *job, struct ramet_error *err)
{
	job->what = "the test";
	/* The stacks of threads count, 8 MiB each. */
	job->limits = (struct sandbox_limits){.memory = 256 << 20, .cpu_seconds = 5};
	return sandbox_run_job(job, err);
}

static void *add_one(void *sum)
{
	__atomic_add_fetch((int *)sum, 1, __ATOMIC_RELAXED);
	free(malloc(100000));
	return NULL;
}

static int work_with_threads(void *ctx, struct ramet_error *err)
{
	pthread_t threads[16];
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		if (pthread_create(&threads[i], NULL, add_one, ctx) != 0)
			return -EAGAIN;
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	return 0;
}

static void test_own_threads(void)
{
	if (SANITIZED)
		SKIP("the sanitizer's threads need more");
	int sum = 0;
	struct ramet_error err = {0};
	struct sandbox_job job = {.work = work_with_threads,
		.ctx = &sum,
		.threads = true,
		.answer = &sum,
		.answer_size = sizeof sum};
	CHECK_EQ(run_job(&job, &err), 0);
	CHECK_STR(err.message, "");
	CHECK_EQ(sum, 16);
	job.work = work_fork;
	CHECK_EQ(run_job(&job, &err), -EUCLEAN);
	job.work = work_memory;
	CHECK_EQ(run_job(&job, &err), -ENOMEM);
	job.work = work_executable;
	CHECK_EQ(run_job(&job, &err), -EUCLEAN);
	job.work = work_open;
	CHECK_EQ(run_job(&job, &err), -EACCES);
	/* Without leave there are none. */
	job.work = work_with_threads;
	job.threads = false;
	CHECK_EQ(run_job(&job, &err), -EUCLEAN);
}

static int work_truncate(void *ctx, struct ramet_error *err)
{
	return ftruncate(*(int *)ctx, 4096) < 0 || fsync(*(int *)ctx) < 0 ? -errno : 0;
}

static void test_files(void)
{
	_cleanup_close_ int fd = memfd_create("test", MFD_CLOEXEC);
	struct sandbox_job job = {
		.work = work_truncate, .ctx = &fd, .fds = &fd, .fd_count = 1, .files = true};
	CHECK_EQ(run_job(&job, NULL), 0);
	CHECK_EQ(lseek(fd, 0, SEEK_END), 4096);
	job.files = false;
	CHECK_EQ(run_job(&job, NULL), -EUCLEAN);
}

static bool has_landlock(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, 1) > 0;
}

static int open_for(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);
	return fd < 0 ? -errno : (close(fd), 0);
}

static int work_read_folder(void *ctx, struct ramet_error *err)
{
	const int *expected = ctx;
	struct stat st;
	if (open_for("/usr/bin/env", O_RDONLY) < 0 || open_for("/usr/bin", O_RDONLY) < 0 ||
		stat("/usr/bin/env", &st) < 0)
		return -EINVAL;
	return open_for("/etc/passwd", O_RDONLY) == *expected ? 0 : -EIO;
}
static int work_write_folder(void *ctx, struct ramet_error *err)
{
	return open_for("/usr/bin/ramet-test", O_WRONLY | O_CREAT);
}
static int work_temporary(void *ctx, struct ramet_error *err)
{
	return open_for("/usr/bin", O_TMPFILE | O_RDWR);
}

static void test_folders(void)
{
	_cleanup_close_ int folder = open("/usr/bin", O_PATH | O_CLOEXEC);
	int expected = has_landlock() ? -EACCES : 0;
	struct sandbox_job job = {
		.work = work_read_folder, .ctx = &expected, .folders = &folder, .folder_count = 1};
	CHECK_EQ(run_job(&job, NULL), 0);
	job.work = work_write_folder;
	CHECK_EQ(run_job(&job, NULL), -EUCLEAN);
	job.work = work_temporary;
	CHECK_EQ(run_job(&job, NULL), -EUCLEAN);
}

struct talk {
	struct sandbox_line line;
	char heard[256];
};

static int work_talk(void *ctx, struct ramet_error *err)
{
	const struct talk *talk = ctx;
	if (sandbox_say(&talk->line, 7, "hello", 5) < 0 || sandbox_say(&talk->line, 8, "", 0) < 0)
		return -EIO;
	return sandbox_say(&talk->line, 1 << 16, "", 0) == -EMSGSIZE ? -ECANCELED : 0;
}

static void hear(void *ctx, unsigned kind, const void *bytes, size_t length)
{
	struct talk *talk = ctx;
	size_t used = strlen(talk->heard);
	snprintf(talk->heard + used, sizeof talk->heard - used, "%u:%.*s;", kind, (int)length,
		(const char *)bytes);
}

static void test_talk(void)
{
	struct talk talk = {0};
	struct sandbox_job job = {.work = work_talk,
		.ctx = &talk,
		.line = &talk.line,
		.hear = hear,
		.hear_ctx = &talk};
	CHECK_EQ(run_job(&job, NULL), -ECANCELED);
	CHECK_STR(talk.heard, "7:hello;8:;");
}

/* A child that was taken over says what it likes. */
static int work_lie(void *ctx, struct ramet_error *err)
{
	const struct talk *talk = ctx;
	const uint32_t lies[] = {UINT16_MAX + 1, 4, 0, 0, UINT32_MAX, UINT32_MAX};
	return write_full(talk->line.fd, lies, sizeof lies);
}

static void test_lie(void)
{
	struct talk talk = {0};
	struct ramet_error err = {0};
	struct sandbox_job job = {.work = work_lie,
		.ctx = &talk,
		.line = &talk.line,
		.hear = hear,
		.hear_ctx = &talk};
	CHECK_EQ(run_job(&job, &err), -EPROTO);
	CHECK(strstr(err.message, "cannot hear from the reader of the test"));
}

TEST_MAIN({"an answer comes back, and no zombie stays", test_answer},
	{"an error comes back, without control characters", test_error},
	{"no file can be opened", test_open},
	{"a forbidden call ends the child and is said", test_forbidden},
	{"no executable memory", test_executable}, {"memory is limited", test_memory},
	{"processor time is limited", test_time}, {"a crash is said", test_crash},
	{"only the named fds are open", test_fds},
	{"a closed pipe is an error, not a signal", test_broken_pipe},
	{"a process with threads may use it", test_threads},
	{"an interrupt ends it even if the parent ignores that", test_interrupted},
	{"threads, where they are allowed, and nothing else with them", test_own_threads},
	{"files change their length where that is allowed", test_files},
	{"folders are read where they are named, and nothing else", test_folders},
	{"what it says is heard, in order", test_talk},
	{"what makes no sense is not believed", test_lie}, {"it is quick", test_quick})
