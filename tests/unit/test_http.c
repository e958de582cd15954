/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/http.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/tap.h"

static int parse(const char *text, struct http_response *response)
{
	return http_parse(text, strlen(text), response);
}

static void test_answers(void)
{
	struct http_response r;
	CHECK_EQ(parse("HTTP/1.1 204 \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n\r\n",
			 &r),
		1);
	CHECK_EQ(r.status, 204);
	CHECK_EQ(r.body_length, 0);
	CHECK_EQ(
		parse("HTTP/1.1 400 Bad Request\r\ncontent-length:  5 \r\n\r\nhello, and more", &r),
		1);
	CHECK_EQ(r.status, 400);
	CHECK(r.body_length == 5 && memcmp(r.body, "hello", 5) == 0);
	CHECK_EQ(parse("HTTP/1.0 200\r\n\r\n", &r), 1);
	CHECK_EQ(parse("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 \r\n\r\n", &r), 1);
	CHECK_EQ(r.status, 204);
	/* 204 has no body, whatever it says. */
	CHECK_EQ(parse("HTTP/1.1 204 \r\nContent-Length: 7\r\n\r\n", &r), 1);
	CHECK_EQ(r.body_length, 0);
}

static void test_pieces(void)
{
	static const char whole[] =
		"HTTP/1.1 400 \r\nContent-Type: application/json\r\nContent-Length: 21\r\n\r\n"
		"{\"fault_message\":\"x\"}";
	struct http_response r;
	for (size_t n = 0; n < sizeof whole - 1; n++)
		CHECK_EQ(http_parse(whole, n, &r), 0);
	CHECK_EQ(http_parse(whole, sizeof whole - 1, &r), 1);
	CHECK_EQ(r.body_length, 21);
}

static void test_refused(void)
{
	static const char *const bad[] = {
		"\r\n\r\n",
		"HTTP/1.1\r\n\r\n",
		"HTTP/1.1 99 \r\n\r\n",
		"HTTP/1.1 2040 \r\n\r\n",
		"HTTP/1.1 20a \r\n\r\n",
		"HTTP/1.1 099 \r\n\r\n",
		"HTTP/2.0 200 OK\r\n\r\n",
		"SSH-2.0-OpenSSH\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 0x10\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1 1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551617\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
	};
	struct http_response r;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		if (parse(bad[i], &r) != -EBADMSG)
			printf("# taken: %s\n", bad[i]);
		CHECK_EQ(parse(bad[i], &r), -EBADMSG);
	}
	CHECK_EQ(http_parse("HTTP/1.1 200 O\0K\r\n\r\n", 20, &r), -EBADMSG);
	char *endless = calloc(1, HTTP_MAX_HEAD + 2);
	memset(endless, 'a', HTTP_MAX_HEAD + 1);
	CHECK_EQ(http_parse(endless, HTTP_MAX_HEAD + 1, &r), -EBADMSG);
	free(endless);
}

/* Nothing that a broken or hostile peer sends makes the parser leave its bytes (sanitizers see). */
static void test_random(void)
{
	static const char *const parts[] = {"HTTP/1.1 ", "200", "204 ", "100", " OK", "\r\n",
		"\r\n\r\n", "Content-Length: ", "7", "99999999999999999999", ":", "\r", "\n",
		"Transfer-Encoding", "x", " "};
	unsigned seed = tap_seed();
	for (int round = 0; round < 20000; round++) {
		struct text text = {0};
		for (int i = rand_r(&seed) % 12; i >= 0; i--)
			text_append(&text,
				parts[(size_t)rand_r(&seed) % (sizeof parts / sizeof *parts)]);
		/* Its own allocation, so that one byte too far is one outside. */
		char *exact = malloc(text.length);
		memcpy(exact, text.data, text.length);
		struct http_response r;
		int answer = http_parse(exact, text.length, &r);
		CHECK(answer == 0 || answer == 1 || answer == -EBADMSG);
		if (answer == 1)
			CHECK(r.body >= exact && r.body + r.body_length <= exact + text.length);
		free(exact);
		text_free(&text);
	}
}

static void test_exchange(void)
{
	int pair[2], stop[2];
	REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 && pipe(stop) == 0);
	struct text request = {0}, answer = {0};
	http_request(&request, "PUT", "/actions", "{}");
	CHECK_STR(request.data, "PUT /actions HTTP/1.1\r\nHost: localhost\r\nAccept: "
				"application/json\r\nContent-Type: application/json\r\n"
				"Content-Length: 2\r\n\r\n{}");
	struct http_response r;
	struct http_watch watch = {.ended_fd = -1, .stop_fd = stop[0], .timeout_ms = 50};
	CHECK_EQ(http_exchange(pair[0], &request, &watch, &answer, &r), -ETIMEDOUT);
	CHECK(write(stop[1], "x", 1) == 1);
	CHECK_EQ(http_exchange(pair[0], &request, &watch, &answer, &r), -ECANCELED);
	watch = (struct http_watch){.ended_fd = stop[0], .stop_fd = -1, .timeout_ms = 5000};
	CHECK_EQ(http_exchange(pair[0], &request, &watch, &answer, &r), -ECONNRESET);
	/* An answer that is there counts, also when the other side has died since. */
	CHECK(write(pair[1], "HTTP/1.1 204 \r\n\r\n", 17) == 17);
	CHECK_EQ(http_exchange(pair[0], &request, &watch, &answer, &r), 0);
	CHECK_EQ(r.status, 204);
	close(pair[1]);
	CHECK_EQ(http_exchange(pair[0], &request, &watch, &answer, &r), -ECONNRESET);
	text_free(&request);
	text_free(&answer);
	close(pair[0]);
	close(stop[0]);
	close(stop[1]);
}

TEST_MAIN({"answers as VMMs give them", test_answers},
	{"an answer that comes in pieces is waited for", test_pieces},
	{"what is no answer, or too large, or ambiguous, is refused", test_refused},
	{"random answers stay within their bytes", test_random},
	{"an exchange ends by an answer, a stop, a death or a time limit", test_exchange})
