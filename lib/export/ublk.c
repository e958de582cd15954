/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A block device of the kernel, /dev/ublkbN, that is served from here: the shortest way for what
 * needs one (mounts, device-mapper, VMMs with direct I/O). There is one queue. For each of its tags a
 * command waits in the driver (FETCH); it comes back with a request, and goes again with the answer
 * (COMMIT_AND_FETCH):
 *
 *     FETCH ... READ  -> engine reads into the tag's memory -> COMMIT, which copies it
 *           ... WRITE -> NEED_GET_DATA, which copies it -> engine writes it -> COMMIT
 *
 * Written bytes are asked for (UBLK_F_NEED_GET_DATA), so that the driver touches our memory only while
 * we wait for it, and memory that is not in use can be given back.
 *
 * The driver reads the partition table while START_DEV runs, and lets dirty pages be written while
 * STOP_DEV runs: both are served meanwhile, here, before the loop and after it.
 *
 * Source: Documentation/block/ublk.rst, drivers/block/ublk_drv.c in the kernel.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "export/export.h"
#include "export/ublk_control.h"

#define SECTOR 512
enum {
	DEPTH = 64,
	TRANSFER = 256 << 10,
	DISCARD = 1 << 30,
	IDLE_MS = 1000,
	NODE_TRIES = 100,
	NODE_WAIT_US = 10000,
};

struct ublk_tag {
	struct block_request request; /* first */
	struct iovec vector;
	struct ublk_export *ublk;
	uint8_t *memory;
	bool filling; /* the driver has been told to fill its memory */
};

struct ublk_export {
	struct export export;
	struct export_options options;
	const struct export_device *served;
	struct ublk_control control;
	bool added;
	uint32_t device;
	char name[24]; /* of the block device */
	int fd;        /* of the character device */
	bool has_ring;
	struct io_uring ring;
	struct loop_fd completions;
	struct loop_hook submission;
	struct loop_timer idle;
	bool idle_set, in_loop;
	const struct ublksrv_io_desc *descriptions; /* of the tags' requests */
	size_t descriptions_size;
	uint8_t *memory;
	struct ublk_tag tags[DEPTH];
	unsigned in_flight;
	unsigned to_submit;
};

/* ------------------------------------------------------------------------------------------- */

static void send_command(struct ublk_tag *tag, uint32_t command, int result)
{
	struct ublk_export *ublk = tag->ublk;
	const struct ublksrv_io_cmd body = {
		.tag = (uint16_t)(tag - ublk->tags),
		.result = result,
		.addr = (uint64_t)(uintptr_t)tag->memory,
	};
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ublk->ring);
	if (!sqe)
		return; /* There is an entry for each tag. */
	memset(sqe, 0, sizeof *sqe);
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = ublk->fd;
	sqe->cmd_op = ublk_io_command(ublk->control.numbering, command);
	sqe->user_data = (uint64_t)(uintptr_t)tag;
	memcpy(sqe->cmd, &body, sizeof body);
	tag->filling = command == UBLK_IO_NEED_GET_DATA;
	ublk->to_submit++;
}

static void tag_done(struct block_request *request, int result)
{
	struct ublk_tag *tag = (struct ublk_tag *)request;
	bool moved = request->operation == BLOCK_READ || request->operation == BLOCK_WRITE;
	tag->ublk->in_flight--;
	if (result == 0 && moved)
		result = (int)request->length;
	send_command(tag, UBLK_IO_COMMIT_AND_FETCH_REQ, result);
}

static void tag_submit(struct ublk_tag *tag, enum block_operation operation)
{
	struct ublk_export *ublk = tag->ublk;
	const struct ublksrv_io_desc *description = &ublk->descriptions[tag - ublk->tags];
	uint64_t length = (uint64_t)description->nr_sectors * SECTOR;
	bool moves = operation == BLOCK_READ || operation == BLOCK_WRITE;
	if (moves && length > TRANSFER) {
		send_command(tag, UBLK_IO_COMMIT_AND_FETCH_REQ, -EIO);
		return;
	}
	tag->vector = (struct iovec){.iov_base = tag->memory, .iov_len = length};
	tag->request = (struct block_request){
		.operation = operation,
		.offset = description->start_sector * SECTOR,
		.length = operation == BLOCK_FLUSH ? 0 : length,
		.vector = &tag->vector,
		.vector_count = 1,
		.durable = operation != BLOCK_FLUSH && operation != BLOCK_READ &&
			   (description->op_flags & UBLK_IO_F_FUA),
		.done = tag_done,
	};
	ublk->in_flight++;
	if (!ublk->idle_set && ublk->in_loop)
		loop_set_timer(ublk->options.loop, &ublk->idle, IDLE_MS);
	ublk->idle_set |= ublk->in_loop;
	engine_submit(ublk->served->engine, &tag->request);
}

