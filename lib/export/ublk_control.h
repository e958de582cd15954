/* SPDX-License-Identifier: Apache-2.0 */
/* /dev/ublk-control: making and ending devices. */
#ifndef EXPORT_UBLK_CONTROL_H
#define EXPORT_UBLK_CONTROL_H

#include <liburing.h>
#include <linux/ublk_cmd.h>
#include <stdbool.h>

#include "base/error.h"

/* Since Linux 6.4 commands are numbered like ioctls; the older numbers may be compiled out. */
enum ublk_numbering { UBLK_OLD, UBLK_NEW };

/* The name of an I/O command (UBLK_IO_*) in this numbering. */
uint32_t ublk_io_command(enum ublk_numbering numbering, uint32_t command);

/* A ring that takes commands to drivers and nothing else. -errno. */
int ublk_ring_new(unsigned entries, unsigned flags, struct io_uring *ring);

struct ublk_control {
	int fd;
	bool has_ring;
	enum ublk_numbering numbering;
	struct io_uring ring;
};

struct ublk_command {
	uint32_t command; /* UBLK_CMD_* */
	uint32_t device;
	void *data; /* in or out, or NULL */
	uint16_t length;
	uint64_t value;
};

/* ENODEV (no ublk in this kernel), EACCES, and what keeps io_uring from us. */
int ublk_control_open(struct ublk_control *control, struct ramet_error *err);
void ublk_control_close(struct ublk_control *control);
/* Wait for the command's end: 0 or a negative errno. */
int ublk_control_run(struct ublk_control *control, const struct ublk_command *command);
/* Only begin; when the ring's fd is readable ublk_control_ended() answers true, and how it ended. */
void ublk_control_begin(struct ublk_control *control, const struct ublk_command *command);
bool ublk_control_ended(struct ublk_control *control, int *result);
/* What is left of servers of ours that died. */
void ublk_control_sweep(struct ublk_control *control);
/* The mark by which a sweep knows a device to be of this process. */
uint64_t ublk_control_mark(void);
/* Remove a device; at the latest when nobody has it open any more. */
void ublk_control_remove(struct ublk_control *control, uint32_t device);

#endif
