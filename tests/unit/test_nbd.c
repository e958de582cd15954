/* SPDX-License-Identifier: Apache-2.0 */
/* The NBD server and clients that mean no good, or go away: each costs its own connection, and no
 * more. The server runs in a thread, over a device whose blocks are data, zeros, or slow. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>

#include "base/cleanup.h"
#include "export/export.h"
#include "nbd_client.h"
#include "tap.h"

#define SIZE  ((uint64_t)8 << 20)
#define BLOCK ((uint64_t)64 << 10) /* of one kind */

struct slow_device {
	struct block_device device;
	int fd;
	atomic_int flushes, waits;
	atomic_bool wait_long;
};

static int slow_map(struct block_device *device, uint64_t offset, uint64_t length,
	struct block_extent *extents, unsigned most)
{
	const struct slow_device *slow = (const struct slow_device *)device;
	unsigned count = 0;
	for (; length && count < most; count++) {
		uint64_t part = MIN(length, BLOCK - offset % BLOCK);
		extents[count] = (struct block_extent){
			.kind = (offset / BLOCK) % 4 == 1 ? BLOCK_ZERO : BLOCK_DATA,
			.fd = slow->fd,
			.offset = offset,
			.length = part};
		if ((offset / BLOCK) % 4 == 2 && slow->wait_long) {
			extents[count++].kind = BLOCK_WAIT;
			break;
		}
		offset += part;
		length -= part;
	}
	return (int)count;
}

static int slow_ready(struct block_device *device, const struct block_extent *extent)
{
	((struct slow_device *)device)->waits++;
	usleep(50000);
	((struct slow_device *)device)->wait_long = false;
	return 0;
}

static int slow_prepare(struct block_device *device, uint64_t offset, uint64_t length,
	struct block_extent *extents, unsigned most)
{
	extents[0] = (struct block_extent){.kind = BLOCK_DATA,
		.fd = ((struct slow_device *)device)->fd,
		.offset = offset,
		.length = length};
	return 1;
}

static int slow_flush(struct block_device *device)
{
	((struct slow_device *)device)->flushes++;
	return 0;
}

static const struct block_ops slow_ops = {
	.name = "slow",
	.map = slow_map,
	.ready = slow_ready,
	.prepare_write = slow_prepare,
	.flush = slow_flush,
};

