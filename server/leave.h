/* SPDX-License-Identifier: Apache-2.0 */
/* How a program that ramet starts (lib/api/helper.h) becomes a process by itself. */
#ifndef SERVER_LEAVE_H
#define SERVER_LEAVE_H

#include <stdbool.h>

/* The rest runs in a child, which is nobody's; whoever started this process waits for its end, and reads
 * the answer meanwhile. 0 in the child, or a negative errno. */
int leave_parent(void);
/* Close what whoever started us had open, and did not mean for us. 0 or a negative errno. */
int leave_files(bool (*is_ours)(const void *ctx, int fd), const void *ctx);
/* Have nothing of whoever started us: not its terminal, not its folder, not its signals. 0 or a negative
 * errno. */
int leave_terminal(void);

#endif
