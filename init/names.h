/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names that the host and the guest's init have to agree on: kernel arguments, folders, and what
 * comes back over the console. Everything here is interface: docs/guest.md explains it to users.
 */
#ifndef INIT_NAMES_H
#define INIT_NAMES_H

#include <stdbool.h>

/*
 * Kernel arguments. Each is one word NAME=VALUE. The last of two equal names counts. A ramet.*
 * name that is not in this list makes the init refuse to start.
 */
/* "vdb" or "/dev/vdb": the volume. "ram", or no such argument: changes stay in memory. */
#define INIT_ARG_OVERLAY_ROOT "overlay_root"
/* "overlay" (also when missing), or "clone": the base device is the fork's own writable ext4. */
#define INIT_ARG_MODE "ramet.mode"
/* Device names, commas between, from the bottom up: the base first (as drives are numbered),
 * then what lies on top of it. At most INIT_MAX_LAYERS. Missing: "vda". */
#define INIT_ARG_LAYERS "ramet.layers"
/* A list (see below): the command and its arguments. Missing: the image's own init is run. */
#define INIT_ARG_EXEC "ramet.exec"
/* One item of a list: the folder in which the command starts, made when it is not there. Missing:
 * "/". */
#define INIT_ARG_CWD "ramet.cwd"
/* A list of NAME=VALUE: the command's environment, beside what the kernel hands on. */
#define INIT_ARG_ENV "ramet.env"
/* A list: whom the command runs as, USER or USER:GROUP, names (of the image's /etc/passwd and
 * /etc/group) or numbers; then numbers of further groups. Missing: root. */
#define INIT_ARG_USER "ramet.user"
/* A list of absolute paths that are read-only in the guest (bind mounts onto themselves). */
#define INIT_ARG_RO "ramet.ro"
/* [A-Za-z0-9]{1,64}: stands in the exit line, so that no program's output can be taken for it. */
#define INIT_ARG_NONCE "ramet.nonce"
/* "ROWSxCOLUMNS": a person sits at the console. Missing: input is not echoed, and a command's
 * output is a pipe. TERM=... may be given next to it, the kernel hands it on. */
#define INIT_ARG_TTY "ramet.tty"
/* A host name. Missing: what /etc/hostname of the image says, or "ramet". */
#define INIT_ARG_HOSTNAME "ramet.hostname"
/* One item of a list: the image's init, when it is at none of the usual places. */
#define INIT_ARG_INIT "ramet.init"
/* One item of a list: only for ramet's initramfs. Load the modules, mount the base read-only as
 * the kernel would have, and execute this program of the base as PID 1 (INIT_IN_IMAGE_PATH, for
 * a kernel that needs modules to see its root). */
#define INIT_ARG_HANDOVER "ramet.handover"
/* "1": one line per step, with the microseconds since the kernel started. */
#define INIT_ARG_VERBOSE "ramet.verbose"

#define INIT_MAX_LAYERS 128
/* The longest kernel command line of x86 and arm64, its NUL included. */
#define INIT_MAX_CMDLINE 2048
/* The same for what is in INIT_ARGUMENTS_FILE. */
#define INIT_MAX_ARGUMENTS 131072

/*
 * Lists: items with commas between. Within an item every byte but the plain ones below is
 * written %XX (two hexadecimal digits); %00 is refused. "a,,b" has three items, the second one empty.
 * So `sh -c "echo hi"` is "sh,-c,echo%20hi".
 */
static inline bool init_byte_is_plain(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '/' || c == '.' || c == '-' || c == '_' || c == '+' || c == ':' || c == '@' ||
	       c == '=';
}

/*
 * What the init says at the end, when there was a nonce; each is a line of its own with a newline
 * before it too, and after the first two nothing follows but the reboot:
 *     ramet-exit:NONCE:STATUS      the command's exit status, 0-255; 128 + N for signal N,
 *                                  127 not found, 126 not executable. Volume unmounted cleanly.
 *     ramet-fail:NONCE:SENTENCE    the init could not do its work, and why
 * and before, in the same form:
 *     ramet-ready:NONCE:           the command is started now: what is typed from here on reaches it
 * Without a nonce a failure is said as "ramet-init: SENTENCE", which is also the form of notes.
 */
#define INIT_LINE_EXIT  "ramet-exit:"
#define INIT_LINE_FAIL  "ramet-fail:"
#define INIT_LINE_READY "ramet-ready:"
#define INIT_LINE_NOTE  "ramet-init: "

/* Within the volume, as the overlay-init script of firecracker-containerd has them. */
#define INIT_VOLUME_UPPER "root"
#define INIT_VOLUME_WORK  "work"

/* Where the init is inside an image that was built with --init. */
#define INIT_IN_IMAGE_PATH "/sbin/overlay-init"

/* Within ramet's initramfs: modules, and their names in the order of loading, one a line. */
#define INIT_MODULES_FOLDER "/modules"
#define INIT_MODULES_LIST   "/modules/list"
/* Arguments that were too long for the kernel's command line, in the same form; what the command
 * line says counts more. */
#define INIT_ARGUMENTS_FILE "/arguments"

#endif
