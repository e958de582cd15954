/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "base/kvm.h"
#include "tests/unit/tap.h"

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void test_answers(void)
{
	struct ramet_error err = {0};
	double start = now();
	int first = kvm_probe(&err);
	CHECK(now() - start < 8);
	CHECK((first == 0) == (err.message[0] == '\0'));
	CHECK(first <= 0);
	printf("# %s\n", first ? err.message : "KVM works");
	CHECK_EQ(kvm_probe(NULL), first);
}

TEST_MAIN({"the KVM probe ends in time, with a reason, and twice alike", test_answers})
