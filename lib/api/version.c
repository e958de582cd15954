/* SPDX-License-Identifier: Apache-2.0 */
#include <ramet.h>

const char *ramet_version(void)
{
	return RAMET_VERSION;
}
