/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands go to the driver by io_uring, in entries of 128 bytes (Documentation/block/ublk.rst and
 * drivers/block/ublk_drv.c in the kernel's sources). A device carries a mark of ours and its server's
 * process in the field that the driver keeps for servers (ublksrv_flags): so what is left of a dead one
 * can be told from the devices of others, and from one that is just being made.
 */
#include "export/ublk_control.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/text.h"
#include "block/ring.h"
#include "export/ublk.h"

#define CONTROL "/dev/ublk-control"
#define MARK    ((uint64_t)0x72616d65 << 32) /* "rame", and the process below */
enum { GET_FEATURES = 0x13, DEL_DEV_ASYNC = 0x14, REMOVAL_SECONDS = 5 };

uint32_t ublk_io_command(enum ublk_numbering numbering, uint32_t command)
{
	return numbering == UBLK_NEW ? (uint32_t)_IOWR('u', command, struct ublksrv_io_cmd)
				     : command;
}

static uint32_t control_command(enum ublk_numbering numbering, uint32_t command)
{
	if (numbering == UBLK_OLD)
		return command;
	switch (command) {
	case UBLK_CMD_GET_DEV_INFO:
	case GET_FEATURES:
	case DEL_DEV_ASYNC:
		return (uint32_t)_IOR('u', command, struct ublksrv_ctrl_cmd);
	default:
		return (uint32_t)_IOWR('u', command, struct ublksrv_ctrl_cmd);
	}
}

int ublk_ring_new(unsigned entries, unsigned flags, struct io_uring *ring)
{
	static const uint8_t command = IORING_OP_URING_CMD;
	int r = io_uring_queue_init(entries, ring, flags | IORING_SETUP_R_DISABLED);
	if (r < 0 || ring_restrict(ring, &command, 1))
		return r;
	io_uring_queue_exit(ring);
	return -EOPNOTSUPP;
}

void ublk_control_begin(struct ublk_control *control, const struct ublk_command *command)
{
	const struct ublksrv_ctrl_cmd body = {
		.dev_id = command->device,
		.queue_id = UINT16_MAX,
		.len = command->length,
		.addr = (uint64_t)(uintptr_t)command->data,
		.data = {command->value},
	};
	struct io_uring_sqe *sqe = io_uring_get_sqe(&control->ring);
	if (!sqe)
		return; /* There are more entries than commands at a time. */
	memset(sqe, 0, 2 * sizeof *sqe);
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = control->fd;
	sqe->cmd_op = control_command(control->numbering, command->command);
	memcpy(sqe->cmd, &body, sizeof body);
	io_uring_submit(&control->ring);
}

bool ublk_control_ended(struct ublk_control *control, int *result)
{
	struct io_uring_cqe *cqe;
	if (io_uring_peek_cqe(&control->ring, &cqe) < 0)
		return false;
	*result = cqe->res;
	io_uring_cqe_seen(&control->ring, cqe);
	return true;
}

int ublk_control_run(struct ublk_control *control, const struct ublk_command *command)
{
	struct io_uring_cqe *cqe;
	int result = 0;
	ublk_control_begin(control, command);
	while (!ublk_control_ended(control, &result))
		io_uring_wait_cqe(&control->ring, &cqe);
	return result;
}

/* Older kernels know neither the command nor its number. */
static void learn_numbering(struct ublk_control *control)
{
	uint64_t features = 0;
	const struct ublk_command command = {.command = GET_FEATURES,
		.device = UINT32_MAX,
		.data = &features,
		.length = sizeof features};
	control->numbering = UBLK_NEW;
	if (ublk_control_run(control, &command) < 0)
		control->numbering = UBLK_OLD;
}

int ublk_control_open(struct ublk_control *control, struct ramet_error *err)
{
	*control = (struct ublk_control){.fd = open(CONTROL, O_RDWR | O_CLOEXEC)};
	if (control->fd < 0 && (errno == EACCES || errno == EPERM))
		return error_set(err, EACCES, "only root makes ublk devices");
	if (control->fd < 0)
		return error_set(err, ENODEV,
			"this kernel has no ublk devices (" CONTROL
			"): it needs CONFIG_BLK_DEV_UBLK, and its module, ublk_drv, loaded");
	int r = ublk_ring_new(4, IORING_SETUP_SQE128, &control->ring);
	if (r < 0) {
		cleanup_close(&control->fd);
		control->fd = -1;
		return error_errno(err, -r, "ublk devices need io_uring, which is refused here");
	}
	control->has_ring = true;
	learn_numbering(control);
	return 0;
}

void ublk_control_close(struct ublk_control *control)
{
	if (control->has_ring)
		io_uring_queue_exit(&control->ring);
	cleanup_close(&control->fd);
	*control = (struct ublk_control){.fd = -1};
}

uint64_t ublk_control_mark(void)
{
	return MARK | (uint32_t)getpid();
}

void ublk_control_remove(struct ublk_control *control, uint32_t device)
{
	const struct ublk_command command = {
		.command = control->numbering == UBLK_NEW ? DEL_DEV_ASYNC : UBLK_CMD_DEL_DEV,
		.device = device};
	struct __kernel_timespec most = {.tv_sec = REMOVAL_SECONDS};
	struct io_uring_cqe *cqe;
	int result = 0;
	ublk_control_begin(control, &command);
	io_uring_wait_cqe_timeout(&control->ring, &cqe, &most);
	/* Linux 6.4 to 6.8 can only be waited for. */
	if (ublk_control_ended(control, &result) && result < 0 && control->numbering == UBLK_NEW) {
		const struct ublk_command slow = {.command = UBLK_CMD_DEL_DEV, .device = device};
		ublk_control_begin(control, &slow);
		io_uring_wait_cqe_timeout(&control->ring, &cqe, &most);
		ublk_control_ended(control, &result);
	}
}

/* One that nobody has waited for yet is gone, too. */
static bool process_is_gone(pid_t process)
{
	char path[32];
	_cleanup_free_ char *text = NULL;
	size_t length = 0;
	snprintf(path, sizeof path, "/proc/%d/stat", process);
	int r = read_file(AT_FDCWD, path, 4096, &text, &length);
	if (r < 0)
		return r == -ENOENT || r == -ESRCH;
	/* "PID (NAME) STATE", and the name may hold anything. */
	const char *end = strrchr(text, ')');
	return end && (strncmp(end, ") Z", 3) == 0 || strncmp(end, ") X", 3) == 0);
}

static void sweep_one(struct ublk_control *control, uint32_t device)
{
	struct ublksrv_ctrl_dev_info info = {0};
	const struct ublk_command command = {.command = UBLK_CMD_GET_DEV_INFO,
		.device = device,
		.data = &info,
		.length = sizeof info};
	if (ublk_control_run(control, &command) < 0)
		return;
	bool ours = (info.ublksrv_flags & ~(uint64_t)UINT32_MAX) == MARK;
	pid_t server = (pid_t)(uint32_t)info.ublksrv_flags;
	if (ours && server > 0 && process_is_gone(server))
		ublk_control_remove(control, device);
}

void ublk_control_sweep(struct ublk_control *control)
{
	DIR *directory = opendir("/dev");
	const struct dirent *entry;
	uint64_t device;
	while (directory && (entry = readdir(directory)))
		if (strncmp(entry->d_name, "ublkc", 5) == 0 &&
			text_parse_uint(entry->d_name + 5, INT32_MAX, &device) == 0)
			sweep_one(control, (uint32_t)device);
	if (directory)
		closedir(directory);
}

void export_ublk_clean(void)
{
	struct ublk_control control;
	if (ublk_control_open(&control, NULL) < 0)
		return;
	ublk_control_sweep(&control);
	ublk_control_close(&control);
}
