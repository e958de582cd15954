/* SPDX-License-Identifier: Apache-2.0 */
/* ext4 as a guest left it: also when it was killed and its journal holds the newest blocks. */
#ifndef IMAGE_EXT4_READER_H
#define IMAGE_EXT4_READER_H

#include "base/ranges.h"
#include "image/fs.h"

/*
 * What `same` between two clones of one ext4 stands on: the inode is the same byte for byte but for
 * its access time (so are number, generation, size, mode, owner, mtime and ctime to the
 * nanosecond), its attributes are, and its block map is, down to the last block of the extent tree.
 * What was written in place shows in mtime and ctime, which the guest's kernel sets. It trusts that
 * kernel in two things, and so:
 *  - data can be on disk before the inode that says so (fdatasync, write-back). A filesystem that
 *    was not unmounted is therefore never a proof: `same` is false for all of it, and contents have
 *    to be compared.
 *  - a guest that writes to its block device below the filesystem, or turns its clock back by the
 *    nanosecond, can change content without a trace in the inode. Who must know what such a guest
 *    did compares contents, and does not ask `same`.
 * Directories are never proven the same.
 */

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
 */
void ext4_set_differences(struct fs *fs, const struct range_list *differences);

#endif
