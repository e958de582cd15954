/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost-user and virtio as they are on the wire and in guest memory. Sources: QEMU's
 * docs/interop/vhost-user.rst; virtio 1.2, 2.7 (split virtqueues) and 5.2 (block devices). Both are
 * little-endian here; so is every host that this runs on (virtio 1.0 on a big-endian host would have to
 * be swapped).
 */
#ifndef EXPORT_VHOST_USER_WIRE_H
#define EXPORT_VHOST_USER_WIRE_H

#include <stdint.h>

#define VIRTIO_BLK_F_SEG_MAX      (1ULL << 2)
#define VIRTIO_BLK_F_RO           (1ULL << 5)
#define VIRTIO_BLK_F_BLK_SIZE     (1ULL << 6)
#define VIRTIO_BLK_F_FLUSH        (1ULL << 9)
#define VIRTIO_BLK_F_TOPOLOGY     (1ULL << 10)
#define VIRTIO_BLK_F_MQ           (1ULL << 12)
#define VIRTIO_BLK_F_DISCARD      (1ULL << 13)
#define VIRTIO_BLK_F_WRITE_ZEROES (1ULL << 14)
#define VIRTIO_F_INDIRECT_DESC    (1ULL << 28)
#define VIRTIO_F_EVENT_IDX        (1ULL << 29)
#define VHOST_USER_F_PROTOCOL     (1ULL << 30)
#define VIRTIO_F_VERSION_1        (1ULL << 32)

#define VHOST_USER_P_MQ           (1ULL << 0)
#define VHOST_USER_P_REPLY_ACK    (1ULL << 3)
#define VHOST_USER_P_CONFIG       (1ULL << 9)
#define VHOST_USER_P_INFLIGHT     (1ULL << 12)
#define VHOST_USER_P_RESET_DEVICE (1ULL << 13)
#define VHOST_USER_P_MEM_SLOTS    (1ULL << 15)
#define VHOST_USER_P_STATUS       (1ULL << 16)

enum {
	VHOST_GET_FEATURES = 1,
	VHOST_SET_FEATURES = 2,
	VHOST_SET_OWNER = 3,
	VHOST_RESET_OWNER = 4,
	VHOST_SET_MEM_TABLE = 5,
	VHOST_SET_VRING_NUM = 8,
	VHOST_SET_VRING_ADDR = 9,
	VHOST_SET_VRING_BASE = 10,
	VHOST_GET_VRING_BASE = 11,
	VHOST_SET_VRING_KICK = 12,
	VHOST_SET_VRING_CALL = 13,
	VHOST_SET_VRING_ERR = 14,
	VHOST_GET_PROTOCOL_FEATURES = 15,
	VHOST_SET_PROTOCOL_FEATURES = 16,
	VHOST_GET_QUEUE_NUM = 17,
	VHOST_SET_VRING_ENABLE = 18,
	VHOST_GET_CONFIG = 24,
	VHOST_SET_CONFIG = 25,
	VHOST_GET_INFLIGHT_FD = 31,
	VHOST_SET_INFLIGHT_FD = 32,
	VHOST_RESET_DEVICE = 34,
	VHOST_GET_MAX_MEM_SLOTS = 36,
	VHOST_ADD_MEM_REG = 37,
	VHOST_REM_MEM_REG = 38,
	VHOST_SET_STATUS = 39,
	VHOST_GET_STATUS = 40,
	VHOST_REQUESTS,
};

enum {
	VHOST_VERSION = 0x1,
	VHOST_VERSION_MASK = 0x3,
	VHOST_REPLY = 0x4,
	VHOST_NEED_REPLY = 0x8,
};

enum {
	VHOST_TABLE_REGIONS = 8, /* of one SET_MEM_TABLE */
	VHOST_SLOTS = 32,        /* in all */
	VHOST_FDS = 8,           /* with one message */
	VHOST_CONFIG_MOST = 256,
	VHOST_VRING_INDEX = 0xff, /* of the u64 that comes with a vring's fd */
	VHOST_VRING_NO_FD = 0x100,
};

struct vhost_wire_region {
	uint64_t guest, size, user,
		offset; /* addresses: the guest's, the frontend's; in the file */
};

struct vhost_vring_state {
	uint32_t index, value;
};

struct vhost_vring_address {
	uint32_t index, flags;
	uint64_t descriptors, used, available, log;
};

