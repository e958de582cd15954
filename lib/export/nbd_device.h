/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's network block devices, beyond what an export does with them. */
#ifndef EXPORT_NBD_DEVICE_H
#define EXPORT_NBD_DEVICE_H

#include "base/error.h"

/* Take apart the /dev/nbdN that a killed server left: address is what that had as
 * export_options.address, name is the device's. Nothing when there is none. Errors: EBUSY (it is
 * served), EPERM, ENODEV. */
int nbd_device_release(const char *address, const char *name, struct ramet_error *err);

#endif
