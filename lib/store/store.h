/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/error.h"

struct ramet_store {
	char *root; /* absolute */
	int dirfd;
};

#endif
