/* SPDX-License-Identifier: Apache-2.0 */
#include "api/attachment.h"
#include "api/fork_lazy.h"
#include "store/batch.h"

int ramet_remove(struct ramet_store *store, const char *name, struct ramet_error *err)
{
	/* Mounts of processes that were killed keep its folder from being removed. */
	int r = attachment_sweep(store, name, err);
	if (r == 0)
		r = store_fork_remove(store, name, err);
	if (r == 0)
		fork_lazy_sweep(store);
	return r;
}
