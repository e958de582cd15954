/* SPDX-License-Identifier: Apache-2.0 */
/* From a fork and what the user asks to a machine: what `run` and `config` have in common. */
#ifndef API_MACHINE_H
#define API_MACHINE_H

#include "api/guest_process.h"
#include "base/text.h"
#include "store/store.h"
#include "vmm/arguments.h"
#include "vmm/vmm.h"

struct machine {
	struct store_fork fork;
	struct store_lock lock;
	int folder_fd;
	char *kernel, *initrd;        /* absolute paths; initrd may be NULL */
	struct guest_process process; /* the image's default command */
	struct text command_line;
	struct text more; /* what the command line has no room for */
	struct vm_drive drives[RAMET_CHAIN_MAX + 1];
	char layer_ids[RAMET_CHAIN_MAX][12];
	size_t drive_count;
	struct vm_config config; /* points into the above */
};
#define MACHINE_NONE \
	{ \
		.lock = STORE_LOCK_NONE, .folder_fd = -EBADF \
	}

/* How many drives the machine of that fork needs. -ENOENT. */
int machine_count_drives(struct ramet_store *store, const struct ramet_run_options *options,
	size_t *count, struct ramet_error *err);

/*
 * Find and lock the fork, look at base and kernel, write the initramfs under that name into the
 * fork's folder, put the command line together. arguments come with what the caller knows (VMM,
 * nonce, terminal); the rest is filled in here.
 */
int machine_prepare(struct machine *machine, struct ramet_store *store,
	const struct ramet_run_options *options, struct guest_arguments *arguments,
	const char *initramfs_name, struct ramet_error *err);
void machine_free(struct machine *machine);
#define _cleanup_machine_ __attribute__((cleanup(machine_free)))

#endif
