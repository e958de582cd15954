/* SPDX-License-Identifier: Apache-2.0 */
/* The EROFS reader on any image. */
#include "image/erofs_reader.h"
#include "tests/fuzz/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ramet_error err = {0};
	uint64_t length;
	_cleanup_close_ int fd = image_sparse(data, size);
	if (fd < 0)
		return -1;
	_cleanup_fs_ struct fs *fs = NULL;
	(void)erofs_probe(fd);
	(void)erofs_length(fd, &length, &err);
	if (erofs_open(fd, &fs, &err) < 0)
		return 0;
	walk_all(fs, &err);
	for (fs_ref ref = 0; ref < 200; ref++)
		(void)walk_one(fs, ref, &err);
	return 0;
}
