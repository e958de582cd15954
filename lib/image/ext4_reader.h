/* SPDX-License-Identifier: Apache-2.0 */
/* ext4 as a guest left it: also when it was killed and its journal holds the newest blocks. */
#ifndef IMAGE_EXT4_READER_H
#define IMAGE_EXT4_READER_H

#include "image/fs.h"

/*
 * Open a view of the ext4 in fd. When the journal needs recovery it is replayed on a private
 * in-memory view of the device (fd is never written to) and *replayed is set. fd is borrowed.
 */
int ext4_open(int fd, struct fs **fs, bool *replayed, struct ramet_error *err);

#endif