static struct server {
	char path[64];
	struct slow_device slow;
	struct block_device *fixed;
	struct loop *loop;
	struct engine *engines[2];
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

static int scratch_file(uint64_t size)
{
	char path[] = "/var/tmp/ramet-nbd-XXXXXX";
	int fd = mkstemp(path);
	if (fd < 0 || unlink(path) < 0 || ftruncate(fd, (off_t)size) < 0)
		return -1;
	return fd;
}

static void start(void)
{
	struct ramet_error err = {0};
	const struct engine_options options = {0};
	server.slow = (struct slow_device){
		.device = {.ops = &slow_ops, .size = SIZE}, .fd = scratch_file(SIZE)};
	server.notes = 0;
	snprintf(server.path, sizeof server.path, "/tmp/ramet-nbd-%d", (int)getpid());
	REQUIRE(block_file_open(scratch_file(SIZE), true, &server.fixed, &err) == 0);
	REQUIRE(loop_new(&server.loop, &err) == 0);
	REQUIRE(engine_new(&server.slow.device, &options, &server.engines[0], &err) == 0);
	REQUIRE(engine_new(server.fixed, &options, &server.engines[1], &err) == 0);
	REQUIRE(loop_add_engine(server.loop, server.engines[0]) == 0);
	REQUIRE(loop_add_engine(server.loop, server.engines[1]) == 0);
	server.end = (struct loop_fd){
		.fd = eventfd(0, EFD_CLOEXEC), .events = POLLIN, .ready = end};
	REQUIRE(loop_add(server.loop, &server.end) == 0);
	const struct export_device devices[] = {
		{.name = "slow", .device = &server.slow.device, .engine = server.engines[0]},
		{.name = "fixed", .device = server.fixed, .engine = server.engines[1]}};
	const struct export_options export = {.loop = server.loop,
		.devices = devices,
		.device_count = 2,
		.address = server.path,
		.note = count_note};
	REQUIRE(export_find("nbd")->open(&export, &server.export, &err) == 0);
	REQUIRE(pthread_create(&server.thread, NULL, serve, NULL) == 0);
}

static void stop(void)
{
	REQUIRE(write(server.end.fd, &(uint64_t){1}, 8) == 8);
	pthread_join(server.thread, NULL);
	server.export->ops->stop(server.export);
	engine_drain(server.engines[0]);
	engine_drain(server.engines[1]);
	server.export->ops->close(server.export);
	engine_free(server.engines[0]);
	engine_free(server.engines[1]);
	loop_free(server.loop);
	block_close(server.fixed);
	close(server.slow.fd);
	close(server.end.fd);
}

/* A client past its handshake, with simple replies. */
static struct client open_export(const char *name)
{
	struct client client = client_connect(server.path);
	CHECK(client_greet(&client, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES));
	CHECK_EQ(client_name(&client, NBD_OPT_GO, name), NBD_REP_ACK);
	return client;
}

static uint8_t bytes[(size_t)1 << 20];

static bool is_served(void)
{
	struct client client = open_export("slow");
	const struct asked read = {NBD_CMD_READ, 0, 0, 4096};
	bool served = client_do(&client, read, bytes) == 0;
	close(client.fd);
	return served;
}

/* ------------------------------------------------------------------------------------------- */

static void options_in_any_order(void)
{
	static uint8_t much[(size_t)64 << 10];
	char name[5001];
	start();
	struct client c = client_connect(server.path);
	CHECK(client_greet(&c, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES));
	CHECK_EQ(client_context(&c, NBD_OPT_SET_META_CONTEXT, "", "base:allocation"),
		NBD_REP_ERR_INVALID);
	CHECK_EQ(client_ask(&c, NBD_OPT_STARTTLS, NULL, 0), NBD_REP_ERR_UNSUP);
	CHECK_EQ(client_ask(&c, 11, NULL, 0), NBD_REP_ERR_UNSUP); /* extended headers */
	CHECK_EQ(client_ask(&c, UINT32_MAX, "?", 1), NBD_REP_ERR_UNSUP);
	CHECK_EQ(client_ask(&c, NBD_OPT_LIST, "?", 1), NBD_REP_ERR_INVALID);
	CHECK_EQ(client_ask(&c, NBD_OPT_LIST, NULL, 0), NBD_REP_ACK);
	CHECK_EQ(client_ask(&c, NBD_OPT_STRUCTURED_REPLY, "?", 1), NBD_REP_ERR_INVALID);
	CHECK_EQ(client_ask(&c, NBD_OPT_STRUCTURED_REPLY, NULL, 0), NBD_REP_ACK);
	CHECK_EQ(client_context(&c, NBD_OPT_LIST_META_CONTEXT, "", "base:"), NBD_REP_ACK);
	CHECK_EQ(client_context(&c, NBD_OPT_SET_META_CONTEXT, "", "qemu:dirty"), NBD_REP_ACK);
	CHECK_EQ(client_context(&c, NBD_OPT_SET_META_CONTEXT, "nobody", "base:allocation"),
		NBD_REP_ERR_UNKNOWN);
	CHECK_EQ(client_ask(&c, NBD_OPT_GO, "\0\0\0\0", 4), NBD_REP_ERR_INVALID);
	CHECK_EQ(client_ask(&c, NBD_OPT_GO, "\377\377\377\377\0\0", 6), NBD_REP_ERR_INVALID);
	CHECK_EQ(client_ask(&c, NBD_OPT_INFO, "\0\0\0\0\0\1", 6), NBD_REP_ERR_INVALID);
	CHECK_EQ(client_ask(&c, NBD_OPT_SET_META_CONTEXT, "\0\0\0\0\377\377\377\377", 8),
		NBD_REP_ERR_INVALID);
	CHECK_EQ(client_ask(&c, NBD_OPT_GO, NULL, 0), NBD_REP_ERR_INVALID);
	memset(name, 'n', sizeof name - 1);
	name[sizeof name - 1] = '\0';
	CHECK_EQ(client_name(&c, NBD_OPT_GO, name), NBD_REP_ERR_UNKNOWN);
	CHECK_EQ(client_ask(&c, NBD_OPT_GO, much, sizeof much), NBD_REP_ERR_TOO_BIG);
	CHECK_EQ(client_name(&c, NBD_OPT_INFO, "fixed"), NBD_REP_ACK);
	CHECK_EQ(client_name(&c, NBD_OPT_GO, ""), NBD_REP_ACK);
	close(c.fd);
	CHECK(is_served());
	CHECK_EQ(server.notes, 0);
	stop();
}

static void old_clients(void)
{
	uint8_t reply[8 + 2 + 124];
	start();
	struct client c = client_connect(server.path);
	CHECK(client_greet(&c, 0));
	client_option(&c, NBD_OPT_EXPORT_NAME, "fixed", 5);
	CHECK(client_hear(&c, reply, sizeof reply));
	CHECK_EQ(nbd_get64(reply), SIZE);
	CHECK(nbd_get16(reply + 8) & NBD_FLAG_READ_ONLY);
	const struct asked read = {NBD_CMD_READ, 0, SIZE - 512, 512};
	CHECK_EQ(client_do(&c, read, bytes), 0);
	close(c.fd);
	stop();
}

static void garbage(void)
{
	start();
	struct client c = client_connect(server.path);
	CHECK(client_greet(&c, UINT32_MAX));
	CHECK(client_is_dropped(&c));
	close(c.fd);
	c = client_connect(server.path);
	CHECK(client_greet(&c, NBD_FLAG_FIXED_NEWSTYLE));
	client_say(&c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 35);
	CHECK(client_is_dropped(&c));
	close(c.fd);
	c = client_connect(server.path);
	CHECK(client_greet(&c, 0));
	client_option(&c, NBD_OPT_EXPORT_NAME, "nobody", 6);
	CHECK(client_is_dropped(&c));
	close(c.fd);
	c = client_connect(server.path);
	CHECK(client_greet(&c, 0));
	client_option(&c, NBD_OPT_LIST, NULL, 0);
	CHECK(client_is_dropped(&c));
	close(c.fd);
	c = open_export("slow");
	client_say(&c, "no request at all, but long enough", 34);
	CHECK(client_is_dropped(&c));
	close(c.fd);
	CHECK_EQ(server.notes, 5);
	CHECK(is_served());
	stop();
}

static void requests_that_cannot_be(void)
{
	start();
	static const struct {
		struct asked asked;
		int error;
	} all[] = {
		{{NBD_CMD_READ, 0, SIZE - 512, 1024}, NBD_EINVAL},
		{{NBD_CMD_READ, 0, UINT64_MAX - 100, 512}, NBD_EINVAL},
		{{NBD_CMD_READ, 0, 0, ((uint32_t)32 << 20) + 1}, NBD_EINVAL},
		{{NBD_CMD_READ, 0, 0, UINT32_MAX}, NBD_EINVAL},
		{{NBD_CMD_READ, NBD_CMD_FLAG_DF, 0, 512}, NBD_EINVAL},
		{{NBD_CMD_READ, 0, 7, 0}, 0},
		{{NBD_CMD_READ, 0, 7, 13}, 0},
		{{NBD_CMD_WRITE, 0, SIZE, 512}, NBD_ENOSPC},
		{{NBD_CMD_WRITE, 0, 100, 512}, NBD_EINVAL},
		{{NBD_CMD_WRITE, 0, 512, 100}, NBD_EINVAL},
		{{NBD_CMD_WRITE, NBD_CMD_FLAG_NO_HOLE, 512, 512}, NBD_EINVAL},
		{{NBD_CMD_WRITE, 0, 512, 0}, 0},
		{{NBD_CMD_TRIM, 0, SIZE, UINT32_MAX & ~UINT32_C(511)}, NBD_ENOSPC},
		{{NBD_CMD_TRIM, 0, 0, 4096}, 0},
		{{NBD_CMD_WRITE_ZEROES, 0, 1, 512}, NBD_EINVAL},
		{{NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_FAST_ZERO, 0, 512}, NBD_ENOTSUP},
		{{NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_FUA, 0, (uint32_t)3 << 20}, 0},
		{{NBD_CMD_BLOCK_STATUS, 0, 0, 512}, NBD_EINVAL},
		{{NBD_CMD_FLUSH, 0, 0, 0}, 0},
		{{NBD_CMD_FLUSH, 0x8000, 0, 0}, NBD_EINVAL},
		{{5, 0, 0, 512}, NBD_EINVAL},
		{{0xffff, 0, 0, 512}, NBD_EINVAL},
	};
	struct client c = open_export("slow");
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		CHECK_EQ(client_do(&c, all[i].asked, bytes), all[i].error);
	/* More than any write may have is thrown away as it comes, and the next request is found. */
	const struct asked huge = {NBD_CMD_WRITE, 0, 0, ((uint32_t)32 << 20) + 512};
	client_request(&c, huge, 1);
	for (unsigned i = 0; i < 32; i++)
		client_say(&c, bytes, sizeof bytes);
	client_say(&c, bytes, 512);
	CHECK_EQ(client_reply(&c, 1, NULL, 0), NBD_EINVAL);
	const struct asked flush = {NBD_CMD_FLUSH, 0, 0, 0};
	CHECK_EQ(client_do(&c, flush, bytes), 0);
	close(c.fd);
	c = open_export("fixed");
	const struct asked write = {NBD_CMD_WRITE, 0, 0, 65536};
	CHECK_EQ(client_do(&c, write, bytes), NBD_EPERM);
	const struct asked zero = {NBD_CMD_WRITE_ZEROES, 0, 0, 4096};
	CHECK_EQ(client_do(&c, zero, bytes), NBD_EPERM);
	CHECK_EQ(client_do(&c, flush, bytes), 0);
	close(c.fd);
	CHECK_EQ(server.notes, 0);
	stop();
}

static void what_is_written_is_read(void)
{
	static uint8_t back[sizeof bytes];
	start();
	srand(tap_seed());
	struct client c = open_export("slow");
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)rand();
	for (size_t i = 0; i < sizeof bytes / BLOCK; i++)
		if (i % 4 == 1)
			memset(bytes + i * BLOCK, 0, BLOCK);
	const struct asked write = {NBD_CMD_WRITE, NBD_CMD_FLAG_FUA, 0, sizeof bytes};
	const struct asked read = {NBD_CMD_READ, 0, 0, sizeof bytes};
	CHECK_EQ(client_do(&c, write, bytes), 0);
	CHECK_EQ(server.slow.flushes, 1);
	CHECK_EQ(client_do(&c, read, back), 0);
	CHECK(memcmp(bytes, back, sizeof bytes) == 0);
	const struct asked flush = {NBD_CMD_FLUSH, 0, 0, 0};
	CHECK_EQ(client_do(&c, flush, bytes), 0);
	CHECK_EQ(server.slow.flushes, 2);
	/* Many at once, in pieces that begin and end anywhere. */
	for (unsigned round = 0; round < 50; round++) {
		uint8_t requests[100 * NBD_REQUEST_HEADER], *at = requests;
		uint64_t offset[100];
		for (unsigned i = 0; i < 100; i++) {
			offset[i] = (uint64_t)rand() % (sizeof bytes - 600);
			at = nbd_put32(at, NBD_REQUEST_MAGIC);
			at = nbd_put64(nbd_put32(at, NBD_CMD_READ), i);
			at = nbd_put32(nbd_put64(at, offset[i]), 600);
		}
		for (size_t said = 0; said < sizeof requests;) {
			size_t most = 1 + (size_t)rand() % 500;
			size_t part = MIN(sizeof requests - said, most);
			client_say(&c, requests + said, part);
			said += part;
		}
		for (unsigned i = 0; i < 100; i++) {
			uint8_t reply[NBD_SIMPLE_HEADER + 600];
			CHECK(client_hear(&c, reply, sizeof reply));
			uint64_t cookie = nbd_get64(reply + 8);
			CHECK(cookie < 100 && nbd_get32(reply + 4) == 0);
			CHECK(memcmp(reply + NBD_SIMPLE_HEADER, bytes + offset[cookie % 100],
				      600) == 0);
		}
	}
	close(c.fd);
	stop();
}

