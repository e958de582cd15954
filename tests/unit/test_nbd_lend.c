/* SPDX-License-Identifier: Apache-2.0 */
/* Large reads of a plain file, which are answered with the file's own pages: the right bytes come, also
 * late, and what cannot come any more is said or ends the connection. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>

#include "base/cleanup.h"
#include "export/export.h"
#include "nbd_client.h"
#include "tap.h"

enum { DEVICES = 2, SIZE = 8 << 20, LARGE = 128 << 10, MANY = SIZE / LARGE };

static uint8_t content[SIZE], heard[SIZE];

static struct server {
	char path[64];
	int fds[DEVICES]; /* the files, to do things to them */
	struct block_device *devices[DEVICES];
	struct engine *engines[DEVICES];
	struct loop *loop;
	struct export *export;
	struct loop_fd end;
	pthread_t thread;
	atomic_int notes;
} server;

static void count_note(void *ctx, const char *sentence)
{
	server.notes++;
	printf("# %s\n", sentence);
}

static void end(struct loop_fd *self, short revents)
{
	loop_stop(server.loop, 0);
}

static void *serve(void *argument)
{
	loop_run(server.loop);
	return NULL;
}

static int make_file(void)
{
	char path[] = "/var/tmp/ramet-nbd-XXXXXX";
	int fd = mkstemp(path);
	CHECK(fd >= 0 && unlink(path) == 0);
	CHECK(pwrite(fd, content, SIZE, 0) == SIZE && fdatasync(fd) == 0);
	return fd;
}

static void start(void)
{
	static const char *const names[DEVICES] = {"one", "two"};
	const struct engine_options engine = {0};
	struct export_device devices[DEVICES];
	struct ramet_error err = {0};
	/* sendfile() has no flag against it. */
	signal(SIGPIPE, SIG_IGN);
	server = (struct server){.end = {.events = POLLIN, .ready = end}};
	snprintf(server.path, sizeof server.path, "/tmp/ramet-nbd-lend-%d", (int)getpid());
	REQUIRE(loop_new(&server.loop, &err) == 0);
	for (unsigned i = 0; i < DEVICES; i++) {
		server.fds[i] = make_file();
		REQUIRE(block_file_open(dup(server.fds[i]), true, &server.devices[i], &err) == 0);
		REQUIRE(engine_new(server.devices[i], &engine, &server.engines[i], &err) == 0);
		REQUIRE(loop_add_engine(server.loop, server.engines[i]) == 0);
		devices[i] = (struct export_device){
			.name = names[i], .device = server.devices[i], .engine = server.engines[i]};
	}
	server.end.fd = eventfd(0, EFD_CLOEXEC);
	REQUIRE(loop_add(server.loop, &server.end) == 0);
	const struct export_options options = {.loop = server.loop,
		.devices = devices,
		.device_count = DEVICES,
		.address = server.path,
		.note = count_note};
	REQUIRE(export_find("nbd")->open(&options, &server.export, &err) == 0);
	REQUIRE(pthread_create(&server.thread, NULL, serve, NULL) == 0);
}

static void stop(void)
{
	REQUIRE(write(server.end.fd, &(uint64_t){1}, 8) == 8);
	pthread_join(server.thread, NULL);
	server.export->ops->stop(server.export);
	for (unsigned i = 0; i < DEVICES; i++)
		engine_drain(server.engines[i]);
	server.export->ops->close(server.export);
	for (unsigned i = 0; i < DEVICES; i++) {
		engine_free(server.engines[i]);
		block_close(server.devices[i]);
		close(server.fds[i]);
	}
	loop_free(server.loop);
	close(server.end.fd);
}

static struct client open_export(const char *name, bool structured)
{
	struct client client = client_connect(server.path);
	CHECK(client_greet(&client, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES));
	if (structured)
		CHECK_EQ(client_ask(&client, NBD_OPT_STRUCTURED_REPLY, NULL, 0), NBD_REP_ACK);
	CHECK_EQ(client_name(&client, NBD_OPT_GO, name), NBD_REP_ACK);
	return client;
}

/* Both files are other bytes after this. */
static void make_content(void)
{
	srand(tap_seed());
	for (size_t i = 0; i < SIZE; i++)
		content[i] = (uint8_t)(rand() >> 7);
}

static bool is_right(struct client *client, uint64_t offset, uint32_t length)
{
	const struct asked read = {NBD_CMD_READ, 0, offset, length};
	return client_do(client, read, heard) == 0 && memcmp(heard, content + offset, length) == 0;
}

