/* SPDX-License-Identifier: Apache-2.0 */
/* Arithmetic on sizes, counts and offsets that came from outside. Each answers whether it held. */
#ifndef BASE_CHECKED_H
#define BASE_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

/* The type of *result decides the range; operands may be of any integer type. */
#define checked_add(a, b, result) (!__builtin_add_overflow((a), (b), (result)))
#define checked_mul(a, b, result) (!__builtin_mul_overflow((a), (b), (result)))

/* Whether [offset, offset + length) lies within [0, limit). */
static inline bool range_within(uint64_t offset, uint64_t length, uint64_t limit)
{
	return offset <= limit && length <= limit - offset;
}

/* value rounded up to a multiple of unit (a power of two); false when that does not fit. */
static inline bool checked_round_up(uint64_t value, uint64_t unit, uint64_t *result)
{
	uint64_t sum;
	if (!checked_add(value, unit - 1, &sum))
		return false;
	*result = sum & ~(unit - 1);
	return true;
}

#endif
