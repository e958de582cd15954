/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EROFS on disk, as far as an uncompressed image goes: what the writer writes and the reader reads.
 * All numbers are little-endian. The facts are those of the kernel's
 * Documentation/filesystems/erofs.rst and fs/erofs/erofs_fs.h.
 *
 * An image is an array of blocks. Inodes stand in slots of 32 bytes, counted from the metadata
 * block address: the number of an inode's slot is its nid. Behind an inode of 32 or 64 bytes come
 * its extended attributes, and behind them either the tail of its content (FLAT_INLINE) or the
 * addresses of its chunks (CHUNK_BASED).
 */
#ifndef IMAGE_EROFS_FORMAT_H
#define IMAGE_EROFS_FORMAT_H

#include <stdint.h>

#define EROFS_SUPER_OFFSET 1024
#define EROFS_MAGIC        0xE0F5E1E2u
#define EROFS_SLOT_SIZE    32u
#define EROFS_SLOT_BITS    5
#define EROFS_NO_BLOCK     0xFFFFFFFFu /* the address of a chunk that is a hole */
#define EROFS_NAME_MAX     255
#define EROFS_BLOCK_BITS   12 /* what every kernel reads; from 6.4 on 9 to the page's bits */
#define EROFS_BLOCK_SIZE   (1u << EROFS_BLOCK_BITS)

/* feature_compat: a kernel mounts whatever bits are set. */
enum erofs_compat {
	EROFS_COMPAT_SUPER_CHECKSUM = 0x1,
	EROFS_COMPAT_MTIME = 0x2,           /* times in inodes are of modification, not of change */
	EROFS_COMPAT_XATTR_FILTER = 0x4,    /* 6.6: the attributes' h_name_filter is filled */
	EROFS_COMPAT_PLAIN_PREFIXES = 0x10, /* 6.17: long prefixes: never in the packed inode */
};

/* feature_incompat: a kernel refuses what it does not know. The first kernel that knows each is
 * given; what is of compression is there to be refused by name. */
enum erofs_incompat {
	EROFS_INCOMPAT_ZERO_PADDING = 0x1,     /* 5.3: compressed clusters end at a block's end */
	EROFS_INCOMPAT_COMPRESSION_CFGS = 0x2, /* 5.13; also: clusters of many blocks */
	EROFS_INCOMPAT_CHUNKED_FILE = 0x4,     /* 5.15 */
	EROFS_INCOMPAT_DEVICE_TABLE = 0x8,     /* 5.16; also: a second compression algorithm */
	EROFS_INCOMPAT_TAIL_PACKING = 0x10,    /* 5.17: of compressed data */
	EROFS_INCOMPAT_FRAGMENTS = 0x20,       /* 6.1; also: deduplication of compressed data */
	EROFS_INCOMPAT_XATTR_PREFIXES = 0x40,  /* 6.4: long prefixes of attributes' names */
	EROFS_INCOMPAT_48BIT = 0x80,           /* 6.15: block numbers beyond 32 bits */
	EROFS_INCOMPAT_METABOX = 0x100,        /* 6.17 */
};

/* At EROFS_SUPER_OFFSET. Its checksum is CRC-32C (initial value ~0, not inverted at the end) of
 * all bytes from here to the end of the first block, with zero in place of the checksum. */
struct erofs_super {
	uint32_t magic;
	uint32_t checksum;
	uint32_t feature_compat;
	uint8_t block_bits;
	uint8_t extra_slots; /* of 16 bytes, behind this structure */
	uint16_t root_nid;   /* with root_nid_wide: bits 32 to 47 of blocks */
	uint64_t inodes;
	uint64_t build_time; /* the mtime of every compact inode: seconds, signed, ... */
	uint32_t build_time_nsec;
	uint32_t blocks; /* of the whole image */
	uint32_t meta_block;
	uint32_t xattr_block; /* where the shared attributes' numbers count from */
	uint8_t uuid[16];
	uint8_t volume_name[16];
	uint32_t feature_incompat;
	uint16_t compression; /* bits of algorithms, or the greatest distance of lz4 */
	uint16_t extra_devices;
	uint16_t device_slot;
	uint8_t directory_block_bits; /* above block_bits; 0 always */
	uint8_t xattr_prefix_count;
	uint32_t xattr_prefix_start; /* see struct erofs_xattr_prefix */
	uint64_t packed_nid;         /* an inode without a name, of fragments and prefixes */
	uint8_t xattr_filter_reserved;
	uint8_t reserved[7];
	uint64_t root_nid_wide; /* with EROFS_INCOMPAT_48BIT, or 0 */
	uint8_t reserved2[8];
};

/* The first field of an inode: bit 0 whether it is an extended one, bits 1 to 3 its layout, bit 4
 * see below, all others 0. */
#define EROFS_FORMAT_EXTENDED     0x1
#define EROFS_FORMAT_LAYOUT_SHIFT 1
#define EROFS_FORMAT_LAYOUT_MASK  0x7
#define EROFS_FORMAT_ALL          0xF
/* 6.15. A directory: it has no "."; any other compact inode: it has one link, and its nlink is bits
 * 32 to 47 of its block's number. In an extended inode `reserved` is always that. */
#define EROFS_FORMAT_BIT_4 0x10

enum erofs_layout {
	EROFS_FLAT_PLAIN = 0, /* blocks in a row; the last is padded with zeros */
	EROFS_COMPRESSED_FULL = 1,
	EROFS_FLAT_INLINE = 2, /* the same, but the last, incomplete one is behind the inode,
					 and does not cross a block's end there */
	EROFS_COMPRESSED_COMPACT = 3,
	EROFS_CHUNK_BASED = 4, /* an address for each chunk, behind the inode */
};

