/* SPDX-License-Identifier: Apache-2.0 */
/* From a fork and what the user asks to a machine: what `run` and `config` have in common. */
#ifndef API_MACHINE_H
#define API_MACHINE_H

#include "api/guest_process.h"
#include "api/run_server.h"
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
	struct run_server server;     /* of drives that have no file */
	struct attachment attachment; /* or who serves them already */
	struct vm_config config;      /* points into the above */
};
#define MACHINE_NONE \
	{ \
		.lock = STORE_LOCK_NONE, .folder_fd = -EBADF, .server = RUN_SERVER_NONE \
	}

/* What the machine of that fork needs of its VMM; served: whether a server is needed. -ENOENT. */
int machine_count_drives(struct ramet_store *store, const struct ramet_run_options *options,
	struct vm_needs *needs, bool *served, struct ramet_error *err);

/*
 * Find and lock the fork (one that is attached is locked by its server, and its drives are those that
 * are served, where attached says that this will do), look at base and kernel, write the initramfs under that name into the
 * fork's folder, put the command line together. arguments come with what the caller knows (VMM,
 * nonce, terminal); the rest is filled in here.
 */
int machine_prepare(struct machine *machine, struct ramet_store *store,
	const struct ramet_run_options *options, struct guest_arguments *arguments,
	const char *initramfs_name, bool attached, struct ramet_error *err);
/* machine_drives.c: the drives, from what is known of the fork and what serves it. */
int machine_fill_drives(struct machine *machine, bool clone, bool ram, struct ramet_error *err);
/* Whether the VMM can have them: -E2BIG, and those of vmm_check_drives(). */
int machine_check_drives(
	const struct machine *machine, const struct vmm *vmm, struct ramet_error *err);
void machine_free(struct machine *machine);
#define _cleanup_machine_ __attribute__((cleanup(machine_free)))

#endif
