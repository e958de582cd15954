/* SPDX-License-Identifier: Apache-2.0 */
#include "base/crc32c.h"

#include "tests/unit/tap.h"

/* Bit by bit, as the definition has it. */
static uint32_t slow(uint32_t crc, const uint8_t *bytes, size_t length)
{
	crc = ~crc;
	for (size_t i = 0; i < length; i++) {
		crc ^= bytes[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

static void test_known(void)
{
	CHECK_EQ(crc32c(0, "123456789", 9), 0xe3069283);
	CHECK_EQ(crc32c(0, "", 0), 0);
	/* RFC 3720, B.4: 32 bytes of zeros. */
	CHECK_EQ(crc32c(0, (char[32]){0}, 32), 0x8a9136aa);
}

static void test_random(void)
{
	unsigned seed = tap_seed();
	uint8_t bytes[300];
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)rand_r(&seed);
	for (int i = 0; i < 500; i++) {
		size_t from = (unsigned)rand_r(&seed) % 100, length = (unsigned)rand_r(&seed) % 200;
		uint32_t before = (uint32_t)rand_r(&seed);
		uint32_t right = slow(before, bytes + from, length);
		CHECK_EQ(crc32c(before, bytes + from, length), right);
		CHECK_EQ(crc32c_portable(before, bytes + from, length), right);
	}
}

TEST_MAIN({"the published values come out", test_known},
	{"any piece, with and without the processor's help", test_random})
