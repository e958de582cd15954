/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A folder with the disk as one file in it, for what wants a path: Firecracker's and QEMU's drives,
 * virtio-pmem (it can be mapped), loop devices. The kernel's page cache stands before it.
 *
 * The protocol is spoken here and not by libfuse: one device needs a handful of its messages, there
 * is no copy between the engine's memory and the kernel, nothing is allocated for a request, and
 * neither a library's version nor its memory matters.
 *
 * A request is read into a slot, whose memory is laid out so that the bytes of the disk begin at a
 * page, whichever way they go:
 *
 *                          slot->data, aligned
 *     WRITE  ... in_header write_in |  bytes ...     read from the kernel, then moved by the engine
 *     READ             out_header   |  bytes ...     moved by the engine, then written to the kernel
 *
 * Slots are used last in, first out, and give their pages back when they hold too many, or after a
 * second without requests: memory is what the load needs, and bounded.
 */
#include <fcntl.h>
#include <linux/falloc.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "export/fuse.h"
#include "export/fuse_inside.h"
#include "export/fuse_mount.h"

#define HEADERS (sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in))
enum {
	ALIGNMENT = 4096,
	SLOT = ALIGNMENT + FUSE_TRANSFER,
	BYTES = 16 << 20,   /* being moved: beyond it no more requests are taken */
	RESIDENT = 4 << 20, /* memory that free slots may keep while there is work */
	IDLE_MS = 1000,
	GREETING_MS = 10000,
};

struct fuse_slot {
	struct block_request request; /* first */
	struct iovec vector;
	struct fuse_export *fuse;
	uint64_t unique;
	uint8_t *data;
	uint32_t touched; /* bytes of data that have memory, at most */
	uint32_t opcode;
	struct fuse_slot *next;
};

void fuse_reply(
	const struct fuse_export *fuse, uint64_t unique, int error, const void *body, size_t size)
{
	struct fuse_out_header out = {
		.len = sizeof out + (uint32_t)(error ? 0 : size), .error = error, .unique = unique};
	const struct iovec vector[] = {
		{.iov_base = &out, .iov_len = sizeof out},
		{.iov_base = (void *)(uintptr_t)body, .iov_len = size},
	};
	/* It fails when nobody waits for the answer any more. */
	if (writev(fuse->connection.fd, vector, error || size == 0 ? 1 : 2) < 0)
		return;
}

/* ------------------------------------------------------------------------------------------- */

static struct fuse_slot *slot_take(struct fuse_export *fuse)
{
	struct fuse_slot *slot = fuse->bytes < BYTES ? fuse->free : NULL;
	if (slot)
		fuse->free = slot->next;
	return slot;
}

static void slot_touch(struct fuse_slot *slot, uint32_t bytes)
{
	if (bytes <= slot->touched)
		return;
	slot->fuse->resident += bytes - slot->touched;
	slot->touched = bytes;
}

static void slot_release_memory(struct fuse_slot *slot)
{
	madvise(slot->data - ALIGNMENT, SLOT, MADV_DONTNEED);
	slot->fuse->resident -= slot->touched;
	slot->touched = 0;
}

static void slot_give(struct fuse_slot *slot)
{
	struct fuse_export *fuse = slot->fuse;
	if (fuse->resident > RESIDENT + fuse->bytes)
		slot_release_memory(slot);
	slot->next = fuse->free;
	fuse->free = slot;
	if (!fuse->stopped)
		fuse->connection.events = POLLIN;
}

static void fuse_idle(struct loop_timer *timer)
{
	struct fuse_export *fuse = (struct fuse_export *)((char *)timer -
							  offsetof(struct fuse_export, idle));
	fuse->idle_set = fuse->in_flight > 0;
	if (fuse->in_flight) {
		loop_set_timer(fuse->options.loop, timer, IDLE_MS);
		return;
	}
	for (struct fuse_slot *slot = fuse->free; slot; slot = slot->next)
		if (slot->touched)
			slot_release_memory(slot);
}

/* ------------------------------------------------------------------------------------------- */

