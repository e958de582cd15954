/* SPDX-License-Identifier: Apache-2.0 */
/* A source that hangs holds only those who ask for it: a FUSE mount that does so on command. */
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "block/prefetch.h"
#include "tests/unit/sources.h"

#define FILES    100
#define STALL_MS 500
#define PATIENCE 30 /* seconds: for what must come, however busy the machine is */
#define DEPTH    128

extern char **environ;

static char mount_point[64];
static pid_t server;

static void seed(void)
{
	static bool seeded;
	if (!seeded)
		srand(tap_seed());
	seeded = true;
}

static void tell(const char *name, const char *value)
{
	CHECK(setxattr(mount_point, name, value, strlen(value), 0) == 0);
}

static void clean(void)
{
	if (server > 0)
		kill(server, SIGKILL);
	umount2(mount_point, MNT_DETACH);
	rmdir(mount_point);
}

/* false: there is no FUSE here. */
static bool begin_server(const struct world *world)
{
	const char *program = getenv("FUSE_SOURCE");
	int out[2];
	char line[128];
	strcpy(mount_point, "/tmp/ramet-stall-XXXXXX");
	if (!program || access("/dev/fuse", R_OK | W_OK) < 0 || !mkdtemp(mount_point) ||
		pipe(out) < 0)
		return false;
	char *arguments[] = {(char *)program, (char *)world->folder, mount_point, NULL};
	posix_spawn_file_actions_t actions;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, out[1], 1);
	int r = posix_spawn(&server, program, &actions, NULL, arguments, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(out[1]);
	static bool cleaned;
	if (!cleaned)
		atexit(clean);
	cleaned = true;
	bool ready = r == 0 && read(out[0], line, sizeof line) > 0;
	close(out[0]);
	return ready;
}

static void end_server(int signal)
{
	kill(server, signal);
	waitpid(server, NULL, 0);
	server = 0;
}

static bool begin(struct world *world, bool fail, bool no_ring)
{
	seed();
	world_files(world, FILES, 20000);
	if (tap_failed || !begin_server(world)) {
		tap_skipped = "FUSE is missing";
		world_end(world);
		return false;
	}
	world->source = mount_point;
	world_describe(world);
	if (!tap_failed)
		world_serve(world,
			(struct block_layout_options){.fail_stalled = fail, .stall_ms = STALL_MS},
			(struct engine_options){.depth = DEPTH,
				.no_ring = no_ring,
				.no_quick = no_ring,
				.workers = 4});
	return !tap_failed;
}

static void end(struct world *world, int signal)
{
	world_end_serving(world);
	end_server(signal);
	umount2(mount_point, MNT_DETACH);
	rmdir(mount_point);
	world_end(world);
}