/* The field that depends on the kind of inode: FLAT: the first block (0xFFFFFFFF or 0 when there is
 * none); device: its number as the kernel's new_encode_dev() packs it; CHUNK_BASED: the low half
 * says how chunks are stored, the high half is 0. */
#define EROFS_CHUNK_BITS_MASK 0x1F /* a chunk is a block << these bits */
#define EROFS_CHUNK_INDEXES   0x20 /* addresses of 8 bytes (struct erofs_chunk_index), not of 4 */
#define EROFS_CHUNK_ALL       0x3F
#define EROFS_CHUNK_48BIT     0x40 /* 6.15: `advise` is bits 32 to 47 of the address */

struct erofs_inode_compact {
	uint16_t format;
	uint16_t xattr_count; /* see EROFS_XATTR_COUNT_SIZE */
	uint16_t mode;
	uint16_t nlink;
	uint32_t size;
	uint32_t reserved; /* 6.15: mtime, seconds after build_time */
	uint32_t u;
	uint32_t number; /* for a stat() of 32 bits; otherwise unused */
	uint16_t uid;
	uint16_t gid;
	uint32_t reserved2;
};

struct erofs_inode_extended {
	uint16_t format;
	uint16_t xattr_count;
	uint16_t mode;
	uint16_t reserved;
	uint64_t size;
	uint32_t u;
	uint32_t number;
	uint32_t uid;
	uint32_t gid;
	uint64_t mtime; /* seconds, signed */
	uint32_t mtime_nsec;
	uint32_t nlink;
	uint8_t reserved2[16];
};

/* Addresses of chunks begin at the next multiple of their own size behind the attributes. */
struct erofs_chunk_index {
	uint16_t advise; /* 0 */
	uint16_t device; /* 0: this one */
	uint32_t block;
};

/*
 * A directory's content is blocks that stand alone: dirents, sorted bytewise by name within a block
 * and across blocks ("." and ".." in their places), then the names, without NUL and in the same
 * order. The first dirent's name_offset / 12 is their number; a name ends where the next begins,
 * the last at its first NUL or at the end of the block or of the directory.
 */
struct erofs_dirent {
	uint64_t nid;
	uint16_t name_offset; /* within the block */
	uint8_t type;
	uint8_t reserved;
} __attribute__((packed));

enum erofs_file_type {
	EROFS_TYPE_UNKNOWN,
	EROFS_TYPE_REGULAR,
	EROFS_TYPE_DIRECTORY,
	EROFS_TYPE_CHARACTER,
	EROFS_TYPE_BLOCK,
	EROFS_TYPE_FIFO,
	EROFS_TYPE_SOCKET,
	EROFS_TYPE_SYMLINK,
};

/* Behind an inode with attributes: this header, the numbers of its shared attributes, and then its
 * own, each padded to 4 bytes. All together have EROFS_XATTR_COUNT_SIZE(xattr_count) bytes. */
struct erofs_xattr_header {
	uint32_t name_filter; /* 0 without EROFS_COMPAT_XATTR_FILTER */
	uint8_t shared_count;
	uint8_t reserved[7];
	/* uint32_t shared[]: the place of the attribute in 4 bytes, from xattr_block on */
};
#define EROFS_XATTR_COUNT_SIZE(count) ((count) ? 12u + 4u * ((uint32_t)(count)-1u) : 0u)
#define EROFS_XATTR_SIZE_COUNT(size)  (((uint32_t)(size)-12u) / 4u + 1u)

/* Name without its prefix, then value, then zeros to a multiple of 4. */
struct erofs_xattr_entry {
	uint8_t name_length;
	uint8_t name_index;
	uint16_t value_size;
};

enum erofs_xattr_index {
	EROFS_XATTR_USER = 1,        /* "user." */
	EROFS_XATTR_ACL_ACCESS = 2,  /* "system.posix_acl_access", no name is left */
	EROFS_XATTR_ACL_DEFAULT = 3, /* "system.posix_acl_default" */
	EROFS_XATTR_TRUSTED = 4,     /* "trusted." */
	EROFS_XATTR_LUSTRE = 5,
	EROFS_XATTR_SECURITY = 6, /* "security." */
	EROFS_XATTR_LONG_PREFIX = 0x80,
};

/*
 * The long prefixes begin 4 * xattr_prefix_start bytes into the image, or into the packed inode
 * when there is one (EROFS_INCOMPAT_FRAGMENTS and packed_nid) and not EROFS_COMPAT_PLAIN_PREFIXES.
 * Each starts at a multiple of 4. An attribute's name_index with EROFS_XATTR_LONG_PREFIX is the
 * number of one; its name is the prefix of base_index, the infix, and its own part.
 */
struct erofs_xattr_prefix {
	uint16_t length; /* of what follows */
	uint8_t base_index;
	/* char infix[length - 1]; at most EROFS_NAME_MAX */
} __attribute__((packed));

_Static_assert(sizeof(struct erofs_super) == 128, "as on disk");
_Static_assert(sizeof(struct erofs_inode_compact) == 32, "as on disk");
_Static_assert(sizeof(struct erofs_inode_extended) == 64, "as on disk");
_Static_assert(sizeof(struct erofs_chunk_index) == 8, "as on disk");
_Static_assert(sizeof(struct erofs_dirent) == 12, "as on disk");
_Static_assert(sizeof(struct erofs_xattr_header) == 12, "as on disk");
_Static_assert(sizeof(struct erofs_xattr_entry) == 4, "as on disk");

#endif
