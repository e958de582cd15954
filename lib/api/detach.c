/* SPDX-License-Identifier: Apache-2.0 */
#include "api/attach.h"
#include "base/cleanup.h"

int ramet_detach(struct ramet_store *store, const char *name, bool force, struct ramet_error *err)
{
	_cleanup_fork_ struct store_fork fork = {0};
	_cleanup_attachment_ struct attachment attachment = {0};
	int r = store_fork_find(store, name, &fork, err);
	if (r < 0)
		return r;
	int state = attachment_find(store, name, &attachment, err);
	if (state < 0 || state == ATTACHMENT_NONE)
		return state;
	if (state == ATTACHMENT_STARTS)
		return error_set(err, EBUSY, "fork %s is being attached just now", name);
	if (state == ATTACHMENT_LIVES && attachment.for_run && !force)
		return error_set(err, EBUSY,
			"fork %s is run, and its VM would get I/O errors; end the VM, or detach with "
			"--force",
			name);
	if (state == ATTACHMENT_LIVES && attachment.for_run)
		r = attachment_unwant(store, name, err);
	if (r == 0 && state == ATTACHMENT_LIVES)
		r = attachment_end(store, name, &attachment, err);
	return r < 0 ? r : attachment_sweep(store, name, err);
}
