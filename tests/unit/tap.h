/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TAP for unit tests. A test file ends in
 *     TEST_MAIN({"what it promises", test_function}, ...)
 * and each test_function says CHECK(condition) as often as it likes, or SKIP("what is missing").
 */
#ifndef TESTS_TAP_H
#define TESTS_TAP_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static bool tap_failed;
static const char *tap_skipped;

#define CHECK(condition) \
	do { \
		if (!(condition)) { \
			printf("# %s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
			tap_failed = true; \
		} \
	} while (0)
#define CHECK_EQ(a, b) \
	do { \
		long long a_ = (long long)(a), b_ = (long long)(b); \
		if (a_ != b_) { \
			printf("# %s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__, #a, a_, b_); \
			tap_failed = true; \
		} \
	} while (0)
#define CHECK_STR(a, b) \
	do { \
		const char *a_ = (a), *b_ = (b); \
		if (!a_ || strcmp(a_, b_) != 0) { \
			printf("# %s:%d: %s is \"%s\", not \"%s\"\n", __FILE__, __LINE__, #a, \
				a_ ? a_ : "(null)", b_); \
			tap_failed = true; \
		} \
	} while (0)
/* The rest of the function makes no sense without it. */
#define REQUIRE(condition) \
	do { \
		CHECK(condition); \
		if (tap_failed) \
			return; \
	} while (0)
#define SKIP(reason) \
	do { \
		tap_skipped = (reason); \
		return; \
	} while (0)

struct tap_test {
	const char *name;
	void (*run)(void);
};

static inline int tap_run(const struct tap_test *tests, size_t count)
{
	int failures = 0;
	printf("1..%zu\n", count);
	for (size_t i = 0; i < count; i++) {
		tap_failed = false;
		tap_skipped = NULL;
		tests[i].run();
		failures += tap_failed;
		printf("%sok %zu - %s%s%s\n", tap_failed ? "not " : "", i + 1, tests[i].name,
			tap_skipped ? " # SKIP " : "", tap_skipped ? tap_skipped : "");
		fflush(stdout);
	}
	return failures != 0;
}

#define TEST_MAIN(...) \
	int main(void) \
	{ \
		static const struct tap_test tests[] = {__VA_ARGS__}; \
		return tap_run(tests, sizeof tests / sizeof *tests); \
	}

/* A seed for random tests: $SEED, or the time; printed so that a failure can be had again. */
static inline unsigned tap_seed(void)
{
	const char *given = getenv("SEED");
	unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
	printf("# SEED=%u\n", seed);
	return seed;
}

#endif
