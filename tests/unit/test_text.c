/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "base/text.h"
#include "tests/unit/tap.h"

static void test_sizes_that_people_write(void)
{
	uint64_t n = 0;
	CHECK_EQ(text_parse_size("4096", &n), 0);
	CHECK_EQ(n, 4096);
	CHECK_EQ(text_parse_size("10G", &n), 0);
	CHECK_EQ(n, 10ULL << 30);
	CHECK_EQ(text_parse_size("1.5 GiB", &n), 0);
	CHECK_EQ(n, 3ULL << 29);
	CHECK_EQ(text_parse_size("7k", &n), 0);
	CHECK_EQ(n, 7168);
	CHECK_EQ(text_parse_size("12B", &n), 0);
	CHECK_EQ(n, 12);
}

static void test_sizes_that_are_none(void)
{
	static const char *const wrong[] = {"", "G", "-1", "+1", "10Q", "10GG", "0x10", "1e3",
		"nan", "inf", " 1", "1 G B", "1..5"};
	uint64_t n;
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		if (text_parse_size(wrong[i], &n) != -EINVAL)
			printf("# taken: '%s'\n", wrong[i]);
		CHECK_EQ(text_parse_size(wrong[i], &n), -EINVAL);
	}
	CHECK_EQ(text_parse_size("8E", &n), -ERANGE);
	CHECK_EQ(text_parse_size("99999999999999999999", &n), -ERANGE);
	CHECK_EQ(text_parse_size("7E", &n), 0);
}

static void test_a_text_grows(void)
{
	struct text text = {0};
	for (int i = 0; i < 1000; i++)
		text_format(&text, "%d,", i);
	CHECK(!text.failed);
	CHECK_EQ(text.length, 3890);
	CHECK(strcmp(text.data + 3885, "998,999,") > 0 || strstr(text.data, "998,999,"));
	text_truncate(&text, 4);
	CHECK_STR(text.data, "0,1,");
	text_free(&text);
}

static void test_terminals_obey_nothing(void)
{
	char text[] = "a\x1b[31mb\nc\x7f\xc2\x9b"
		      "d\xc3\xa9\xc2\xa0\xff\xc2";
	CHECK(text_disarm(text) == text);
	CHECK_STR(text, "a?[31mb?c???d\xc3\xa9\xc2\xa0\xff\xc2");
}

TEST_MAIN({"sizes as people write them are understood", test_sizes_that_people_write},
	{"what is no size is refused", test_sizes_that_are_none},
	{"a text grows and is cut", test_a_text_grows},
	{"a terminal obeys nothing in a disarmed string", test_terminals_obey_nothing})
