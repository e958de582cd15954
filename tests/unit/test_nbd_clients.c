/* SPDX-License-Identifier: Apache-2.0 */
/* NBD clients that mean no good, or go away: each costs its own connection, and no more. */
#include "nbd_server.h"

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
	/* Nobody keeps a place for ever by saying nothing. */
	sleep(6);
	REQUIRE(is_served());
	CHECK(client_is_dropped(&many[0]));
	for (unsigned i = 0; i < ARRAY_SIZE(many); i++)
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

TEST_MAIN({"clients that vanish leave nothing behind", clients_that_vanish},
	{"clients that never read cost bounded memory, and nobody else", clients_that_never_read},
	{"a client too many is turned away, or takes the place of one that says nothing",
		too_many_clients},
	{"conversations with flipped bits do no harm", mutations})