static void block_status(void)
{
	uint8_t reply[NBD_CHUNK_HEADER + 4 + 5 * 8];
	start();
	struct client c = client_connect(server.path);
	CHECK(client_greet(&c, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES));
	CHECK_EQ(client_ask(&c, NBD_OPT_STRUCTURED_REPLY, NULL, 0), NBD_REP_ACK);
	CHECK_EQ(client_context(&c, NBD_OPT_SET_META_CONTEXT, "slow", "base:allocation"),
		NBD_REP_ACK);
	CHECK_EQ(client_name(&c, NBD_OPT_GO, ""), NBD_REP_ACK);
	const struct asked status = {NBD_CMD_BLOCK_STATUS, 0, 1024, (uint32_t)(8 * BLOCK)};
	client_request(&c, status, 5);
	CHECK(client_hear(&c, reply, sizeof reply));
	CHECK_EQ(nbd_get32(reply), NBD_STRUCTURED_REPLY_MAGIC);
	CHECK_EQ(nbd_get32(reply + 16), 4 + 5 * 8);
	static const uint32_t expected[5][2] = {{(uint32_t)BLOCK - 1024, 0},
		{(uint32_t)BLOCK, NBD_STATE_HOLE | NBD_STATE_ZERO}, {3 * (uint32_t)BLOCK, 0},
		{(uint32_t)BLOCK, NBD_STATE_HOLE | NBD_STATE_ZERO},
		{2 * (uint32_t)BLOCK + 1024, 0}};
	for (unsigned i = 0; i < 5; i++) {
		CHECK_EQ(nbd_get32(reply + NBD_CHUNK_HEADER + 4 + i * 8), expected[i][0]);
		CHECK_EQ(nbd_get32(reply + NBD_CHUNK_HEADER + 8 + i * 8), expected[i][1]);
	}
	const struct asked one = {
		NBD_CMD_BLOCK_STATUS, NBD_CMD_FLAG_REQ_ONE, 2 * BLOCK, (uint32_t)BLOCK * 8};
	client_request(&c, one, 6);
	CHECK(client_hear(&c, reply, NBD_CHUNK_HEADER + 4 + 8));
	CHECK_EQ(nbd_get32(reply + NBD_CHUNK_HEADER + 4), 3 * BLOCK);
	/* An error has a chunk of its own, and reads are one. */
	const struct asked beyond = {NBD_CMD_READ, NBD_CMD_FLAG_DF, SIZE, 512};
	client_request(&c, beyond, 7);
	CHECK(client_hear(&c, reply, NBD_CHUNK_HEADER + 6));
	CHECK_EQ(nbd_get16(reply + 6), NBD_REPLY_TYPE_ERROR);
	CHECK_EQ(nbd_get32(reply + NBD_CHUNK_HEADER), NBD_EINVAL);
	close(c.fd);
	stop();
}

