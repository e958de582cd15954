/* SPDX-License-Identifier: Apache-2.0 */
#include "base/progress.h"

#define INTERVAL_NS 50000000L

void meter_advance(struct meter *meter, uint64_t done)
{
	if (!meter->report)
		return;
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	long long passed = (long long)(now.tv_sec - meter->last.tv_sec) * 1000000000 +
			   (now.tv_nsec - meter->last.tv_nsec);
	if (passed < INTERVAL_NS)
		return;
	meter->last = now;
	const struct ramet_progress progress = {meter->step, done, meter->total};
	meter->report(meter->ctx, &progress);
}

double clock_seconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}