/* The answer to a READ stands right before the bytes. */
static void reply_bytes(struct fuse_slot *slot)
{
	const struct fuse_out_header out = {
		.len = (uint32_t)(sizeof out + slot->request.length), .unique = slot->unique};
	memcpy(slot->data - sizeof out, &out, sizeof out);
	if (write(slot->fuse->connection.fd, slot->data - sizeof out, out.len) < 0)
		return; /* as in fuse_reply() */
}

static void reply_written(struct fuse_slot *slot)
{
	const struct fuse_write_out out = {.size = (uint32_t)slot->request.length};
	fuse_touch(slot->fuse);
	fuse_reply(slot->fuse, slot->unique, 0, &out, sizeof out);
}

static void slot_done(struct block_request *request, int result)
{
	struct fuse_slot *slot = (struct fuse_slot *)request;
	struct fuse_export *fuse = slot->fuse;
	fuse->dirty |= request->operation != BLOCK_READ &&
		       (result < 0 || request->operation != BLOCK_FLUSH);
	if (result < 0)
		fuse_reply(fuse, slot->unique, result, NULL, 0);
	else if (request->operation == BLOCK_READ)
		reply_bytes(slot);
	else if (request->operation == BLOCK_WRITE)
		reply_written(slot);
	else
		fuse_reply(fuse, slot->unique, 0, NULL, 0);
	fuse->in_flight--;
	if (request->operation == BLOCK_READ || request->operation == BLOCK_WRITE)
		fuse->bytes -= request->length;
	/* Who waits for each answer asks again right after it. */
	if (fuse->in_flight == 0)
		loop_expect(fuse->options.loop);
	slot_give(slot);
}

static void slot_submit(
	struct fuse_slot *slot, enum block_operation operation, uint64_t offset, uint64_t length)
{
	struct fuse_export *fuse = slot->fuse;
	slot->vector = (struct iovec){.iov_base = slot->data, .iov_len = length};
	slot->request = (struct block_request){
		.operation = operation,
		.offset = offset,
		.length = length,
		.vector = &slot->vector,
		.vector_count = 1,
		.done = slot_done,
	};
	fuse->in_flight++;
	if (operation == BLOCK_READ || operation == BLOCK_WRITE)
		fuse->bytes += length;
	if (!fuse->idle_set)
		loop_set_timer(fuse->options.loop, &fuse->idle, IDLE_MS);
	fuse->idle_set = true;
	engine_submit(fuse->served->engine, &slot->request);
}

/* So much of [offset, offset + length) is within the disk. */
static uint64_t within(const struct fuse_export *fuse, uint64_t offset, uint64_t length)
{
	uint64_t size = fuse->served->device->size;
	return offset < size ? MIN(length, size - offset) : 0;
}

/* ------------------------------------------------------------------------------------------- */
/* Each begins a request, and answers whether it keeps the slot. */

static bool begin_read(struct fuse_slot *slot, const struct fuse_read_in *in)
{
	uint64_t offset = in->offset;
	uint64_t length = within(slot->fuse, offset, MIN(in->size, (uint32_t)FUSE_TRANSFER));
	if (length == 0) {
		fuse_reply(slot->fuse, slot->unique, 0, NULL, 0);
		return false;
	}
	slot_touch(slot, (uint32_t)length);
	slot_submit(slot, BLOCK_READ, offset, length);
	return true;
}

static bool begin_write(struct fuse_slot *slot, const struct fuse_write_in *in)
{
	uint64_t length = within(slot->fuse, in->offset, MIN(in->size, (uint32_t)FUSE_TRANSFER));
	if (length == 0) {
		/* As a disk says it. */
		fuse_reply(slot->fuse, slot->unique, in->size ? -ENOSPC : 0, NULL, 0);
		return false;
	}
	slot_submit(slot, BLOCK_WRITE, in->offset, length);
	return true;
}

static bool begin_flush(struct fuse_slot *slot)
{
	struct fuse_export *fuse = slot->fuse;
	/* Closing need not wait for the disk when there is nothing new on it. */
	if (slot->opcode == FUSE_FLUSH && !fuse->dirty) {
		fuse_reply(
			fuse, slot->unique, fuse->served->device->read_only ? -ENOSYS : 0, NULL, 0);
		return false;
	}
	fuse->dirty = false;
	slot_submit(slot, BLOCK_FLUSH, 0, 0);
	return true;
}

