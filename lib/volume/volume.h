/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Providers: who makes the writable block storage under a fork. One file each, one line in the
 * table of volume.c. A provider that was asked for by name is used or refused; nothing falls back.
 */
#ifndef VOLUME_VOLUME_H
#define VOLUME_VOLUME_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/ranges.h"

/* Where volumes are made: the store's folder. Borrowed. */
struct volume_place {
	int dirfd;
	const char *root;
};

/* What they are made for. Borrowed. */
struct volume_base {
	int fd;
	const char *path;
	const char *format; /* "squashfs", "ext4" */
	uint64_t size;
	size_t layers; /* images that stand on it */
	bool lazy;     /* the file at path is a lazy one: it has no blocks to share */
};

enum { VOLUME_REASON_SIZE = 512 };

/* Volumes of one size for one base. Every provider's own starts with this. */
struct volume_batch {
	const struct volume_provider *provider;
	uint64_t size;  /* bytes of each volume, as the guest sees it */
	bool sync_each; /* create makes each volume durable; else the caller syncs them all */
};

struct volume_provider {
	const char *name;
	const char *mode;    /* "overlay" or "clone" */
	const char *summary; /* for help: one line */
	/*
	 * Whether volumes of size bytes (0: the provider's default) can be made at place for base
	 * (NULL: for any base at all), by really trying what the host must be able to do. reason
	 * gets why, or why not: a clause such as "the base is squashfs".
	 */
	bool (*probe)(const struct volume_place *place, const struct volume_base *base,
		uint64_t size, char reason[static VOLUME_REASON_SIZE]);
	/* Get ready to make volumes; whatever they share is done here, once. */
	int (*open)(const struct volume_place *place, const struct volume_base *base, uint64_t size,
		struct volume_batch **batch, struct ramet_error *err);
	/* Make the file "volume" in the folder of the fork called name. */
	int (*create)(
		struct volume_batch *batch, int folder, const char *name, struct ramet_error *err);
	void (*close)(struct volume_batch *batch);
	/*
	 * Clone mode: which bytes of a volume may differ from those at the same place of its base.
	 * Never misses one. NULL: the provider's volumes are no clones.
	 */
	int (*differences)(
		int base, int volume, struct range_list *differences, struct ramet_error *err);
	/* Bytes that the volume in folder really takes on the host. */
	int (*allocated)(int folder, uint64_t *bytes);
};

/* The table, in the order in which "auto" tries them; ended by NULL. */
extern const struct volume_provider *const volume_providers[];
extern const struct volume_provider volume_file, volume_reflink;

/* By name, or NULL. */
const struct volume_provider *volume_provider_find(const char *name);

/* The provider called name, or the first that can serve for "auto" (also for NULL). reason gets
 * why. -EINVAL when there is none of that name, -EOPNOTSUPP when it cannot serve. */
int volume_choose(const char *name, const struct volume_place *place,
	const struct volume_base *base, uint64_t size, const struct volume_provider **provider,
	char reason[static VOLUME_REASON_SIZE], struct ramet_error *err);

static inline void volume_batch_close(struct volume_batch **batch)
{
	if (*batch)
		(*batch)->provider->close(*batch);
}
#define _cleanup_volumes_ __attribute__((cleanup(volume_batch_close)))

/* For providers whose volume is a plain file: make it, and what it takes (`allocated`). */
int volume_file_create(int folder, const char *name, struct ramet_error *err);
int volume_file_set_size(int fd, const char *name, uint64_t size, struct ramet_error *err);
/* After the last write, which ended with result: sync where each volume is to be, or say that it
 * failed. */
int volume_file_finish(const struct volume_batch *batch, int fd, const char *name, int result,
	struct ramet_error *err);
int volume_file_allocated(int folder, uint64_t *bytes);

#endif