static double seconds(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Serve until the reading is done, or the time is up. */
static bool wait_for(struct world *world, const struct reading *reading, double most)
{
	double until = seconds() + most;
	while (!reading->done && seconds() < until) {
		struct pollfd waited = {.fd = engine_fd(world->engine), .events = POLLIN};
		engine_run(world->engine);
		if (!reading->done && engine_sleep(world->engine))
			poll(&waited, 1, 20);
	}
	return reading->done;
}

static bool is_hung(unsigned index)
{
	return index % 7 == 3 || index % 7 == 4;
}

static void hang(bool hung)
{
	tell("user.hang", hung ? "/d[34]*" : "");
}

/* Ask for each file, or for each that hangs, so often. */
static unsigned ask(struct world *world, struct reading *readings, bool all, int times)
{
	unsigned count = 0;
	for (unsigned i = 0; i < FILES; i++)
		for (int again = 0; again < times; again++)
			if (world->size[i] && (all || is_hung(i)))
				reading_begin(
					world, &readings[count++], world->place[i], world->size[i]);
	return count;
}

static void metadata_goes_on(struct world *world)
{
	struct reading reading = {0};
	for (int i = 0; i < 100; i++) {
		reading_begin(world, &reading, 0, BLOCK);
		REQUIRE(wait_for(world, &reading, PATIENCE));
		CHECK(reading_is_right(world, &reading));
	}
	free(reading.memory);
}

static void others_go_on(struct world *world)
{
	struct reading reading = {0};
	for (int round = 0; round < 3; round++)
		for (unsigned i = 0; i < FILES; i++) {
			if (is_hung(i) || !world->size[i])
				continue;
			reading_begin(world, &reading, world->place[i], world->size[i]);
			REQUIRE(wait_for(world, &reading, PATIENCE));
			CHECK(reading_is_right(world, &reading));
			reading_begin(world, &reading, 0, BLOCK);
			REQUIRE(wait_for(world, &reading, PATIENCE));
			CHECK(reading_is_right(world, &reading));
		}
	free(reading.memory);
}

/* opened: the files are open when they begin to hang. */
static void waiting_holds_only(bool no_ring, bool opened)
{
	struct world world;
	static struct reading readings[3 * FILES];
	if (!begin(&world, false, no_ring))
		return;
	for (unsigned i = 0; i < FILES && opened; i++)
		CHECK_EQ(read_index(&world, i), 0);
	hang(true);
	unsigned count = ask(&world, readings, false, opened ? 1 : 3);
	others_go_on(&world);
	REQUIRE(!tap_failed);
	wait_for(&world, &readings[0], 1.5 * STALL_MS / 1000);
	for (unsigned i = 0; i < count; i++)
		CHECK(!readings[i].done);
	CHECK(noted(&world, " stalls: nothing came of it for 0.5 s; reads of it wait"));
	CHECK_EQ(world.note_count, 1);
	hang(false);
	for (unsigned i = 0; i < count; i++)
		CHECK(wait_for(&world, &readings[i], PATIENCE) &&
			reading_is_right(&world, &readings[i]));
	engine_drain(world.engine);
	CHECK(noted(&world, "answers again"));
	CHECK_EQ(world.note_count, 2);
	for (unsigned i = 0; i < count; i++)
		free(readings[i].memory);
	memset(readings, 0, sizeof readings);
	end(&world, SIGTERM);
}

/* More than there are moves and threads, of one mount. */
static void all_of_it_hangs(void)
{
	struct world world;
	static struct reading readings[5 * FILES];
	if (!begin(&world, false, true))
		return;
	for (unsigned i = 0; i < FILES; i++)
		CHECK_EQ(read_index(&world, i), 0);
	tell("user.hang", "*");
	unsigned count = ask(&world, readings, true, 5);
	metadata_goes_on(&world);
	CHECK(!wait_for(&world, &readings[0], 0.1));
	hang(false);
	for (unsigned i = 0; i < count; i++) {
		CHECK(wait_for(&world, &readings[i], PATIENCE) &&
			reading_is_right(&world, &readings[i]));
		free(readings[i].memory);
	}
	memset(readings, 0, sizeof readings);
	end(&world, SIGTERM);
}

static void opening_hangs(void)
{
	waiting_holds_only(false, false);
}

static void opening_hangs_by_threads(void)
{
	waiting_holds_only(true, false);
}

static void reading_hangs(void)
{
	waiting_holds_only(false, true);
}

static bool untouched(const struct reading *reading)
{
	for (uint64_t i = 0; i < reading->request.length; i++)
		if (reading->memory[i] != 0xee)
			return false;
	return true;
}

/* What has stalled is not waited for again: one of a few reads fails sooner than waiting would take,
 * however busy the machine is. */
static bool fails_at_once(struct world *world, unsigned index)
{
	bool at_once = false;
	for (unsigned i = 0; i < 8 && !at_once; i++) {
		struct reading again = {0};
		double start = seconds();
		reading_begin(world, &again, world->place[index], world->size[index]);
		CHECK(wait_for(world, &again, PATIENCE) && again.result == -EIO);
		at_once = seconds() - start < STALL_MS / 1000.0;
		free(again.memory);
	}
	return at_once;
}

static void failing_fails_in_time(bool opened)
{
	struct world world;
	static struct reading readings[3 * FILES];
	if (!begin(&world, true, false))
		return;
	for (unsigned i = 0; i < FILES; i += 1)
		if (opened)
			CHECK_EQ(read_index(&world, i), 0);
	hang(true);
	double start = seconds();
	unsigned count = ask(&world, readings, false, opened ? 1 : 3);
	others_go_on(&world);
	for (unsigned i = 0; i < count; i++)
		CHECK(wait_for(&world, &readings[i], PATIENCE));
	printf("# failed after %.3f s\n", seconds() - start);
	CHECK(seconds() - start >= (STALL_MS - 2) / 1000.0);
	for (unsigned i = 0; i < count; i++)
		CHECK(readings[i].result == -EIO && untouched(&readings[i]));
	CHECK(fails_at_once(&world, 3));
	CHECK(noted(&world, "reads of it fail"));
	others_go_on(&world);
	hang(false);
	for (start = seconds(); !noted(&world, "answers again") && seconds() - start < 5;)
		wait_for(&world, &(struct reading){0}, 0.02);
	CHECK(noted(&world, "answers again"));
	/* The late answers went nowhere. */
	for (unsigned i = 0; i < count; i++) {
		CHECK(untouched(&readings[i]));
		free(readings[i].memory);
	}
	memset(readings, 0, sizeof readings);
	for (unsigned i = 0; i < FILES; i++)
		CHECK_EQ(read_index(&world, i), 0);
	end(&world, SIGTERM);
}

static void opening_fails_in_time(void)
{
	failing_fails_in_time(false);
}

static void reading_fails_in_time(void)
{
	failing_fails_in_time(true);
}

static void a_read_that_fails(void)
{
	struct world world;
	char said[256], name[32];
	if (!begin(&world, false, false))
		return;
	tell("user.fail", "*/f17");
	CHECK_EQ(read_index(&world, 17), -EIO);
	CHECK_EQ(read_index(&world, 18), 0);
	file_name(17, name);
	snprintf(said, sizeof said, "%s/%s cannot be read (Input/output error)", mount_point, name);
	CHECK(noted(&world, said));
	tell("user.fail", "");
	CHECK_EQ(read_index(&world, 17), 0);
	end(&world, SIGTERM);
}

static void reads_that_end_early(bool fail)
{
	struct world world;
	if (!begin(&world, fail, false))
		return;
	tell("user.most", "1500");
	for (unsigned i = 0; i < FILES; i++)
		CHECK_EQ(read_index(&world, i), 0);
	CHECK_EQ(world.note_count, 0);
	end(&world, SIGTERM);
}

static void reads_that_end_early_go_on(void)
{
	reads_that_end_early(false);
}

static void reads_that_end_early_go_on_where_they_may_fail(void)
{
	reads_that_end_early(true);
}

static void a_server_that_died(void)
{
	struct world world;
	if (!begin(&world, false, false))
		return;
	CHECK_EQ(read_index(&world, 1), 0);
	kill(server, SIGKILL);
	usleep(100000);
	CHECK_EQ(read_index(&world, 1), -EIO);
	CHECK_EQ(read_index(&world, 2), -EIO);
	CHECK(noted(&world, "/d1/f1 cannot be read (Transport endpoint is not connected)"));
	CHECK(noted(&world, "/d2/f2 cannot be read (Transport endpoint is not connected)"));
	struct reading metadata = {0};
	reading_begin(&world, &metadata, 0, BLOCK);
	CHECK(wait_for(&world, &metadata, PATIENCE) && reading_is_right(&world, &metadata));
	free(metadata.memory);
	end(&world, SIGKILL);
}

/* Behind the mount, where the kernel's cache of attributes does not see it. */
static void a_change_behind_the_cache(void)
{
	struct world world;
	char name[128];
	if (!begin(&world, false, false))
		return;
	CHECK_EQ(read_index(&world, 1), 0);
	snprintf(name, sizeof name, "%s/d1/f1", world.folder);
	int fd = open(name, O_WRONLY);
	CHECK(pwrite(fd, "other", 5, 0) == 5);
	close(fd);
	CHECK_EQ(read_index(&world, 1), -EIO);
	CHECK_EQ(read_index(&world, 2), 0);
	end(&world, SIGTERM);
}

static uint64_t bytes_served(void)
{
	char text[32] = "";
	CHECK(getxattr(mount_point, "user.bytes", text, sizeof text - 1) > 0);
	return strtoull(text, NULL, 10);
}

static void reading_ahead_fills_the_cache(void)
{
	struct world world;
	struct trace_runs runs = {0};
	struct prefetch *prefetch;
	if (!begin(&world, false, false))
		return;
	for (unsigned i = 10; i < 20; i++) {
		struct trace_run *run = vector_push(&runs);
		REQUIRE(run);
		*run = (struct trace_run){(uint32_t)(world.place[i] / BLOCK),
			(uint32_t)((world.size[i] + BLOCK - 1) / BLOCK)};
	}
	CHECK_EQ(bytes_served(), 0);
	REQUIRE(prefetch_new(world.engine, &runs, 0, &prefetch) == 0);
	for (unsigned wait; (wait = prefetch_run(prefetch)) != PREFETCH_OVER;) {
		poll(NULL, 0, (int)wait);
		engine_drain(world.engine);
	}
	prefetch_free(prefetch);
	uint64_t ahead = bytes_served();
	CHECK(ahead > 0);
	for (unsigned i = 10; i < 20; i++)
		CHECK_EQ(read_index(&world, i), 0);
	CHECK_EQ(bytes_served(), ahead);
	CHECK_EQ(read_index(&world, 20), 0);
	CHECK_EQ(bytes_served(), ahead + world.size[20]);
	end(&world, SIGTERM);
}

TEST_MAIN({"files that hang when they are opened hold only those who ask for them", opening_hangs},
	{"the same by threads alone", opening_hangs_by_threads},
	{"files that hang when they are read hold only those who ask for them", reading_hangs},
	{"a mount that hangs as a whole holds up nothing else", all_of_it_hangs},
	{"opening fails in time where it is to, and nobody's memory is written later",
		opening_fails_in_time},
	{"reading fails in time where it is to, and nobody's memory is written later",
		reading_fails_in_time},
	{"a read that fails is told with the file's name", a_read_that_fails},
	{"a read that ends early goes on where it stopped", reads_that_end_early_go_on},
	{"the same where what stalls fails", reads_that_end_early_go_on_where_they_may_fail},
	{"a server that died gives errors for its files", a_server_that_died},
	{"what was read ahead is not asked of the source again", reading_ahead_fills_the_cache},
	{"a change behind a cache of attributes is seen", a_change_behind_the_cache})
