/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The processor's instruction where there is one: a table of 100 MB is checked in some 20 ms.
 * Otherwise eight bytes at a time by eight tables, which are made anew for each call, in some
 * microseconds, rather than kept.
 */
#include "base/crc32c.h"

#include <endian.h>
#include <string.h>

#define POLYNOMIAL 0x82f63b78U /* reflected */

static void make_tables(uint32_t tables[static 8][256])
{
	for (uint32_t byte = 0; byte < 256; byte++) {
		uint32_t crc = byte;
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? POLYNOMIAL : 0);
		tables[0][byte] = crc;
	}
	for (int i = 1; i < 8; i++)
		for (int byte = 0; byte < 256; byte++) {
			uint32_t before = tables[i - 1][byte];
			tables[i][byte] = before >> 8 ^ tables[0][before & 0xff];
		}
}

static uint32_t by_tables(uint32_t crc, const uint8_t *at, size_t length)
{
	uint32_t tables[8][256];
	make_tables(tables);
	for (; length >= 8; length -= 8, at += 8) {
		uint64_t word;
		memcpy(&word, at, sizeof word);
		word = le64toh(word) ^ crc;
		crc = 0;
		for (int i = 0; i < 8; i++)
			crc ^= tables[7 - i][word >> (8 * i) & 0xff];
	}
	for (; length; length--, at++)
		crc = crc >> 8 ^ tables[0][(crc ^ *at) & 0xff];
	return crc;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static uint32_t by_processor(
	uint32_t crc, const uint8_t *at, size_t length)
{
	uint64_t wide = crc;
	for (; length >= 8; length -= 8, at += 8) {
		uint64_t word;
		memcpy(&word, at, sizeof word);
		wide = __builtin_ia32_crc32di(wide, word);
	}
	crc = (uint32_t)wide;
	for (; length; length--, at++)
		crc = __builtin_ia32_crc32qi(crc, *at);
	return crc;
}
#endif

uint32_t crc32c_portable(uint32_t crc, const void *bytes, size_t length)
{
	return ~by_tables(~crc, bytes, length);
}

uint32_t crc32c(uint32_t crc, const void *bytes, size_t length)
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("sse4.2"))
		return ~by_processor(~crc, bytes, length);
#endif
	return crc32c_portable(crc, bytes, length);
}
