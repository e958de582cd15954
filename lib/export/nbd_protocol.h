/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Words of the NBD protocol, by the protocol's document (NetworkBlockDevice/nbd, doc/proto.md); the
 * names are that document's. Everything on the wire is big-endian.
 */
#ifndef EXPORT_NBD_PROTOCOL_H
#define EXPORT_NBD_PROTOCOL_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define NBD_MAGIC                  UINT64_C(0x4e42444d41474943) /* "NBDMAGIC" */
#define NBD_OPTION_MAGIC           UINT64_C(0x49484156454f5054) /* "IHAVEOPT" */
#define NBD_OPTION_REPLY_MAGIC     UINT64_C(0x0003e889045565a9)
#define NBD_REQUEST_MAGIC          UINT32_C(0x25609513)
#define NBD_SIMPLE_REPLY_MAGIC     UINT32_C(0x67446698)
#define NBD_STRUCTURED_REPLY_MAGIC UINT32_C(0x668e33ef)

/* Sizes of headers. */
enum {
	NBD_OPTION_HEADER = 16,       /* magic, option, length */
	NBD_OPTION_REPLY_HEADER = 20, /* magic, option, type, length */
	NBD_REQUEST_HEADER = 28,      /* magic, flags, command, cookie, offset, length */
	NBD_SIMPLE_HEADER = 16,       /* magic, error, cookie */
	NBD_CHUNK_HEADER = 20,        /* magic, flags, type, cookie, length */
};

/* Of the handshake: the server's (16 bits) and the client's (32 bits) are the same. */
enum { NBD_FLAG_FIXED_NEWSTYLE = 1, NBD_FLAG_NO_ZEROES = 2 };

enum {
	NBD_OPT_EXPORT_NAME = 1,
	NBD_OPT_ABORT = 2,
	NBD_OPT_LIST = 3,
	NBD_OPT_STARTTLS = 5,
	NBD_OPT_INFO = 6,
	NBD_OPT_GO = 7,
	NBD_OPT_STRUCTURED_REPLY = 8,
	NBD_OPT_LIST_META_CONTEXT = 9,
	NBD_OPT_SET_META_CONTEXT = 10,
};

#define NBD_REP_ACK          UINT32_C(1)
#define NBD_REP_SERVER       UINT32_C(2)
#define NBD_REP_INFO         UINT32_C(3)
#define NBD_REP_META_CONTEXT UINT32_C(4)
#define NBD_REP_ERR_UNSUP    UINT32_C(0x80000001)
#define NBD_REP_ERR_INVALID  UINT32_C(0x80000003)
#define NBD_REP_ERR_UNKNOWN  UINT32_C(0x80000006)
#define NBD_REP_ERR_TOO_BIG  UINT32_C(0x80000009)

enum { NBD_INFO_EXPORT = 0, NBD_INFO_NAME = 1, NBD_INFO_BLOCK_SIZE = 3 };

/* Of an export. */
enum {
	NBD_FLAG_HAS_FLAGS = 1 << 0,
	NBD_FLAG_READ_ONLY = 1 << 1,
	NBD_FLAG_SEND_FLUSH = 1 << 2,
	NBD_FLAG_SEND_FUA = 1 << 3,
	NBD_FLAG_SEND_TRIM = 1 << 5,
	NBD_FLAG_SEND_WRITE_ZEROES = 1 << 6,
	NBD_FLAG_SEND_DF = 1 << 7,
	NBD_FLAG_CAN_MULTI_CONN = 1 << 8,
	NBD_FLAG_SEND_FAST_ZERO = 1 << 11,
};

enum {
	NBD_CMD_READ = 0,
	NBD_CMD_WRITE = 1,
	NBD_CMD_DISC = 2,
	NBD_CMD_FLUSH = 3,
	NBD_CMD_TRIM = 4,
	NBD_CMD_WRITE_ZEROES = 6,
	NBD_CMD_BLOCK_STATUS = 7,
};

enum {
	NBD_CMD_FLAG_FUA = 1 << 0,
	NBD_CMD_FLAG_NO_HOLE = 1 << 1,
	NBD_CMD_FLAG_DF = 1 << 2,
	NBD_CMD_FLAG_REQ_ONE = 1 << 3,
	NBD_CMD_FLAG_FAST_ZERO = 1 << 4,
};

enum { NBD_REPLY_FLAG_DONE = 1 };
enum {
	NBD_REPLY_TYPE_NONE = 0,
	NBD_REPLY_TYPE_OFFSET_DATA = 1,
	NBD_REPLY_TYPE_BLOCK_STATUS = 5,
	NBD_REPLY_TYPE_ERROR = 0x8001,
};

/* Of base:allocation. */
enum { NBD_STATE_HOLE = 1, NBD_STATE_ZERO = 2 };

enum {
	NBD_EPERM = 1,
	NBD_EIO = 5,
	NBD_ENOMEM = 12,
	NBD_EINVAL = 22,
	NBD_ENOSPC = 28,
	NBD_ENOTSUP = 95,
	NBD_ESHUTDOWN = 108,
};

static inline uint16_t nbd_get16(const uint8_t *at)
{
	uint16_t value;
	memcpy(&value, at, sizeof value);
	return be16toh(value);
}

static inline uint32_t nbd_get32(const uint8_t *at)
{
	uint32_t value;
	memcpy(&value, at, sizeof value);
	return be32toh(value);
}

static inline uint64_t nbd_get64(const uint8_t *at)
{
	uint64_t value;
	memcpy(&value, at, sizeof value);
	return be64toh(value);
}

/* Each answers where the next one goes. */
static inline uint8_t *nbd_put16(uint8_t *at, uint16_t value)
{
	value = htobe16(value);
	return (uint8_t *)memcpy(at, &value, sizeof value) + sizeof value;
}

static inline uint8_t *nbd_put32(uint8_t *at, uint32_t value)
{
	value = htobe32(value);
	return (uint8_t *)memcpy(at, &value, sizeof value) + sizeof value;
}

static inline uint8_t *nbd_put64(uint8_t *at, uint64_t value)
{
	value = htobe64(value);
	return (uint8_t *)memcpy(at, &value, sizeof value) + sizeof value;
}

static inline uint8_t *nbd_put_bytes(uint8_t *at, const void *bytes, size_t length)
{
	return (uint8_t *)memcpy(at, bytes, length) + length;
}

#endif
