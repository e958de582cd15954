/* SPDX-License-Identifier: Apache-2.0 */
/* The NBD server, request by request: what is asked for is answered, and what cannot be has its error. */
#include "nbd_server.h"

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

TEST_MAIN({"options in any order are answered, and then one works", options_in_any_order},
	{"a client of the old handshake is served", old_clients},
	{"garbage ends its own connection, and is told of", garbage},
	{"a request that cannot be has its error, and the next one is served",
		requests_that_cannot_be},
	{"what is written is read, also in pieces and many at once", what_is_written_is_read},
	{"block status tells data from zeros", block_status})