static bool begin_fallocate(struct fuse_slot *slot, const struct fuse_fallocate_in *in)
{
	struct fuse_export *fuse = slot->fuse;
	uint64_t length = within(fuse, in->offset, in->length);
	if (!(in->mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))) {
		fuse_reply(fuse, slot->unique, -EOPNOTSUPP, NULL, 0);
		return false;
	}
	if (length < in->length && !(in->mode & FALLOC_FL_KEEP_SIZE)) {
		fuse_reply(fuse, slot->unique, -EFBIG, NULL, 0);
		return false;
	}
	if (length == 0) {
		fuse_reply(fuse, slot->unique, 0, NULL, 0);
		return false;
	}
	slot_submit(slot, BLOCK_DISCARD, in->offset, length);
	return true;
}

static bool begin(struct fuse_slot *slot)
{
	const struct fuse_in_header *in = (const void *)(slot->data - HEADERS);
	const void *body = in + 1;
	slot->unique = in->unique;
	slot->opcode = in->opcode;
	switch (in->opcode) {
	case FUSE_READ:
		return begin_read(slot, body);
	case FUSE_WRITE:
		return begin_write(slot, body);
	case FUSE_FSYNC:
	case FUSE_FLUSH:
		return begin_flush(slot);
	case FUSE_FALLOCATE:
		return begin_fallocate(slot, body);
	default:
		fuse_answer(slot->fuse, in, body);
		return false;
	}
}

/* ------------------------------------------------------------------------------------------- */

/* The kernel has let go of the mount: somebody unmounted it. */
static void fuse_gone(struct fuse_export *fuse)
{
	_cleanup_text_ struct text sentence = {0};
	text_format(&sentence, "%s was unmounted: there is nothing left to serve", fuse->folder);
	if (fuse->options.note && !sentence.failed)
		fuse->options.note(fuse->options.note_ctx, sentence.data);
	fuse->stopped = true;
	fuse->connection.events = 0;
	loop_stop(fuse->options.loop, 0);
}

/* Read one request and begin it. false: there is none, or no slot for it. */
static bool receive(struct fuse_export *fuse)
{
	struct fuse_slot *slot = slot_take(fuse);
	if (!slot) {
		fuse->connection.events = 0;
		return false;
	}
	ssize_t n = read(fuse->connection.fd, slot->data - HEADERS, HEADERS + FUSE_TRANSFER);
	int error = errno;
	if (n > (ssize_t)HEADERS)
		slot_touch(slot, (uint32_t)(n - (ssize_t)HEADERS));
	if (n < (ssize_t)sizeof(struct fuse_in_header) || !begin(slot))
		slot_give(slot);
	if (n < 0 && error == ENODEV)
		fuse_gone(fuse);
	/* ENOENT: whoever asked had gone meanwhile. */
	return n >= 0 || error == EINTR || error == ENOENT;
}

/*
 * How many requests are read before the engine begins with them: one at first, so that a single one
 * does not wait until the kernel has said that there are no more, and twice as many whenever there
 * were enough.
 */
static void fuse_ready(struct loop_fd *connection, short revents)
{
	struct fuse_export *fuse = (struct fuse_export *)((char *)connection -
							  offsetof(struct fuse_export, connection));
	unsigned got = 0;
	while (got < fuse->burst && !fuse->stopped && receive(fuse))
		got++;
	if (got == fuse->burst)
		fuse->burst = MIN(fuse->burst * 2, (unsigned)FUSE_DEPTH);
	else
		fuse->burst = MAX(got, 1);
}

/* ------------------------------------------------------------------------------------------- */

