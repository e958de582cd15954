/* SPDX-License-Identifier: Apache-2.0 */
/* An object of a view in JSON, alike wherever one is told of. */
#ifndef CHANGES_OBJECT_H
#define CHANGES_OBJECT_H

#include "base/text.h"
#include "image/fs.h"

/* "file", "directory", "symlink", "character device", "block device", "fifo", "socket". */
const char *object_type(uint32_t mode);
/* "KEY": "STRING", and "KEY_base64" too when the string is not UTF-8. */
void object_json_bytes(struct text *text, const char *key, const char *string);
/* "type", "mode", "uid", "gid", "size", "mtime", "mtime_nsec", of a device "device". */
void object_json_stat(struct text *text, const struct fs_stat *stat);

#endif
