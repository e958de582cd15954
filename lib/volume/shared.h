/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VOLUME_SHARED_H
#define VOLUME_SHARED_H

#include "base/error.h"
#include "base/ranges.h"

/*
 * Which bytes of clone may differ from those at the same place of base, for two files that shared
 * their blocks once (FICLONE): all that do not stand in the same blocks of the disk now. The answer
 * never misses a difference; a shared block is not in it. -EOPNOTSUPP when the filesystem cannot
 * tell (FIEMAP), -E2BIG when the files are in too many pieces.
 */
int shared_differences(
	int base, int clone, struct range_list *differences, struct ramet_error *err);

#endif
