/* SPDX-License-Identifier: Apache-2.0 */
#include "block/device.h"

void block_close(struct block_device *device)
{
	if (device)
		device->ops->close(device);
}