/* Some frontends leave out the last four bytes, which are padding. */
struct vhost_wire_inflight {
	uint64_t size, offset;
	uint16_t queues, queue_size;
	uint32_t padding;
};
enum { VHOST_INFLIGHT_SHORT = 20 };

/* Head and payload follow each other on the wire; here the payload is aligned. */
struct vhost_message {
	uint32_t request, flags, size, unused;
	union {
		uint64_t number;
		struct vhost_vring_state vring;
		struct vhost_vring_address address;
		struct {
			uint32_t count, padding;
			struct vhost_wire_region regions[VHOST_TABLE_REGIONS];
		} memory;
		struct {
			uint64_t padding;
			struct vhost_wire_region region;
		} slot;
		struct {
			uint32_t offset, size, flags;
			uint8_t bytes[VHOST_CONFIG_MOST];
		} config;
		struct vhost_wire_inflight inflight;
	} payload;
};
enum { VHOST_HEAD = 12, VHOST_PAYLOAD_MOST = sizeof(((struct vhost_message *)0)->payload) };

/* ------------------------------------------------------------------------------------------- */
/* Split virtqueues.                                                                            */

enum { VRING_DESC_NEXT = 1, VRING_DESC_WRITE = 2, VRING_DESC_INDIRECT = 4 };
enum { VRING_NO_NOTIFY = 1 };    /* used: do not kick */
enum { VRING_NO_INTERRUPT = 1 }; /* available: do not call */

struct vring_descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t flags, next;
};

/* Behind the ring, with EVENT_IDX: at which index of the used ring to be called. */
struct vring_available {
	uint16_t flags, index, ring[];
};

struct vring_used_element {
	uint32_t head, length;
};

/* Behind the ring, with EVENT_IDX: at which index of the available ring to be kicked. */
struct vring_used {
	uint16_t flags, index;
	struct vring_used_element ring[];
};

/* What a frontend keeps for a backend that is killed: which requests were being served. */
struct vring_inflight_descriptor {
	uint8_t inflight, padding[5];
	uint16_t next;
	uint64_t counter;
};

struct vring_inflight {
	uint64_t features;
	uint16_t version, size, last_head, used_index;
	struct vring_inflight_descriptor descriptors[];
};

/* ------------------------------------------------------------------------------------------- */
/* Block devices.                                                                               */

enum {
	VIRTIO_BLK_IN = 0,
	VIRTIO_BLK_OUT = 1,
	VIRTIO_BLK_FLUSH = 4,
	VIRTIO_BLK_GET_ID = 8,
	VIRTIO_BLK_DISCARD = 11,
	VIRTIO_BLK_WRITE_ZEROES = 13,
};

enum { VIRTIO_BLK_OK = 0, VIRTIO_BLK_IOERR = 1, VIRTIO_BLK_UNSUPPORTED = 2 };
enum { VIRTIO_BLK_ID_BYTES = 20, VIRTIO_BLK_SECTOR = 512 };
enum { VIRTIO_BLK_UNMAP = 1 }; /* in the flags of a range that is to be zeros */

struct virtio_blk_head {
	uint32_t type, reserved;
	uint64_t sector;
};

/* Of DISCARD and WRITE_ZEROES. */
struct virtio_blk_range {
	uint64_t sector;
	uint32_t sectors, flags;
};

struct virtio_blk_configuration {
	uint64_t capacity; /* sectors */
	uint32_t size_max, seg_max;
	uint16_t cylinders;
	uint8_t heads, sectors;
	uint32_t block_size;
	uint8_t physical_block_exponent, alignment_offset; /* topology, in logical blocks */
	uint16_t min_io_size;
	uint32_t opt_io_size;
	uint8_t writeback, unused;
	uint16_t queues;
	uint32_t max_discard_sectors, max_discard_seg, discard_sector_alignment;
	uint32_t max_zeroes_sectors, max_zeroes_seg;
	uint8_t zeroes_may_unmap, unused2[3];
} __attribute__((packed));

_Static_assert(sizeof(struct virtio_blk_configuration) == 60, "as in virtio 1.2, 5.2.4");
_Static_assert(sizeof(struct vhost_wire_inflight) == 24, "as QEMU sends it");
_Static_assert(sizeof(struct vring_inflight) == 16, "as in vhost-user.rst");
_Static_assert(sizeof(struct vring_inflight_descriptor) == 16, "as in vhost-user.rst");

#endif