/* A request has come; of a write, first the news and then its bytes. */
static void tag_begin(struct ublk_tag *tag, int result)
{
	const struct ublk_export *ublk = tag->ublk;
	switch (ublksrv_get_op(&ublk->descriptions[tag - ublk->tags])) {
	case UBLK_IO_OP_READ:
		tag_submit(tag, BLOCK_READ);
		break;
	case UBLK_IO_OP_WRITE:
		if (result == UBLK_IO_RES_NEED_GET_DATA)
			send_command(tag, UBLK_IO_NEED_GET_DATA, 0);
		else
			tag_submit(tag, BLOCK_WRITE);
		break;
	case UBLK_IO_OP_FLUSH:
		tag_submit(tag, BLOCK_FLUSH);
		break;
	case UBLK_IO_OP_DISCARD:
	case UBLK_IO_OP_WRITE_ZEROES:
		tag_submit(tag, BLOCK_DISCARD);
		break;
	default:
		send_command(tag, UBLK_IO_COMMIT_AND_FETCH_REQ, -EOPNOTSUPP);
	}
}

static void take_requests(struct ublk_export *ublk)
{
	struct io_uring_cqe *cqe;
	while (io_uring_peek_cqe(&ublk->ring, &cqe) == 0) {
		struct ublk_tag *tag = io_uring_cqe_get_data(cqe);
		int result = cqe->res;
		io_uring_cqe_seen(&ublk->ring, cqe);
		tag->filling = false;
		/* Anything else: the device is being stopped. */
		if (result == UBLK_IO_RES_OK || result == UBLK_IO_RES_NEED_GET_DATA)
			tag_begin(tag, result);
	}
}

static void submit(struct ublk_export *ublk)
{
	if (ublk->to_submit)
		io_uring_submit(&ublk->ring);
	ublk->to_submit = 0;
}

static void ublk_ready(struct loop_fd *completions, short revents)
{
	take_requests((struct ublk_export *)((char *)completions -
					     offsetof(struct ublk_export, completions)));
}

static bool ublk_submit(struct loop_hook *submission)
{
	submit((struct ublk_export *)((char *)submission -
				      offsetof(struct ublk_export, submission)));
	return false;
}

static void ublk_idle(struct loop_timer *timer)
{
	struct ublk_export *ublk = (struct ublk_export *)((char *)timer -
							  offsetof(struct ublk_export, idle));
	ublk->idle_set = ublk->in_flight > 0;
	if (ublk->in_flight) {
		loop_set_timer(ublk->options.loop, timer, IDLE_MS);
		return;
	}
	for (unsigned i = 0; i < DEPTH; i++)
		if (!ublk->tags[i].filling)
			madvise(ublk->tags[i].memory, TRANSFER, MADV_DONTNEED);
}

/* Serve until the command has ended. */
static int run_while_serving(struct ublk_export *ublk, const struct ublk_command *command)
{
	struct engine *engine = ublk->served->engine;
	int result = 0;
	ublk_control_begin(&ublk->control, command);
	for (;;) {
		engine_run(engine);
		submit(ublk);
		if (ublk_control_ended(&ublk->control, &result))
			return result;
		struct pollfd polled[] = {
			{.fd = ublk->control.ring.ring_fd, .events = POLLIN},
			{.fd = ublk->ring.ring_fd, .events = POLLIN},
			{.fd = engine_fd(engine), .events = POLLIN},
		};
		bool sleeps = engine_sleep(engine);
		poll(polled, ARRAY_SIZE(polled), sleeps ? -1 : 0);
		take_requests(ublk);
	}
}

