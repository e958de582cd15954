/* SPDX-License-Identifier: Apache-2.0 */
/* The device of a lazy file: it answers what its sources hold, and where they changed an I/O error
 * for exactly their blocks. */
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "tests/unit/sources.h"

#define FILES 100

static void seed(void)
{
	static bool seeded;
	if (!seeded)
		srand(tap_seed());
	seeded = true;
}

static void reads_are_right(struct block_layout_options options, struct engine_options engine)
{
	enum { AT_ONCE = 64 };
	struct world world;
	struct reading readings[AT_ONCE] = {0};
	seed();
	world_files(&world, FILES, 40000);
	world_describe(&world);
	REQUIRE(!tap_failed);
	world_serve(&world, options, engine);
	for (int round = 0; round < 60; round++) {
		for (int i = 0; i < AT_ONCE; i++) {
			uint64_t length = 1 + (uint64_t)rand() % (rand() % 4 ? 8192 : 300000);
			length = MIN(length, world.bytes);
			reading_begin(&world, &readings[i],
				(uint64_t)rand() % (world.bytes - length + 1), length);
		}
		engine_drain(world.engine);
		for (int i = 0; i < AT_ONCE; i++)
			CHECK(reading_is_right(&world, &readings[i]));
		REQUIRE(!tap_failed);
	}
	CHECK_EQ(world.note_count, 0);
	for (int i = 0; i < AT_ONCE; i++)
		free(readings[i].memory);
	world_end_serving(&world);
	world_end(&world);
}

static void many_files_by_ring(void)
{
	reads_are_right((struct block_layout_options){0}, (struct engine_options){0});
}

static void two_open_files_by_ring(void)
{
	reads_are_right((struct block_layout_options){.open_files = 2},
		(struct engine_options){.depth = 24});
}

static void two_open_files_by_threads(void)
{
	reads_are_right((struct block_layout_options){.open_files = 2},
		(struct engine_options){.no_ring = true, .no_quick = true, .workers = 5});
}

static unsigned open_fds(void)
{
	unsigned count = 0;
	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void open_files_are_bounded(void)
{
	struct world world;
	seed();
	world_files(&world, FILES, 5000);
	world_describe(&world);
	REQUIRE(!tap_failed);
	world_serve(
		&world, (struct block_layout_options){.open_files = 3}, (struct engine_options){0});
	unsigned before = open_fds();
	for (unsigned i = 0; i < FILES; i++)
		CHECK_EQ(read_index(&world, i), 0);
	CHECK(open_fds() <= before + 3);
	world_end_serving(&world);
	world_end(&world);
}

/* Nothing stalls, so the pool does not grow. */
static void have_few_threads(struct world *world, const struct engine_options *options)
{
	struct ramet_error err = {0};
	engine_free(world->engine);
	world->device->stall_ms = 0;
	REQUIRE(engine_new(world->device, options, &world->engine, &err) == 0);
}

/* A process that may open ten files more reads what is in a hundred, many at once. few_threads: those who
 * wait for a file to be closed are as many as there are threads. */
static void few_descriptors_are_enough(bool no_ring, bool few_threads)
{
	struct world world;
	struct reading readings[FILES] = {0};
	struct rlimit before, few;
	seed();
	world_files(&world, FILES, 20000);
	world_describe(&world);
	REQUIRE(!tap_failed);
	const struct engine_options options = {.no_ring = no_ring, .no_quick = no_ring};
	world_serve(&world, (struct block_layout_options){0}, options);
	if (few_threads)
		have_few_threads(&world, &options);
	REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0);
	few = (struct rlimit){open_fds() + 10, before.rlim_max};
	REQUIRE(setrlimit(RLIMIT_NOFILE, &few) == 0);
	for (int round = 0; round < 3; round++) {
		for (unsigned i = 0; i < FILES; i++)
			if (world.size[i])
				reading_begin(&world, &readings[i], world.place[i], world.size[i]);
		engine_drain(world.engine);
		for (unsigned i = 0; i < FILES; i++)
			CHECK(!world.size[i] || reading_is_right(&world, &readings[i]));
	}
	CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
	CHECK_EQ(world.note_count, 0);
	for (unsigned i = 0; i < FILES; i++)
		free(readings[i].memory);
	world_end_serving(&world);
	world_end(&world);
}

