/* SPDX-License-Identifier: Apache-2.0 */
/* The merged view of a fixed lower tree and any upper device. $FUZZ_LOWER is a squashfs image. */
#include <fcntl.h>

#include "image/ext4_reader.h"
#include "image/overlay.h"
#include "image/squashfs_reader.h"
#include "tests/fuzz/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ramet_error err = {0};
	bool replayed;
	const char *path = getenv("FUZZ_LOWER");
	_cleanup_close_ int lower_fd = open(path ? path : "lower.squashfs", O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int fd = image_sparse(data, size);
	_cleanup_fs_ struct fs *lower = NULL, *upper = NULL, *merged = NULL;
	fs_ref root;
	if (lower_fd < 0 || squashfs_open(lower_fd, &lower, &err) < 0)
		abort();
	if (fd < 0)
		return -1;
	if (ext4_open(fd, &upper, &replayed, &err) == 0 &&
		fs_lookup(upper, "/root", &root, &err) == 0 &&
		overlay_open(lower, upper, root, &merged, &err) == 0)
		walk_all(merged, &err);
	fs_close(TAKE_PTR(merged));
	return 0;
}
