/* SPDX-License-Identifier: Apache-2.0 */
/* Who an ext4 filesystem is: the fields of its superblock that must differ in every fork. */
#ifndef VOLUME_SUPERBLOCK_H
#define VOLUME_SUPERBLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum { EXT4_SUPER_OFFSET = 1024, EXT4_SUPER_SIZE = 1024 };

/* What a clone needs to know of the filesystem in a superblock. */
struct superblock_state {
	bool is_ext4;
	const char *obstacle; /* why it cannot be cloned into a fork, a clause; NULL: nothing */
	uint64_t size;        /* bytes of the filesystem */
};
void superblock_inspect(
	const uint8_t block[static EXT4_SUPER_SIZE], struct superblock_state *state);

/* A fresh random identity. */
struct identity {
	uint8_t uuid[16];
	uint8_t hash_seed[16];
};
int identity_create(struct identity *identity, struct ramet_error *err);

/* Give the superblock a new identity, its checksum too. new_seed: directories may be empty of
 * hashed names, so the seed of their hashes can be a new one. */
void superblock_rename(
	uint8_t block[static EXT4_SUPER_SIZE], const struct identity *identity, bool new_seed);

#endif
