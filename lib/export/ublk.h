/* SPDX-License-Identifier: Apache-2.0 */
/* What whoever starts and ends servers has to know of the ublk export. */
#ifndef EXPORT_UBLK_H
#define EXPORT_UBLK_H

/* Remove the devices of all ublk servers of ours whose process is gone. Best effort: a kernel without
 * ublk has none. */
void export_ublk_clean(void);

#endif
