/* SPDX-License-Identifier: Apache-2.0 */
#include "source/archive.h"

int archive_load(struct archive_library *lib, struct ramet_error *err)
{
	static const char *const names[] = {ARCHIVE_FUNCTIONS(DYNAMIC_NAME) NULL};
	return dynamic_load(&lib->library, "libarchive.so.13", names, &lib->library + 1, err);
}
