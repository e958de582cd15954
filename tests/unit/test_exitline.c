/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/exitline.h"

#include "tests/unit/tap.h"

#define NONCE "0123abcd"
#define EXIT  "ramet-exit:" NONCE ":"
#define FAIL  "ramet-fail:" NONCE ":"
#define READY "ramet-ready:" NONCE ":"

/* Feed stream in pieces of at most piece bytes; the caller frees the text. */
static struct text filter(
	struct exitline *exitline, const char *stream, size_t length, size_t piece)
{
	struct text out = {0};
	exitline->nonce = NONCE;
	for (size_t i = 0; i < length; i += piece)
		exitline_feed(exitline, stream + i, length - i < piece ? length - i : piece, &out);
	exitline_end(exitline, &out);
	text_append_bytes(&out, "", 0);
	return out;
}

/* Whatever way the stream is cut, out comes want. */
static void check(const char *stream, const char *want, enum exitline_kind kind, int status)
{
	for (size_t piece = 1; piece <= strlen(stream) + 1; piece++) {
		struct exitline exitline = {0};
		struct text out = filter(&exitline, stream, strlen(stream), piece);
		CHECK_STR(out.data, want);
		CHECK_EQ(exitline.kind, kind);
		if (kind == EXITLINE_EXIT)
			CHECK_EQ(exitline.status, status);
		text_free(&out);
	}
}

static void test_exact(void)
{
	check("hello\n\n" EXIT "7\n", "hello\n", EXITLINE_EXIT, 7);
	check("no newline\n" EXIT "0\n", "no newline", EXITLINE_EXIT, 0);
	check("\n" EXIT "255\n[ 1.0] reboot: Restarting system\n", "", EXITLINE_EXIT, 255);
	check("a\r\n\r\n" EXIT "1\r\n", "a\r\n", EXITLINE_EXIT, 1);
	check("\n\n\n\n" EXIT "3\n", "\n\n\n", EXITLINE_EXIT, 3);
	check("\r\r\n" EXIT "3\n", "\r", EXITLINE_EXIT, 3);
	check("\n" READY "\nout\n" EXIT "3\n", "out", EXITLINE_EXIT, 3);
}

static void test_others(void)
{
	check("x " EXIT "7\n", "x " EXIT "7\n", EXITLINE_NONE, 0);
	check("\nramet-exit:0123abce:7\n", "\nramet-exit:0123abce:7\n", EXITLINE_NONE, 0);
	check("\nramet-exit:\nramet-e\nrr\n\r\n", "\nramet-exit:\nramet-e\nrr\n\r\n", EXITLINE_NONE,
		0);
	check("\nramet-exi\n" EXIT "9\n", "\nramet-exi", EXITLINE_EXIT, 9);
	check("no more\n", "no more\n", EXITLINE_NONE, 0);
	check("held\nramet-exit:0123", "held\nramet-exit:0123", EXITLINE_NONE, 0);
}

static void test_values(void)
{
	check("\n" EXIT "256\n", "", EXITLINE_NONE, 0);
	check("\n" EXIT "-1\n", "", EXITLINE_NONE, 0);
	check("\n" EXIT "\n", "", EXITLINE_NONE, 0);
	check("\n" EXIT "12", "", EXITLINE_NONE, 0);
	check("\n" EXIT "4\n\n" EXIT "5\n", "", EXITLINE_EXIT, 4);
}

static void test_fail(void)
{
	struct exitline exitline = {0};
	static const char stream[] = "\n" FAIL "the \033[31mvolume\033[0m is \001 damaged\n";
	struct text out = filter(&exitline, stream, sizeof stream - 1, 5);
	CHECK_EQ(exitline.kind, EXITLINE_FAIL);
	CHECK_STR(exitline.sentence, "the volume is ? damaged");
	CHECK_STR(out.data, "");
	text_free(&out);
	exitline = (struct exitline){0};
	out = filter(&exitline, "\n" FAIL "cut sho", sizeof "\n" FAIL "cut sho" - 1, 64);
	CHECK_STR(exitline.sentence, "cut sho");
	text_free(&out);
}

static void test_long_line(void)
{
	struct text stream = {0};
	text_append(&stream, "\n" FAIL);
	for (int i = 0; i < 5000; i++)
		text_append(&stream, "x");
	text_append(&stream, "\n");
	struct exitline exitline = {0};
	struct text out = filter(&exitline, stream.data, stream.length, 100);
	CHECK_EQ(exitline.kind, EXITLINE_FAIL);
	CHECK_EQ(strlen(exitline.sentence), sizeof exitline.sentence - 1);
	text_free(&out);
	text_free(&stream);
}

/* What a person sees must not wait for the next byte. */
static void test_eager(void)
{
	struct exitline exitline = {.nonce = NONCE, .eager = true};
	struct text out = {0};
	exitline_feed(&exitline, "line\n", 5, &out);
	CHECK_STR(out.data, "line\n");
	exitline_feed(&exitline, "\r\n", 2, &out);
	CHECK_STR(out.data, "line\n\r\n");
	exitline_feed(&exitline, "\n" READY "\n$ ", sizeof "\n" READY "\n$ " - 1, &out);
	CHECK(exitline.ready);
	CHECK_STR(out.data, "line\n\r\n\n$ ");
	exitline_feed(&exitline, "\n" EXIT "2\nrest", sizeof "\n" EXIT "2\nrest" - 1, &out);
	CHECK_EQ(exitline.kind, EXITLINE_EXIT);
	CHECK_EQ(exitline.status, 2);
	CHECK_STR(out.data, "line\n\r\n\n$ \n");
	text_free(&out);
}

static void test_show_rest(void)
{
	struct exitline exitline = {.show_rest = true};
	static const char stream[] = "a\n" EXIT "2\nreboot\n";
	struct text out = filter(&exitline, stream, sizeof stream - 1, 3);
	CHECK_STR(out.data, "areboot\n");
	text_free(&out);
}

/* Pieces of marks in any order: all that is no whole mark comes out again. */
static void test_random(void)
{
	static const char *const parts[] = {"\n", "\r", "\r\n", "ramet-", "exit:", "ready:", NONCE,
		":", "x", "0123", "\n\n", "ramet-exit:", "ramet-exit:0123abc"};
	unsigned seed = tap_seed();
	for (int round = 0; round < 3000 && !tap_failed; round++) {
		struct text stream = {0};
		for (int i = rand_r(&seed) % 30; i >= 0; i--)
			text_append(&stream,
				parts[(size_t)rand_r(&seed) % (sizeof parts / sizeof *parts)]);
		bool marked = strstr(stream.data, EXIT) || strstr(stream.data, READY);
		struct exitline exitline = {.eager = round % 2};
		struct text out = filter(
			&exitline, stream.data, stream.length, 1 + (size_t)rand_r(&seed) % 9);
		if (!marked)
			CHECK_STR(out.data, stream.data);
		CHECK(out.length <= stream.length);
		text_free(&out);
		text_free(&stream);
	}
}

TEST_MAIN({"the exit line is taken out, the output is kept to the byte", test_exact},
	{"what only looks like an exit line is the guest's", test_others},
	{"a status that is none is not believed", test_values},
	{"the init's sentence is cleaned for quoting", test_fail},
	{"a line without end takes no more room than it has", test_long_line},
	{"a person sees each newline at once", test_eager},
	{"with verbose what follows is shown", test_show_rest},
	{"random pieces of marks come out as they went in", test_random})