static void clients_that_vanish(void)
{
	start();
	for (unsigned i = 0; i < 20; i++) {
		struct client c = open_export("slow");
		server.slow.wait_long = true;
		for (unsigned k = 0; k < 30; k++) {
			const struct asked read = {NBD_CMD_READ, 0, k * BLOCK, (uint32_t)BLOCK};
			client_request(&c, read, k);
		}
		const struct asked write = {NBD_CMD_WRITE, 0, 0, 65536};
		client_request(&c, write, 99);
		client_say(&c, bytes, (size_t)i * 3000);
		close(c.fd);
	}
	server.slow.wait_long = false;
	CHECK(is_served());
	/* And one whose requests are under way when the server ends. */
	usleep(100000);
	int before = server.slow.waits;
	server.slow.wait_long = true;
	struct client c = open_export("slow");
	const struct asked read = {NBD_CMD_READ, 0, 2 * BLOCK, (uint32_t)BLOCK};
	client_request(&c, read, 1);
	while (server.slow.waits == before)
		usleep(1000);
	stop();
	CHECK_EQ(client_reply(&c, 1, bytes, BLOCK), 0);
	close(c.fd);
	CHECK_EQ(server.notes, 0);
}

static long resident_kib(void)
{
	long pages = 0;
	_cleanup_fclose_ FILE *statm = fopen("/proc/self/statm", "r");
	if (!statm || fscanf(statm, "%*d %ld", &pages) != 1)
		return -1;
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void clients_that_never_read(void)
{
	start();
	long before = resident_kib();
	struct client deaf[4];
	for (unsigned i = 0; i < 4; i++) {
		deaf[i] = open_export("slow");
		fcntl(deaf[i].fd, F_SETFL, O_NONBLOCK);
		for (unsigned k = 0; k < 5000; k++) {
			const struct asked read = {NBD_CMD_READ, 0, 0, 1 << 20};
			client_request(&deaf[i], read, k);
		}
	}
	CHECK(is_served());
	long grown = resident_kib() - before;
	printf("# four clients that never read cost %ld KiB\n", grown);
	CHECK(grown < 80 << 10);
	for (unsigned i = 0; i < 4; i++)
		close(deaf[i].fd);
	CHECK(is_served());
	stop();
}

static void too_many_clients(void)
{
	start();
	struct client many[64];
	for (unsigned i = 0; i < ARRAY_SIZE(many); i++) {
		many[i] = client_connect(server.path);
		CHECK(client_greet(&many[i], NBD_FLAG_FIXED_NEWSTYLE));
	}
	struct client late = client_connect(server.path);
	CHECK(client_is_dropped(&late));
	CHECK_EQ(server.notes, 1);
	close(late.fd);
	close(many[0].fd);
	usleep(50000);
	CHECK(is_served());
	for (unsigned i = 1; i < ARRAY_SIZE(many); i++)
		close(many[i].fd);
	stop();
}

/* A whole conversation, as bytes. */
static size_t make_conversation(uint8_t *at)
{
	uint8_t *begin = at;
	at = nbd_put32(at, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
	at = nbd_put32(nbd_put32(nbd_put64(at, NBD_OPTION_MAGIC), NBD_OPT_STRUCTURED_REPLY), 0);
	at = nbd_put32(nbd_put32(nbd_put64(at, NBD_OPTION_MAGIC), NBD_OPT_SET_META_CONTEXT), 27);
	at = nbd_put32(nbd_put32(nbd_put32(at, 0), 1), 15);
	at = nbd_put_bytes(at, "base:allocation", 15);
	at = nbd_put32(nbd_put32(nbd_put64(at, NBD_OPTION_MAGIC), NBD_OPT_GO), 6);
	at = nbd_put16(nbd_put32(at, 0), 0);
	for (unsigned i = 0; i < 20; i++) {
		uint16_t command = (uint16_t)(rand() % 8);
		at = nbd_put16(
			nbd_put32(at, NBD_REQUEST_MAGIC), (uint16_t)(rand() % 8 ? 0 : rand()));
		at = nbd_put64(nbd_put16(at, command == NBD_CMD_DISC ? 0 : command), i);
		at = nbd_put64(at, (uint64_t)(rand() % 1000) * 512);
		at = nbd_put32(at, (uint32_t)(rand() % 8) * 512);
		if (command == NBD_CMD_WRITE)
			at += nbd_get32(at - 4);
	}
	return (size_t)(at - begin);
}

static void mutations(void)
{
	static uint8_t conversation[(size_t)128 << 10];
	start();
	srand(tap_seed());
	for (unsigned round = 0; round < 400; round++) {
		size_t length = make_conversation(conversation);
		for (int i = rand() % 6; i; i--)
			conversation[(size_t)rand() % length] ^= (uint8_t)(1 << rand() % 8);
		if (rand() % 4 == 0)
			length = (size_t)rand() % length;
		struct client c = client_connect(server.path);
		fcntl(c.fd, F_SETFL, rand() % 2 ? O_NONBLOCK : 0);
		client_say(&c, conversation, length);
		if (rand() % 2)
			shutdown(c.fd, SHUT_WR);
		recv(c.fd, bytes, (size_t)rand() % 3000, MSG_DONTWAIT);
		close(c.fd);
	}
	usleep(200000); /* what they wrote may still be on its way, and they count until it is there */
	CHECK(is_served());
	stop();
}

TEST_MAIN({"options in any order are answered, and then one works", options_in_any_order},
	{"a client of the old handshake is served", old_clients},
	{"garbage ends its own connection, and is told of", garbage},
	{"a request that cannot be has its error, and the next one is served",
		requests_that_cannot_be},
	{"what is written is read, also in pieces and many at once", what_is_written_is_read},
	{"block status tells data from zeros", block_status},
	{"clients that vanish leave nothing behind", clients_that_vanish},
	{"clients that never read cost bounded memory, and nobody else", clients_that_never_read},
	{"a client too many is turned away", too_many_clients},
	{"conversations with flipped bits do no harm", mutations})
