/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the guest's init. One struct goes through all of them; there are no globals. */
#ifndef INIT_MACHINE_H
#define INIT_MACHINE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "init/cmdline.h"

struct machine {
	struct cmdline asked;
	char *const *argv; /* of PID 1: what the kernel did not know goes to the image's init */
	char **environment;
	bool in_image; /* run from the base, which the kernel has mounted as / */
	int console;
	uint64_t started; /* microseconds since the kernel's start */
	/* The new root, within the workshop ("base" or "merged"), or "/" for a clone that is it. */
	const char *root;
	bool merged, volume_mounted; /* to be unmounted at the end */
};

/* say.c: one line each. */

/* A note: "ramet-init: " and the strings, the last of which is NULL. */
void say(const struct machine *machine, const char *first, ...) __attribute__((sentinel));
/* The same with the time, when ramet.verbose asks for it. */
void say_step(const struct machine *machine, const char *step);
/* To the host, when there is a nonce: the command is started. */
void say_ready(const struct machine *machine);
/* What went wrong, as a sentence from strings up to NULL; the VM ends. */
_Noreturn void fail(struct machine *machine, const char *first, ...) __attribute__((sentinel));
/* The same for a sentence that is there. */
_Noreturn void fail_with(struct machine *machine, const char *sentence);
/* The exit line; the VM ends. */
_Noreturn void finish(struct machine *machine, int status);
/* Put strings up to NULL together; too long a text is cut. */
void join(char *buffer, size_t size, const char *first, ...) __attribute__((sentinel));
/* errno as text. */
const char *why(void);
/* A number as text; room for 21 bytes. */
const char *number(uint64_t value, char buffer[static 21]);
uint64_t microseconds(void);

/* workshop.c: a place for mount points that needs nothing of the base. */

/* Become able to work: the workshop is the current directory and has the folders dev, proc, sys
 * (mounted), base, layers, volume and merged. */
void workshop_open(struct machine *machine);
void cmdline_read(struct machine *machine);

/* modules.c */

/* Load what ramet put into the initramfs, and give its memory back. */
void modules_load(struct machine *machine);

/* disks.c: from devices to a root. */

/* Wait for a device and answer its path in the workshop. */
void device_await(struct machine *machine, const char *name, char path[static 80]);
/* Mount a device read-only at target; what: "base", "layer". */
void image_mount(struct machine *machine, const char *name, const char *target, const char *what);
void overlay_mount(struct machine *machine);
void clone_mount(struct machine *machine);
/* Undo both: afterwards the volume is clean. False, after a note, when it could not be. */
bool disks_close(struct machine *machine);

/* root.c: entering the new root. */

/* Make machine->root "/" for the calling process, with /dev (and, when whole, /proc, /sys and
 * what a command needs of an init) in it. Returns NULL, or what went wrong as a sentence. */
const char *root_enter(struct machine *machine, bool whole);
/* Then make the paths read-only that are to be. Returns as root_enter. */
const char *root_protect(const struct machine *machine);
/* Execute the image's init. */
_Noreturn void image_init(struct machine *machine);
/* Execute a program of the base as the kernel would have. */
_Noreturn void handover(struct machine *machine);

/* user.c: whom the command runs as. */
struct user {
	uint32_t uid, gid;
	uint32_t groups[CMDLINE_MAX_GROUPS + 192];
	size_t group_count;
	char name[64], home[1024], shell[1024]; /* "": not known */
};
/* Find out by the image's /etc/passwd and /etc/group, in which the process has to be. Returns NULL,
 * or what went wrong as a sentence. */
const char *user_find(const struct machine *machine, struct user *user);
/* Become it, with standard input, output and error. Returns NULL, or what went wrong. */
const char *user_become(const struct user *user);

/* environment.c: what the command finds in its environment; static, NULL-terminated. */
char **environment_make(const struct machine *machine, const struct user *user);
bool environment_names(const char *entry, const char *name);

/* command.c: running one command and ending with it. */
_Noreturn void command_run(struct machine *machine);

#endif