static void few_descriptors_by_ring(void)
{
	few_descriptors_are_enough(false, false);
}

static void few_descriptors_by_threads(void)
{
	few_descriptors_are_enough(true, false);
}

static void few_descriptors_by_few_threads(void)
{
	few_descriptors_are_enough(true, true);
}

/* ------------------------------------------------------------------------------------------- */

static char *full_name(const struct world *world, unsigned index, char name[static 128])
{
	char within[32];
	file_name(index, within);
	snprintf(name, 128, "%s/%s", world->folder, within);
	return name;
}

static void set_time(const char *name, const struct stat *st)
{
	const struct timespec times[2] = {st->st_atim, st->st_mtim};
	CHECK(utimensat(AT_FDCWD, name, times, 0) == 0);
}

static void rewrite(const char *name)
{
	int fd = open(name, O_WRONLY | O_CLOEXEC);
	CHECK(pwrite(fd, "other", 5, 0) == 5);
	close(fd);
}

static void shrink(const char *name)
{
	struct stat st;
	CHECK(stat(name, &st) == 0 && truncate(name, st.st_size / 2) == 0);
	set_time(name, &st);
}

static void grow(const char *name)
{
	struct stat st;
	CHECK(stat(name, &st) == 0 && truncate(name, st.st_size + 1) == 0);
	set_time(name, &st);
}

static void remove_it(const char *name)
{
	CHECK(unlink(name) == 0);
}

