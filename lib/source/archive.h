/* SPDX-License-Identifier: Apache-2.0 */
/* libarchive, loaded when it is needed: before a sandbox is entered, in which nothing can be. */
#ifndef SOURCE_ARCHIVE_H
#define SOURCE_ARCHIVE_H

#include <archive.h>
#include <archive_entry.h>

#include "base/dynamic.h"

#define ARCHIVE_FUNCTIONS(F) \
	F(archive_read_new) \
	F(archive_read_free) \
	F(archive_read_support_filter_bzip2) \
	F(archive_read_support_filter_lz4) \
	F(archive_read_support_filter_lzma) \
	F(archive_read_support_filter_xz) \
	F(archive_read_support_filter_zstd) \
	F(archive_read_support_format_raw) \
	F(archive_read_support_format_tar) \
	F(archive_read_open2) \
	F(archive_read_next_header) \
	F(archive_read_data_block) \
	F(archive_read_data_skip) \
	F(archive_filter_bytes) \
	F(archive_filter_count) \
	F(archive_error_string) \
	F(archive_errno) \
	F(archive_set_error) \
	F(archive_entry_pathname) \
	F(archive_entry_symlink) \
	F(archive_entry_hardlink) \
	F(archive_entry_filetype) \
	F(archive_entry_perm) \
	F(archive_entry_uid) \
	F(archive_entry_gid) \
	F(archive_entry_size) \
	F(archive_entry_mtime) \
	F(archive_entry_mtime_nsec) \
	F(archive_entry_rdevmajor) \
	F(archive_entry_rdevminor) \
	F(archive_entry_sparse_reset) \
	F(archive_entry_sparse_next) \
	F(archive_entry_xattr_reset) \
	F(archive_entry_xattr_next) \
	F(archive_entry_acl_reset) \
	F(archive_entry_acl_next)

struct archive_library {
	struct dynamic_library library;
	ARCHIVE_FUNCTIONS(DYNAMIC_MEMBER)
};

/* archive_unload() when done; nothing for a zeroed one. -ELIBACC. */
int archive_load(struct archive_library *lib, struct ramet_error *err);
static inline void archive_unload(struct archive_library *lib)
{
	dynamic_close(&lib->library);
}

#endif