static void any_range(void)
{
	make_content();
	start();
	struct client simple = open_export("one", false), chunks = open_export("two", true);
	for (unsigned i = 0; i < 300; i++) {
		uint32_t length = 1 + (uint32_t)rand() % (300 << 10);
		uint64_t offset = (uint64_t)rand() % (SIZE - length);
		if (i % 10 == 0)
			offset = SIZE - length;
		CHECK(is_right(&simple, offset, length));
		uint8_t header[NBD_CHUNK_HEADER + 8];
		client_request(&chunks, (struct asked){NBD_CMD_READ, 0, offset, length}, i);
		CHECK(client_hear(&chunks, header, sizeof header));
		CHECK_EQ(nbd_get16(header + 4), NBD_REPLY_FLAG_DONE);
		CHECK_EQ(nbd_get16(header + 6), NBD_REPLY_TYPE_OFFSET_DATA);
		CHECK_EQ(nbd_get64(header + NBD_CHUNK_HEADER), offset);
		CHECK_EQ(nbd_get32(header + 16), 8 + length);
		CHECK(client_hear(&chunks, heard, length));
		CHECK(memcmp(heard, content + offset, length) == 0);
	}
	close(simple.fd);
	close(chunks.fd);
	stop();
}

static void not_cached(void)
{
	make_content();
	start();
	struct client c = open_export("one", false);
	for (unsigned i = 0; i < 50; i++) {
		uint64_t offset = (uint64_t)rand() % (SIZE - 2 * LARGE);
		posix_fadvise(
			server.fds[0], (off_t)offset + rand() % LARGE, LARGE, POSIX_FADV_DONTNEED);
		CHECK(is_right(&c, offset, 2 * LARGE));
	}
	close(c.fd);
	stop();
}

static void shorter(void)
{
	make_content();
	start();
	struct client c = open_export("one", false);
	CHECK(is_right(&c, SIZE - LARGE, LARGE));
	CHECK_EQ(ftruncate(server.fds[0], SIZE - LARGE / 2), 0);
	const struct asked gone = {NBD_CMD_READ, 0, SIZE - LARGE, LARGE};
	CHECK_EQ(client_do(&c, gone, heard), NBD_EIO);
	CHECK(is_right(&c, 0, LARGE));
	close(c.fd);
	CHECK_EQ(server.notes, 0);
	stop();
}

/* All of the file, and nothing is taken of the answers, which are more than a socket has room for. */
static void ask_all(struct client *client)
{
	for (unsigned i = 0; i < MANY; i++) {
		const struct asked read = {NBD_CMD_READ, 0, (uint64_t)i * LARGE, LARGE};
		client_request(client, read, i);
	}
}

static void left_lying(void)
{
	make_content();
	start();
	struct client late = open_export("one", false), lost = open_export("two", false);
	ask_all(&late);
	ask_all(&lost);
	usleep(2300000);
	CHECK_EQ(posix_fadvise(server.fds[0], 0, 0, POSIX_FADV_DONTNEED), 0);
	CHECK_EQ(ftruncate(server.fds[1], 0), 0);
	for (unsigned i = 0; i < MANY; i++)
		CHECK_EQ(client_reply(&late, i, heard + i * LARGE, LARGE), 0);
	CHECK(memcmp(heard, content, SIZE) == 0);
	CHECK(client_is_dropped(&lost));
	CHECK_EQ(server.notes, 1);
	close(late.fd);
	close(lost.fd);
	stop();
}

static void broken_promises(void)
{
	make_content();
	start();
	struct client lost = open_export("one", false), gone = open_export("one", false);
	ask_all(&lost);
	ask_all(&gone);
	close(gone.fd);
	struct client other = open_export("two", false);
	CHECK(is_right(&other, 0, LARGE));
	CHECK_EQ(ftruncate(server.fds[0], 0), 0);
	CHECK(client_is_dropped(&lost));
	CHECK(is_right(&other, LARGE, LARGE));
	CHECK_EQ(server.notes, 1);
	/* And one whose answers lie there when the server ends. */
	ask_all(&other);
	stop();
	close(lost.fd);
	close(other.fd);
}

TEST_MAIN({"any range is answered with its bytes, simply and in chunks", any_range},
	{"what is cached in part is read whole", not_cached},
	{"a file that became shorter is an error of its request", shorter},
	{"answers that are left lying come all the same, or end the connection", left_lying},
	{"what was promised and is gone ends the connection, and no other", broken_promises})