static int make_slots(struct fuse_export *fuse, struct ramet_error *err)
{
	fuse->slots = calloc(FUSE_DEPTH, sizeof *fuse->slots);
	void *memory = mmap(NULL, (size_t)FUSE_DEPTH * SLOT, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED || !fuse->slots)
		return error_memory(err);
	/* A huge page for what needs two small ones would be no bargain. */
	madvise(memory, (size_t)FUSE_DEPTH * SLOT, MADV_NOHUGEPAGE);
	fuse->memory = memory;
	for (unsigned i = FUSE_DEPTH; i-- > 0;) {
		struct fuse_slot *slot = &fuse->slots[i];
		slot->fuse = fuse;
		slot->data = fuse->memory + (size_t)i * SLOT + ALIGNMENT;
		slot->next = fuse->free;
		fuse->free = slot;
	}
	return 0;
}

/* The kernel's first request, which comes at once. */
static int greet(struct fuse_export *fuse, struct ramet_error *err)
{
	struct pollfd waited = {.fd = fuse->connection.fd, .events = POLLIN};
	if (poll(&waited, 1, GREETING_MS) > 0)
		receive(fuse);
	if (!fuse->greeted)
		return error_set(err, EPROTO,
			"the kernel's FUSE speaks no version of the protocol that is known here; it has "
			"to be Linux 4.20 or newer");
	return 0;
}

static int name_file(struct fuse_export *fuse, struct ramet_error *err)
{
	struct text path = {0};
	text_format(&path, "%s/" FUSE_FILE, fuse->folder);
	if (path.failed) {
		text_free(&path);
		return error_memory(err);
	}
	fuse->file = path.data;
	return 0;
}

static int prepare(struct fuse_export *fuse, struct ramet_error *err)
{
	const struct export_options *options = &fuse->options;
	int r = make_slots(fuse, err);
	if (r < 0)
		return r;
	r = fuse_mount(options->address, fuse->served->device->read_only, options->user != NULL,
		&fuse->folder, &fuse->connection.fd, err);
	if (r < 0) {
		fuse->connection.fd = -1;
		return r;
	}
	r = name_file(fuse, err);
	if (r == 0)
		r = greet(fuse, err);
	if (r == 0 && loop_add(options->loop, &fuse->connection) < 0)
		r = error_memory(err);
	return r;
}

static void fuse_close(struct export *export)
{
	struct fuse_export *fuse = (struct fuse_export *)export;
	loop_remove(fuse->options.loop, &fuse->connection);
	loop_clear_timer(fuse->options.loop, &fuse->idle);
	/* In a sandbox it fails: then it is done from outside, with export_fuse_clean(). */
	if (fuse->connection.fd >= 0)
		fuse_unmount(fuse->folder, NULL);
	cleanup_close(&fuse->connection.fd);
	if (fuse->memory)
		munmap(fuse->memory, (size_t)FUSE_DEPTH * SLOT);
	free(fuse->slots);
	free(fuse->folder);
	free(fuse->file);
	free(fuse);
}

static int fuse_open(
	const struct export_options *options, struct export **export, struct ramet_error *err)
{
	if (options->device_count != 1)
		return error_set(err, EINVAL, "a FUSE mount has one disk");
	struct fuse_export *fuse = calloc(1, sizeof *fuse);
	if (!fuse)
		return error_memory(err);
	*fuse = (struct fuse_export){
		.export = {.ops = &export_fuse},
		.options = *options,
		.served = options->devices,
		.connection = {.fd = -1, .events = POLLIN, .ready = fuse_ready},
		.idle = {.expired = fuse_idle},
		.burst = 1,
	};
	fuse_touch(fuse);
	int r = prepare(fuse, err);
	if (r < 0) {
		fuse_close(&fuse->export);
		return r;
	}
	*export = &fuse->export;
	return 0;
}

static const char *fuse_describe(const struct export *export, size_t device)
{
	return ((const struct fuse_export *)export)->file;
}

static void fuse_stop(struct export *export)
{
	struct fuse_export *fuse = (struct fuse_export *)export;
	fuse->stopped = true;
	fuse->connection.events = 0;
}

static const int syscalls[] = {SYS_read, SYS_write, SYS_writev, SYS_madvise, -1};

const struct export_ops export_fuse = {
	.name = "fuse",
	.place = EXPORT_FOLDER,
	.summary = "a file in a FUSE mount",
	.syscalls = syscalls,
	.open = fuse_open,
	.describe = fuse_describe,
	.close = fuse_close,
	.stop = fuse_stop,
};
