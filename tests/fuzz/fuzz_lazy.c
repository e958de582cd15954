/* SPDX-License-Identifier: Apache-2.0 */
/* The lazy file's reader on any file. */
#include "tests/fuzz/lazy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ramet_error err = {0};
	_cleanup_close_ int fd = image_sparse(data, size);
	if (fd < 0)
		return -1;
	(void)lazy_walk(fd, &err);
	return 0;
}
