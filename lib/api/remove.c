/* SPDX-License-Identifier: Apache-2.0 */
#include "store/batch.h"

int ramet_remove(struct ramet_store *store, const char *name, struct ramet_error *err)
{
	return store_fork_remove(store, name, err);
}