/* ------------------------------------------------------------------------------------------- */

static int add_device(struct ublk_export *ublk, struct ramet_error *err)
{
	struct ublksrv_ctrl_dev_info info = {
		.nr_hw_queues = 1,
		.queue_depth = DEPTH,
		.max_io_buf_bytes = TRANSFER,
		.dev_id = UINT32_MAX,
		.flags = UBLK_F_NEED_GET_DATA,
		.ublksrv_flags = ublk_control_mark(),
	};
	const struct ublk_command command = {.command = UBLK_CMD_ADD_DEV,
		.device = UINT32_MAX,
		.data = &info,
		.length = sizeof info};
	int r = ublk_control_run(&ublk->control, &command);
	if (r == -EACCES)
		return error_set(err, EACCES,
			"the kernel makes no more ublk devices: their number is limited by the parameter "
			"ublks_max of its module, ublk_drv");
	if (r < 0)
		return error_errno(err, -r, "cannot make a ublk device");
	ublk->added = true;
	ublk->device = info.dev_id;
	snprintf(ublk->name, sizeof ublk->name, "/dev/ublkb%u", ublk->device);
	return 0;
}

static int set_parameters(struct ublk_export *ublk, struct ramet_error *err)
{
	const struct block_device *device = ublk->served->device;
	bool discards = !device->read_only && device->ops->discard;
	struct ublk_params parameters = {
		.len = sizeof parameters,
		.types = UBLK_PARAM_TYPE_BASIC | (discards ? UBLK_PARAM_TYPE_DISCARD : 0),
		.basic = {.attrs = (device->read_only ? UBLK_ATTR_READ_ONLY : 0) |
				   UBLK_ATTR_VOLATILE_CACHE | UBLK_ATTR_FUA,
			.logical_bs_shift = 9,
			.physical_bs_shift = 12,
			.io_min_shift = 12,
			.max_sectors = TRANSFER / SECTOR,
			.dev_sectors = device->size / SECTOR},
		.discard = {.discard_granularity = 4096,
			.max_discard_sectors = DISCARD / SECTOR,
			.max_write_zeroes_sectors = DISCARD / SECTOR,
			.max_discard_segments = 1},
	};
	const struct ublk_command command = {.command = UBLK_CMD_SET_PARAMS,
		.device = ublk->device,
		.data = &parameters,
		.length = sizeof parameters};
	int r = ublk_control_run(&ublk->control, &command);
	return r < 0 ? error_errno(err, -r, "cannot describe %s to the kernel", ublk->name) : 0;
}

/* udev may still be about to let us open it. */
static int open_device(struct ublk_export *ublk, struct ramet_error *err)
{
	char name[24];
	snprintf(name, sizeof name, "/dev/ublkc%u", ublk->device);
	for (unsigned tries = 0; tries < NODE_TRIES && ublk->fd < 0; tries++) {
		ublk->fd = open(name, O_RDWR | O_CLOEXEC);
		if (ublk->fd < 0)
			usleep(NODE_WAIT_US);
	}
	if (ublk->fd < 0)
		return error_errno(err, errno, "cannot open %s", name);
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t size = DEPTH * sizeof(struct ublksrv_io_desc);
	ublk->descriptions_size = (size + page - 1) / page * page;
	void *shared = mmap(NULL, ublk->descriptions_size, PROT_READ, MAP_SHARED | MAP_POPULATE,
		ublk->fd, UBLKSRV_CMD_BUF_OFFSET);
	if (shared == MAP_FAILED)
		return error_errno(err, errno, "cannot share memory with %s", name);
	ublk->descriptions = shared;
	return 0;
}

static int make_queue(struct ublk_export *ublk, struct ramet_error *err)
{
	int r = ublk_ring_new(DEPTH, IORING_SETUP_COOP_TASKRUN, &ublk->ring);
	if (r < 0)
		return error_errno(err, -r, "cannot make a queue for %s", ublk->name);
	ublk->has_ring = true;
	void *memory = mmap(NULL, (size_t)DEPTH * TRANSFER, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED)
		return error_memory(err);
	madvise(memory, (size_t)DEPTH * TRANSFER, MADV_NOHUGEPAGE);
	ublk->memory = memory;
	for (unsigned i = 0; i < DEPTH; i++) {
		ublk->tags[i].ublk = ublk;
		ublk->tags[i].memory = ublk->memory + (size_t)i * TRANSFER;
		send_command(&ublk->tags[i], UBLK_IO_FETCH_REQ, 0);
	}
	submit(ublk);
	return 0;
}

