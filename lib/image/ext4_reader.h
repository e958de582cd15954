/* SPDX-License-Identifier: Apache-2.0 */
/* ext4 as a guest left it: also when it was killed and its journal holds the newest blocks. */
#ifndef IMAGE_EXT4_READER_H
#define IMAGE_EXT4_READER_H

#include "base/ranges.h"
#include "image/fs.h"

/*
 * Open a view of the ext4 in fd. When the journal needs recovery it is replayed on a private
 * in-memory view of the device (fd is never written to) and *replayed is set. fd is borrowed.
 */
int ext4_open(int fd, struct fs **fs, bool *replayed, struct ramet_error *err);

/*
 * Tell a view of a clone which bytes of its device may differ from those at the same place of the
 * image that it was cloned from. Borrowed, must outlive the view. It is what `same` takes its proof
 * from: a guest can forge an inode's times, but not where the host keeps a block. Without it
 * nothing of two images is known to be the same.
 *
 * Times prove nothing even with an honest guest: data reaches the disk before the inode that says
 * so (fdatasync, write-back), and a VM may be killed in between. `same` says yes when the inodes
 * are alike byte by byte but for the access time, their attributes and the blocks of their block
 * maps too, and neither a difference nor the journal touches a block of the content. Directories
 * are never proven the same.
 */
void ext4_set_differences(struct fs *fs, const struct range_list *differences);

#endif
