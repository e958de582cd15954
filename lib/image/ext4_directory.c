/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directory listings ("Directory Entries" in Documentation/filesystems/ext4): one block holds the
 * entries in a row; more make a hash tree, so that a name among 100,000 is found by reading three
 * blocks. Entries are sorted by hash, packed into leaves, and each leaf's first hash goes into the
 * index; the lowest bit there says that the leaf before ends with the same hash. To a kernel that
 * knows no index every index block looks like one unused entry.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <ext2fs/ext2_fs.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/crc32c.h"
#include "image/ext4_writer.h"

#define TAIL          sizeof(struct ext2_dir_entry_tail)
#define LEAF_SPACE    (EXT4_BLOCK_SIZE - TAIL)
#define LONGEST_ENTRY 264
#define DOTS          24 /* bytes that "." and ".." take */
#define ROOT_START    (DOTS + sizeof(struct ext2_dx_root_info))
#define NODE_START    8 /* after the unused entry that hides the index */
#define INDEX_TAIL    sizeof(struct ext2_dx_tail)
#define ROOT_LIMIT    ((EXT4_BLOCK_SIZE - ROOT_START - INDEX_TAIL) / sizeof(struct ext2_dx_entry))
#define NODE_LIMIT    ((EXT4_BLOCK_SIZE - NODE_START - INDEX_TAIL) / sizeof(struct ext2_dx_entry))

struct entry {
	const char *name;
	ext2_ino_t inode;
	uint32_t type;
	ext2_dirhash_t hash, minor;
};

struct listing {
	struct ext4_writer *writer;
	ext2_ino_t inode, parent;
	struct entry *entries;
	size_t count;
	char *data; /* the blocks */
	uint32_t blocks;
	struct ext2_dx_entry *index; /* of the leaves: first hash and block */
	uint32_t leaves;
};

static unsigned record_length(size_t name_length)
{
	return (unsigned)(name_length + 8 + 3) & ~3U;
}

static uint32_t entry_type(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return EXT2_FT_REG_FILE;
	case S_IFDIR:
		return EXT2_FT_DIR;
	case S_IFCHR:
		return EXT2_FT_CHRDEV;
	case S_IFBLK:
		return EXT2_FT_BLKDEV;
	case S_IFIFO:
		return EXT2_FT_FIFO;
	case S_IFSOCK:
		return EXT2_FT_SOCK;
	default:
		return EXT2_FT_SYMLINK;
	}
}

/* A root without lost+found is given one. */
static bool adds_lost_found(const struct ext4_writer *writer, const struct tree_node *node)
{
	return node && !node->parent && !writer->lost_found;
}

static uint64_t entry_bytes(const struct ext4_writer *writer, const struct tree_node *node)
{
	uint64_t bytes = adds_lost_found(writer, node) ? record_length(10) : 0;
	for (struct tree_node *child = node->first; child; child = child->next)
		bytes += record_length(strlen(child->name));
	return bytes;
}

uint64_t ext4_directory_blocks(const struct ext4_writer *writer, const struct tree_node *node)
{
	uint64_t bytes = entry_bytes(writer, node);
	if (DOTS + bytes <= LEAF_SPACE)
		return 1;
	uint64_t leaves = bytes / (LEAF_SPACE - LONGEST_ENTRY) + 1;
	uint64_t nodes = leaves > ROOT_LIMIT ? leaves / NODE_LIMIT + 1 : 0;
	return 1 + nodes + leaves;
}

/* One entry at offset; it takes length bytes of the block. */
static void put_entry(char *block, unsigned offset, unsigned length, ext2_ino_t inode,
	const char *name, uint32_t type)
{
	struct ext2_dir_entry_2 *entry = (struct ext2_dir_entry_2 *)(block + offset);
	entry->inode = ext2fs_cpu_to_le32(inode);
	entry->rec_len = ext2fs_cpu_to_le16((uint16_t)length);
	entry->name_len = (uint8_t)strlen(name);
	entry->file_type = (uint8_t)type;
	memcpy(entry->name, name, entry->name_len);
}

/* The checksum of a block of an index. */
static errcode_t seal_index(const struct listing *listing, char *block)
{
	return ext2fs_dir_block_csum_set(
		listing->writer->fs, listing->inode, (struct ext2_dir_entry *)block);
}

/* That of a block of entries is made here: libext2fs would read the inode for it, of which only the
 * generation matters, and that is 0. */
