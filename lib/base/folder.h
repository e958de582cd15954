/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_FOLDER_H
#define BASE_FOLDER_H

/* Remove the folder called name in dirfd with all that is in it; no symlink is followed. What is
 * not there is no failure. 0 or a negative errno. */
int folder_remove(int dirfd, const char *name);

#endif
