/* SPDX-License-Identifier: Apache-2.0 */
#include "base/processors.h"

#include <sched.h>

unsigned processors_count(unsigned most)
{
	cpu_set_t set;
	if (sched_getaffinity(0, sizeof set, &set) < 0)
		return 1;
	unsigned count = (unsigned)CPU_COUNT(&set);
	return count < 1 ? 1 : count > most ? most : count;
}