static void seal_leaf(const struct listing *listing, char *block)
{
	const uint32_t inode[2] = {ext2fs_cpu_to_le32(listing->inode), 0};
	uint32_t sum = ext2fs_crc32c_le(
		listing->writer->fs->csum_seed, (const unsigned char *)inode, sizeof inode);
	struct ext2_dir_entry_tail *tail = (struct ext2_dir_entry_tail *)(block + LEAF_SPACE);
	tail->det_checksum = ext2fs_cpu_to_le32(~crc32c(~sum, block, LEAF_SPACE));
}

/* Entries from first on, as many as fit; the last takes the rest of the block. Answers how many. */
static size_t fill_leaf(const struct listing *listing, char *block, unsigned offset, size_t first)
{
	size_t i = first;
	for (; i < listing->count; i++) {
		const struct entry *entry = &listing->entries[i];
		unsigned length = record_length(strlen(entry->name));
		if (offset + length > LEAF_SPACE)
			break;
		bool is_last = i + 1 == listing->count ||
			       offset + length + record_length(strlen(entry[1].name)) > LEAF_SPACE;
		put_entry(block, offset, is_last ? (unsigned)LEAF_SPACE - offset : length,
			entry->inode, entry->name, entry->type);
		offset += length;
	}
	ext2fs_initialize_dirent_tail(
		listing->writer->fs, (struct ext2_dir_entry_tail *)(block + LEAF_SPACE));
	return i - first;
}

static void put_dots(const struct listing *listing, char *block, unsigned second_length)
{
	put_entry(block, 0, 12, listing->inode, ".", EXT2_FT_DIR);
	put_entry(block, 12, second_length, listing->parent, "..", EXT2_FT_DIR);
}

static void make_linear(struct listing *listing)
{
	listing->blocks = 1;
	put_dots(listing, listing->data, listing->count ? 12 : LEAF_SPACE - 12);
	fill_leaf(listing, listing->data, DOTS, 0);
	seal_leaf(listing, listing->data);
}

static int compare_hashes(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	if (x->minor != y->minor)
		return x->minor < y->minor ? -1 : 1;
	return strcmp(x->name, y->name);
}

static errcode_t sort_by_hash(struct listing *listing)
{
	const struct ext2_super_block *super = listing->writer->fs->super;
	for (size_t i = 0; i < listing->count; i++) {
		struct entry *entry = &listing->entries[i];
		errcode_t code = ext2fs_dirhash2(super->s_def_hash_version, entry->name,
			(int)strlen(entry->name), NULL, 0, super->s_hash_seed, &entry->hash,
			&entry->minor);
		if (code)
			return code;
	}
	qsort(listing->entries, listing->count, sizeof *listing->entries, compare_hashes);
	return 0;
}

/* Leaves follow the index blocks, whose number must be known first: pack once without writing. */
static uint32_t count_leaves(const struct listing *listing)
{
	uint32_t leaves = 1;
	unsigned used = 0;
	for (size_t i = 0; i < listing->count; i++) {
		unsigned length = record_length(strlen(listing->entries[i].name));
		if (used + length > LEAF_SPACE) {
			leaves++;
			used = 0;
		}
		used += length;
	}
	return leaves;
}

static void fill_leaves(struct listing *listing, uint32_t first_block)
{
	size_t next = 0;
	for (uint32_t i = 0; i < listing->leaves; i++) {
		char *block = listing->data + (size_t)(first_block + i) * EXT4_BLOCK_SIZE;
		const struct entry *entry = &listing->entries[next];
		bool continued = i > 0 && entry[-1].hash == entry->hash;
		listing->index[i].hash = ext2fs_cpu_to_le32(entry->hash | continued);
		listing->index[i].block = ext2fs_cpu_to_le32(first_block + i);
		next += fill_leaf(listing, block, 0, next);
		seal_leaf(listing, block);
	}
}

/* count entries of an index from start on; the first one's hash makes room for the counts. */
static errcode_t fill_index(struct listing *listing, char *block, size_t start, size_t limit,
	const struct ext2_dx_entry *entries, uint32_t count)
{
	memcpy(block + start, entries, count * sizeof *entries);
	struct ext2_dx_countlimit *counts = (struct ext2_dx_countlimit *)(block + start);
	counts->limit = ext2fs_cpu_to_le16((uint16_t)limit);
	counts->count = ext2fs_cpu_to_le16((uint16_t)count);
	return seal_index(listing, block);
}

