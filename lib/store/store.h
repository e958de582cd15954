/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store: a folder with the catalogue of images and forks, and the forks' own folders.
 *
 *   ROOT/catalogue.db     SQLite, WAL (catalogue.h)
 *   ROOT/forks/NAME/      what belongs to one fork: its volume, its lock, later its sockets
 *   ROOT/makers           byte N of it is locked while batch N is being made or removed (batch.h)
 *   ROOT/reserve          room for the catalogue to note a removal on a full disk
 *   ROOT/templates/       blank volumes, made once per size (volume/template.h)
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

struct sqlite3;

struct ramet_store {
	char *root; /* absolute */
	int dirfd;  /* ROOT */
	int forks_fd;
	int makers_fd;
	struct sqlite3 *db;
};

/* Give back the room that was put aside when the store was opened; whether there was any. */
bool store_reserve_use(struct ramet_store *store);

/* Images that stand one on the other, the bottom one first. */
struct store_layers {
	struct store_layer {
		int64_t image;     /* its row */
		char *path;        /* absolute */
		char *format;      /* "squashfs", "ext4" */
		char *digest;      /* "sha256:HEX", "" when it was never computed */
		const char *state; /* "unchanged", "changed" or "missing"; static */
		bool lazy;         /* the file at path is a lazy file */
		bool made;         /* as in struct store_image_facts */
		/* The file that has the image's bytes: path, or what a lazy one was materialised to;
		 * NULL where they are only to be had by serving it. */
		char *plain;
	} * items;
	size_t count, capacity;
};
void store_layers_free(struct store_layers *layers);
#define _cleanup_layers_ __attribute__((cleanup(store_layers_free)))

/* What the catalogue knows of one fork. */
struct store_fork {
	int64_t id;
	char *name;
	char *base;                 /* absolute path of the image; of the bottom one in a chain */
	char *format;               /* of the base: "squashfs", "ext4" */
	int64_t base_image;         /* its row */
	bool base_lazy, base_made;  /* as in struct store_layer */
	char *base_digest;          /* the same */
	char *base_plain;           /* the same */
	struct store_layers layers; /* the images above the base; none for most forks */
	/* Absolute paths that the guest mounts read-only, one a line, "" for none: of the base and
	 * of the layers, down to the topmost one that was made for what is below it. */
	char *read_only_paths;
	char *process;          /* of the topmost image that has one; "" for none */
	char *mode;             /* "overlay" or "clone" */
	char *provider;         /* "file", "reflink" */
	char *folder;           /* absolute path of the fork's folder */
	char *volume;           /* absolute path of the fork's writable device */
	uint64_t size;          /* bytes of the volume */
	int64_t created;        /* seconds since the epoch */
	const char *base_state; /* "unchanged", "changed" or "missing"; static */
};

/* -ENOENT when there is no such fork. */
int store_fork_find(struct ramet_store *store, const char *name, struct store_fork *fork,
	struct ramet_error *err);
void store_fork_free(struct store_fork *fork);
#define _cleanup_fork_ __attribute__((cleanup(store_fork_free)))

/* -ESTALE and a sentence unless the base and the layers are the files that the fork was made of. */
int store_fork_check_base(const struct store_fork *fork, struct ramet_error *err);

/* All forks, sorted by name with the numbers in names in order. */
struct store_forks {
	struct store_fork *items;
	size_t count, capacity;
};
int store_forks_list(struct ramet_store *store, struct store_forks *forks, struct ramet_error *err);
void store_forks_free(struct store_forks *forks);
#define _cleanup_forks_ __attribute__((cleanup(store_forks_free)))

/*
 * The lock of a fork: whoever runs, reads or removes a fork holds it. It belongs to the open file
 * (an open file description lock), not to the process: a child that inherits fd holds the fork as
 * long as it lives, also when its parent was killed. fd is close-on-exec until the caller clears
 * that. Closing the last copy of fd, or the death of all that have it, gives the fork free.
 */
struct store_lock {
	int fd;
};
#define STORE_LOCK_NONE \
	{ \
		.fd = -1 \
	}

/* -EBUSY, naming the holder's pid, when somebody has it; -ENOENT. */
int store_fork_lock(struct ramet_store *store, const char *name, struct store_lock *lock,
	struct ramet_error *err);
/* Put one more pid in the lock's file: it is named as the holder when the first one is gone. */
int store_lock_add_holder(const struct store_lock *lock, pid_t pid);
/* Give the lock free, unless a child still has a copy of fd. */
void store_lock_release(struct store_lock *lock);
#define _cleanup_lock_ __attribute__((cleanup(store_lock_release)))

/* Who holds the fork: a pid, 0 nobody, -1 somebody whose pid is not to be found out. */
pid_t store_fork_holder(struct ramet_store *store, const char *name);

/* What is to be noted of an image; all but format may be NULL or 0, for none. Borrowed. */
struct store_image_facts {
	const char *format; /* the name of an image format */
	const char
		*read_only_paths; /* in it, that the guest mounts read-only: absolute, one a line */
	/* The default command, JSON: {"args":[...],"env":[...],"cwd":"/","user":"..."}. */
	const char *process;
	const char *digest; /* of the file: "sha256:" and 64 lower-case hexadecimal digits */
	/* A layer: the rows of all images that it was made to stand on, the bottom one first. */
	const int64_t *parents;
	size_t parent_count;
	bool lazy;  /* the file is a lazy one, of an image of this format */
	bool made;  /* we wrote it: the folders that a lazy file names are the user's word */
	bool owned; /* it goes with the last fork that stands on it */
};

/*
 * Put an image into the catalogue. path is made absolute. An image that is there already,
 * unchanged, keeps its row and takes the facts; its digest stays when facts have none.
 */
int store_image_add(struct ramet_store *store, const char *path,
	const struct store_image_facts *facts, struct ramet_error *err);

#endif