static int start_device(struct ublk_export *ublk, struct ramet_error *err)
{
	const struct ublk_command command = {
		.command = UBLK_CMD_START_DEV, .device = ublk->device, .value = (uint64_t)getpid()};
	int r = run_while_serving(ublk, &command);
	if (r < 0)
		return error_errno(err, -r, "cannot start %s", ublk->name);
	ublk->completions = (struct loop_fd){
		.fd = ublk->ring.ring_fd, .events = POLLIN, .ready = ublk_ready};
	if (loop_add(ublk->options.loop, &ublk->completions) < 0)
		return error_memory(err);
	ublk->submission.run = ublk_submit;
	loop_add_hook(ublk->options.loop, &ublk->submission);
	ublk->in_loop = true;
	return 0;
}

static int make_device(struct ublk_export *ublk, struct ramet_error *err)
{
	int r = ublk_control_open(&ublk->control, err);
	if (r < 0)
		return r;
	ublk_control_sweep(&ublk->control);
	r = add_device(ublk, err);
	if (r == 0)
		r = set_parameters(ublk, err);
	if (r == 0)
		r = open_device(ublk, err);
	if (r == 0)
		r = make_queue(ublk, err);
	return r < 0 ? r : start_device(ublk, err);
}

static void ublk_stop(struct export *export)
{
	struct ublk_export *ublk = (struct ublk_export *)export;
	const struct ublk_command command = {.command = UBLK_CMD_STOP_DEV, .device = ublk->device};
	if (!ublk->has_ring)
		return;
	run_while_serving(ublk, &command);
	ublk->has_ring = false;
	if (ublk->in_loop) {
		loop_remove(ublk->options.loop, &ublk->completions);
		loop_remove_hook(ublk->options.loop, &ublk->submission);
		loop_clear_timer(ublk->options.loop, &ublk->idle);
	}
	engine_drain(ublk->served->engine);
	io_uring_queue_exit(&ublk->ring);
}

/* The driver removes a device only when its memory and its file are let go of. */
static void ublk_close(struct export *export)
{
	struct ublk_export *ublk = (struct ublk_export *)export;
	ublk_stop(export);
	if (ublk->descriptions)
		munmap((void *)(uintptr_t)ublk->descriptions, ublk->descriptions_size);
	cleanup_close(&ublk->fd);
	if (ublk->added)
		ublk_control_remove(&ublk->control, ublk->device);
	ublk_control_close(&ublk->control);
	if (ublk->memory)
		munmap(ublk->memory, (size_t)DEPTH * TRANSFER);
	free(ublk);
}

static int ublk_open(
	const struct export_options *options, struct export **export, struct ramet_error *err)
{
	if (options->device_count != 1)
		return error_set(err, EINVAL, "a ublk device has one disk");
	struct ublk_export *ublk = calloc(1, sizeof *ublk);
	if (!ublk)
		return error_memory(err);
	ublk->export.ops = &export_ublk;
	ublk->options = *options;
	ublk->served = options->devices;
	ublk->fd = ublk->control.fd = -1;
	ublk->idle.expired = ublk_idle;
	int r = make_device(ublk, err);
	if (r < 0) {
		ublk_close(&ublk->export);
		return r;
	}
	*export = &ublk->export;
	return 0;
}

static const char *ublk_describe(const struct export *export, size_t device)
{
	return ((const struct ublk_export *)export)->name;
}

static const int syscalls[] = {SYS_io_uring_enter, SYS_madvise, SYS_munmap, -1};

const struct export_ops export_ublk = {
	.name = "ublk",
	.summary = "a block device of the kernel, /dev/ublkbN",
	.place = EXPORT_KERNEL_DEVICE,
	.syscalls = syscalls,
	.open = ublk_open,
	.describe = ublk_describe,
	.stop = ublk_stop,
	.close = ublk_close,
};
