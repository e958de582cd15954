/* SPDX-License-Identifier: Apache-2.0 */
#include "base/ranges.h"

#include "tests/unit/tap.h"

static void test_neighbours_are_joined(void)
{
	_cleanup_ranges_ struct range_list list = {0};
	CHECK_EQ(ranges_append(&list, 10, 5), 0);
	CHECK_EQ(ranges_append(&list, 15, 5), 0);
	CHECK_EQ(ranges_append(&list, 30, 1), 0);
	CHECK_EQ(list.count, 2);
	CHECK_EQ(list.items[0].length, 10);
}

/* Against the obvious way, bit by bit. */
static void test_overlap_is_found(void)
{
	unsigned seed = tap_seed();
	for (int round = 0; round < 200; round++) {
		bool bytes[128] = {false};
		_cleanup_ranges_ struct range_list list = {0};
		for (unsigned at = 0; at < 100;) {
			unsigned gap = (unsigned)rand_r(&seed) % 20,
				 length = 1 + (unsigned)rand_r(&seed) % 9;
			REQUIRE(ranges_append(&list, at + gap, length) == 0);
			memset(bytes + at + gap, true, length);
			at += gap + length;
		}
		for (unsigned offset = 0; offset < 110; offset++)
			for (unsigned length = 0; length < 18; length++)
				REQUIRE(ranges_overlap(&list, offset, length) ==
					(memchr(bytes + offset, true, length) != NULL));
	}
	struct range_list none = {0};
	CHECK(!ranges_overlap(&none, 0, UINT64_MAX));
}

TEST_MAIN({"neighbours become one piece", test_neighbours_are_joined},
	{"an overlap is found wherever it is", test_overlap_is_found})
