/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's command line: what the VMM, the kernel and ramet's init each need to be told. */
#ifndef VMM_ARGUMENTS_H
#define VMM_ARGUMENTS_H

#include <stdbool.h>

#include "base/text.h"
#include "vmm/vmm.h"

struct guest_arguments {
	const struct vmm *vmm;
	bool kvm;
	bool clone;    /* the first drive is the fork's own */
	size_t images; /* how many drives are images below the volume; 0: one */
	/* Those and the volume, for their names; NULL: all of them are virtio-blk. */
	const struct vm_drive *drives;
	bool ram;           /* the writes stay in memory */
	bool in_image_init; /* the init is in the image... */
	bool initramfs;     /* ... and there is an initramfs, which loads modules and hands over */
	bool verbose;
	const char *nonce;           /* NULL: the init reports to nobody */
	const char *hostname;        /* NULL: the image's */
	const char *read_only_paths; /* one a line, or "" */
	const char *const *argv;     /* the command, NULL-terminated, or NULL: the image's init */
	/* Of the command, without meaning when there is none; each may be NULL. */
	const char *const *env;  /* NAME=VALUE, NULL-terminated */
	const char *const *user; /* USER[:GROUP] and numbers of groups, NULL-terminated */
	const char *cwd;
	unsigned rows, columns; /* of the terminal; 0: nobody sits there */
	const char *term;       /* its kind, or NULL */
	const char *append;     /* what the user adds, or NULL */
};

/*
 * Write the line. What is of the command goes into more when the kernel would cut it: into a file
 * (initramfs.h); more NULL: there is no such file. Errors: EINVAL (an argument that no command line
 * can hold), E2BIG (it is too long).
 */
int guest_arguments_write(const struct guest_arguments *arguments, struct text *line,
	struct text *more, struct ramet_error *err);

#endif
