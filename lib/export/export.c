/* SPDX-License-Identifier: Apache-2.0 */
#include "export/export.h"

#include <string.h>

const struct export_ops *const exports[] = {
	&export_vhost_user_blk,
	&export_nbd,
	&export_nbd_device,
	&export_fuse,
	&export_ublk,
	NULL,
};

const struct export_ops *export_find(const char *name)
{
	for (const struct export_ops *const *ops = exports; *ops; ops++)
		if (strcmp((*ops)->name, name) == 0)
			return *ops;
	return NULL;
}