/* With the same size and time: only the inode tells. */
static void replace(const char *name)
{
	char other[160];
	struct stat st;
	snprintf(other, sizeof other, "%s.new", name);
	CHECK(stat(name, &st) == 0);
	int fd = open(other, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	CHECK(fd >= 0 && ftruncate(fd, st.st_size) == 0);
	close(fd);
	set_time(other, &st);
	CHECK(rename(other, name) == 0);
}

/* The target is the right file itself. */
static void to_symlink(const char *name)
{
	char other[160];
	snprintf(other, sizeof other, "%s.old", name);
	CHECK(rename(name, other) == 0 && symlink(other, name) == 0);
}

static void to_fifo(const char *name)
{
	CHECK(unlink(name) == 0 && mkfifo(name, 0644) == 0);
}

static void to_folder(const char *name)
{
	CHECK(unlink(name) == 0 && mkdir(name, 0755) == 0);
}

static const struct change {
	const char *name;
	void (*make)(const char *name);
	const char *note;
} changes[] = {
	{"rewritten", rewrite, "changed since"},
	{"shrunk", shrink, "changed since"},
	{"grown", grow, "changed since"},
	{"removed", remove_it, "is gone since"},
	{"replaced", replace, "was replaced"},
	{"a symlink", to_symlink, "was replaced"},
	{"a fifo", to_fifo, "was replaced"},
	{"a folder", to_folder, "was replaced"},
};

/* warm: the files have been read, and are open, when they change. */
static void changes_give_errors(bool warm, struct engine_options engine)
{
	struct world world;
	char name[128], said[200];
	seed();
	world_files(&world, FILES, 20000);
	world_describe(&world);
	REQUIRE(!tap_failed);
	world_serve(&world, (struct block_layout_options){.open_files = FILES}, engine);
	for (unsigned i = 0; i < FILES && warm; i++)
		CHECK_EQ(read_index(&world, i), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(changes); i++)
		changes[i].make(full_name(&world, 10 + i, name));
	for (unsigned i = 0; i < FILES; i++) {
		bool changed = i >= 10 && i < 10 + ARRAY_SIZE(changes);
		/* A file that is open and was moved away is still the right one. */
		bool moved = warm && changed && changes[i - 10].make == to_symlink;
		for (int again = 0; again < 3; again++) {
			int result = read_index(&world, i);
			if (result != (changed && !moved ? -EIO : 0))
				printf("# %s: %d\n", changed ? changes[i - 10].name : "unchanged",
					result);
			CHECK_EQ(result, changed && !moved ? -EIO : 0);
		}
		if (!changed || moved)
			continue;
		full_name(&world, i, name);
		bool warm_replaced = warm && (changes[i - 10].make == replace ||
						     changes[i - 10].make == to_fifo ||
						     changes[i - 10].make == to_folder);
		snprintf(said, sizeof said, "%s %s", name,
			warm_replaced ? "is gone since" : changes[i - 10].note);
		if (!noted(&world, said))
			printf("# %s was not said, but: %s\n", said, world.notes.data);
		CHECK(noted(&world, said));
	}
	/* Exactly its blocks: what stands right before and behind is there. */
	struct reading reading = {0};
	reading_begin(&world, &reading, world.place[10] - 512, 512);
	engine_drain(world.engine);
	CHECK(reading_is_right(&world, &reading));
	reading_begin(&world, &reading, world.place[11] - 512, 1024);
	engine_drain(world.engine);
	CHECK_EQ(reading.result, -EIO);
	free(reading.memory);
	CHECK(world.note_count <= ARRAY_SIZE(changes) * 2);
	world_end_serving(&world);
	world_end(&world);
}

static void changes_before_they_are_opened(void)
{
	changes_give_errors(false, (struct engine_options){0});
}

static void changes_while_they_are_open(void)
{
	changes_give_errors(true, (struct engine_options){0});
}

static void changes_by_threads(void)
{
	changes_give_errors(true, (struct engine_options){.no_ring = true, .no_quick = true});
}

/* As tar does it: what was there is removed, and what is made may get the inode's number. Answers
 * whether it did. */
static bool make_anew(const char *name)
{
	struct stat before, after;
	CHECK(stat(name, &before) == 0 && unlink(name) == 0);
	int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	CHECK(fd >= 0 && ftruncate(fd, before.st_size) == 0 && fstat(fd, &after) == 0);
	close(fd);
	set_time(name, &before);
	return after.st_ino == before.st_ino;
}

static bool birth_is_told(const char *name)
{
	struct statx is;
	return statx(AT_FDCWD, name, 0, STATX_BTIME, &is) == 0 && tree_birth(&is);
}

static void made_anew_is_another(void)
{
	struct world world;
	char name[128];
	unsigned same = 0;
	seed();
	world_files(&world, FILES, 20000);
	if (!birth_is_told(full_name(&world, 0, name)))
		tap_skipped = "the filesystem of /tmp does not tell when a file was made";
	world_describe(&world);
	REQUIRE(!tap_failed);
	world_serve(&world, (struct block_layout_options){0}, (struct engine_options){0});
	for (unsigned i = 10; i < 30; i++)
		same += make_anew(full_name(&world, i, name));
	printf("# %u of 20 have the inode's number of the old one\n", same);
	for (unsigned i = 0; i < FILES && !tap_skipped; i++)
		CHECK_EQ(read_index(&world, i), i >= 10 && i < 30 ? -EIO : 0);
	world_end_serving(&world);
	world_end(&world);
}

static void put_back_is_right_again(void)
{
	struct world world;
	struct stat st;
	char name[128];
	seed();
	world_files(&world, 3, 20000);
	world_describe(&world);
	REQUIRE(!tap_failed);
	world_serve(&world, (struct block_layout_options){0}, (struct engine_options){0});
	CHECK_EQ(read_index(&world, 1), 0);
	full_name(&world, 1, name);
	CHECK(stat(name, &st) == 0);
	rewrite(name);
	CHECK_EQ(read_index(&world, 1), -EIO);
	int fd = open(name, O_WRONLY);
	CHECK_EQ(pwrite_full(fd, world.image + world.place[1], world.size[1], 0), 0);
	close(fd);
	set_time(name, &st);
	usleep(1100000);
	CHECK_EQ(read_index(&world, 1), 0);
	CHECK_EQ(world.note_count, 1);
	world_end_serving(&world);
	world_end(&world);
}

/* A folder on the way is a symlink to where it went; the root itself is gone. */
static void folders_that_moved(void)
{
	struct world world;
	char name[96], other[96];
	seed();
	world_files(&world, 20, 20000);
	world_describe(&world);
	REQUIRE(!tap_failed);
	world_serve(&world, (struct block_layout_options){0}, (struct engine_options){0});
	snprintf(name, sizeof name, "%s/d3", world.folder);
	snprintf(other, sizeof other, "%s/elsewhere", world.folder);
	REQUIRE(rename(name, other) == 0 && symlink(other, name) == 0);
	CHECK_EQ(read_index(&world, 3), -EIO);
	CHECK_EQ(read_index(&world, 4), 0);
	REQUIRE(folder_remove(AT_FDCWD, world.folder) == 0);
	CHECK_EQ(read_index(&world, 5), -EIO);
	CHECK_EQ(read_index(&world, 4), -EIO); /* open, but without a name */
	struct reading metadata = {0};
	reading_begin(&world, &metadata, 0, BLOCK);
	engine_drain(world.engine);
	CHECK(reading_is_right(&world, &metadata));
	free(metadata.memory);
	world_end_serving(&world);
	world_end(&world);
}

/* What is written again and again is either what it was, or an error: never other bytes. */
static void never_wrong_bytes(void)
{
	struct world world;
	char name[128];
	unsigned right = 0, refused = 0;
	seed();
	for (int round = 0; round < 12; round++) {
		world_files(&world, 2, 4000);
		world_describe(&world);
		REQUIRE(!tap_failed);
		world_serve(&world, (struct block_layout_options){0}, (struct engine_options){0});
		full_name(&world, 1, name);
		pid_t child = fork();
		if (child == 0) {
			usleep((useconds_t)(rand() % 40000) + (useconds_t)round);
			int fd = open(name, O_WRONLY);
			for (;;)
				if (pwrite(fd, "wrong bytes", 11, 0) < 0)
					_exit(1);
		}
		int result;
		while ((result = read_index(&world, 1)) == 0)
			right++;
		refused += result == -EIO;
		CHECK_EQ(result, -EIO);
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		world_end_serving(&world);
		world_end(&world);
	}
	printf("# %u were right, %u refused\n", right, refused);
	CHECK(right > 0);
}

TEST_MAIN({"reads are what the sources hold", many_files_by_ring},
	{"two open files are enough for a hundred", two_open_files_by_ring},
	{"two open files are enough for a hundred, by threads", two_open_files_by_threads},
	{"open files are bounded", open_files_are_bounded},
	{"a process that may open few files closes what it does not need", few_descriptors_by_ring},
	{"the same by threads", few_descriptors_by_threads},
	{"the same by few threads: who waits does not stand in the way of who has one",
		few_descriptors_by_few_threads},
	{"files that changed give errors for their blocks, and a note with their name",
		changes_before_they_are_opened},
	{"files that change while they are open do too", changes_while_they_are_open},
	{"files that change while they are open do too, by threads", changes_by_threads},
	{"a file made anew is another, though it may have the number, size and time of the old one",
		made_anew_is_another},
	{"a file that is put back as it was is right again", put_back_is_right_again},
	{"no symlink is followed, and a root that is gone is an error", folders_that_moved},
	{"bytes that changed are never answered", never_wrong_bytes})
