/* SPDX-License-Identifier: Apache-2.0 */
/* The squashfs reader on any bytes. */
#include "image/squashfs_reader.h"
#include "tests/fuzz/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ramet_error err = {0};
	_cleanup_close_ int fd = image_plain(data, size);
	_cleanup_fs_ struct fs *fs = NULL;
	if (squashfs_open(fd, &fs, &err) == 0)
		walk_all(fs, &err);
	return 0;
}
