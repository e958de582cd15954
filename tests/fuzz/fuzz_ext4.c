/* SPDX-License-Identifier: Apache-2.0 */
/* The ext4 reader, its journal included, on any device. */
#include "image/ext4_reader.h"
#include "tests/fuzz/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ramet_error err = {0};
	bool replayed;
	_cleanup_close_ int fd = image_sparse(data, size);
	if (fd < 0)
		return -1;
	_cleanup_fs_ struct fs *fs = NULL, *twin = NULL;
	if (ext4_open(fd, &fs, &replayed, &err) < 0)
		return 0;
	walk_all(fs, &err);
	static const struct range_list none;
	ext4_set_differences(fs, &none);
	if (ext4_open(fd, &twin, &replayed, &err) < 0)
		abort();
	for (fs_ref ref = 1; ref < 40; ref++)
		(void)fs->ops->same(fs, ref, twin, ref);
	return 0;
}