/* Index nodes between root and leaves; afterwards index is theirs. */
static errcode_t fill_nodes(struct listing *listing, uint32_t nodes)
{
	for (uint32_t i = 0; i < nodes; i++) {
		char *block = listing->data + (size_t)(1 + i) * EXT4_BLOCK_SIZE;
		uint32_t first = i * (uint32_t)NODE_LIMIT;
		uint32_t count = MIN(listing->leaves - first, (uint32_t)NODE_LIMIT);
		put_entry(block, 0, EXT4_BLOCK_SIZE, 0, "", 0);
		uint32_t hash = listing->index[first].hash;
		errcode_t code = fill_index(
			listing, block, NODE_START, NODE_LIMIT, &listing->index[first], count);
		if (code)
			return code;
		listing->index[i] = (struct ext2_dx_entry){hash, ext2fs_cpu_to_le32(1 + i)};
	}
	return 0;
}

static errcode_t make_tree(struct listing *listing)
{
	errcode_t code = sort_by_hash(listing);
	if (code)
		return code;
	listing->leaves = count_leaves(listing);
	uint32_t nodes = listing->leaves > ROOT_LIMIT
				 ? (listing->leaves + NODE_LIMIT - 1) / NODE_LIMIT
				 : 0;
	if (nodes > ROOT_LIMIT)
		return EXT2_ET_DIR_NO_SPACE;
	listing->blocks = 1 + nodes + listing->leaves;
	fill_leaves(listing, 1 + nodes);
	code = fill_nodes(listing, nodes);
	if (code)
		return code;
	put_dots(listing, listing->data, EXT4_BLOCK_SIZE - 12);
	struct ext2_dx_root_info *info = (void *)(listing->data + DOTS);
	info->hash_version = listing->writer->fs->super->s_def_hash_version;
	info->info_length = sizeof *info;
	info->indirect_levels = nodes > 0;
	return fill_index(listing, listing->data, ROOT_START, ROOT_LIMIT, listing->index,
		nodes ? nodes : listing->leaves);
}

static void collect(struct listing *listing, const struct tree_node *node)
{
	if (adds_lost_found(listing->writer, node))
		listing->entries[listing->count++] = (struct entry){
			.name = "lost+found", .inode = EXT4_LOST_FOUND_INODE, .type = EXT2_FT_DIR};
	for (struct tree_node *child = node ? node->first : NULL; child; child = child->next)
		listing->entries[listing->count++] = (struct entry){.name = child->name,
			.inode = tree_inode(child)->number,
			.type = entry_type(child->mode)};
}

/* count zeroed items of size bytes; NULL without memory. */
static void *scratch_clear(struct ext4_scratch *scratch, size_t count, size_t size)
{
	size_t bytes;
	if (!checked_mul(count, size, &bytes))
		return NULL;
	if (scratch->size < bytes) {
		free(scratch->bytes);
		scratch->bytes = calloc(1, bytes);
		scratch->size = scratch->bytes ? bytes : 0;
		return scratch->bytes;
	}
	return memset(scratch->bytes, 0, bytes);
}

static errcode_t make_listing(struct listing *listing, const struct tree_node *node)
{
	struct ext4_writer *writer = listing->writer;
	uint64_t blocks = node ? ext4_directory_blocks(listing->writer, node) : 1;
	size_t count = 1;
	for (struct tree_node *child = node ? node->first : NULL; child; child = child->next)
		count++;
	if (blocks > UINT32_MAX)
		return EXT2_ET_DIR_NO_SPACE;
	listing->data = scratch_clear(&writer->listing, blocks, EXT4_BLOCK_SIZE);
	listing->index = scratch_clear(&writer->index, blocks, sizeof *listing->index);
	listing->entries = scratch_clear(&writer->entries, count, sizeof *listing->entries);
	if (!listing->data || !listing->index || !listing->entries)
		return EXT2_ET_NO_MEMORY;
	collect(listing, node);
	if (blocks > 1)
		return make_tree(listing);
	make_linear(listing);
	return 0;
}

errcode_t ext4_write_directory(
	struct ext4_writer *writer, const struct tree_node *node, uint32_t *blocks)
{
	struct listing listing = {
		.writer = writer,
		.inode = node ? node->number : EXT4_LOST_FOUND_INODE,
		.parent = node && node->parent ? node->parent->number : EXT2_ROOT_INO,
	};
	errcode_t code = make_listing(&listing, node);
	if (!code)
		code = ext4_append_blocks(writer, 0, listing.data, listing.blocks);
	*blocks = listing.blocks;
	return code;
}
