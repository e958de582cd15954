/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exports: ways in which a VMM, or the kernel, reaches block devices. One file (or a few) each, one
 * line in the table of export.c.
 *
 * An export serves in a loop (loop.h): open makes the socket or the mount and adds it; from then on
 * everything happens in the loop's callbacks, in one thread, and bytes are moved by the devices'
 * engines. The process ignores SIGPIPE. Between open and the loop's run the server shuts itself into
 * a sandbox: what open did not open, only the calls named in syscalls can.
 */
#ifndef EXPORT_EXPORT_H
#define EXPORT_EXPORT_H

#include <sys/types.h>

#include "block/engine.h"
#include "export/loop.h"

/* A device that is served. All borrowed. */
struct export_device {
	const char *name; /* "base", "layer1", "volume" */
	struct block_device *device;
	struct engine *engine; /* in the loop already */
};

/* A user of the host. */
struct export_user {
	uid_t uid;
	gid_t gid;
};

struct export_options {
	struct loop *loop;
	const struct export_device *devices;
	size_t device_count;
	/* Where: nbd: the path of a socket, or "HOST:PORT"; vhost-user-blk: the path of a socket, one
	 * device; fuse: an empty folder to mount on, one device; ublk: NULL;
	 * nbd-device: what tells this attachment from others, the same again after a crash (with it a
	 * new server takes over the device of a killed one), or NULL. */
	const char *address;
	/* Who may use what is served, and owns it, if that is not who serves it: a jailed VMM. NULL:
	 * nobody else. Not for what the kernel owns (EXPORT_KERNEL_DEVICE). */
	const struct export_user *user;
	/* Told what an operator should know: who connected, what was refused. May be NULL. */
	void (*note)(void *ctx, const char *sentence);
	void *note_ctx;
};

struct export;

struct export_ops {
	const char *name;    /* "nbd" */
	const char *summary; /* for help: one line */
	bool many;           /* serves several devices at one address, by their names */
	/* What its address is; what has none finds its device itself. */
	enum { EXPORT_SOCKET, EXPORT_FOLDER, EXPORT_KERNEL_DEVICE } place;
	/* System calls (SYS_*) beyond those of every server (server.h), ended by -1; may be NULL. */
	const int *syscalls;
	/* Once it returns 0, clients can come. Errors are sentences: EADDRINUSE, EACCES, ENOENT... */
	int (*open)(const struct export_options *options, struct export **export,
		struct ramet_error *err);
	/* What a client connects to, for messages: "nbd+unix:///base?socket=/run/x". Lives as long as
	 * the export. */
	const char *(*describe)(const struct export *export, size_t device);
	/* End all connections, take the socket or the mount away, free. Requests under way have
	 * been drained by then (engine_drain), so nothing refers to the export any more... */
	void (*close)(struct export *export);
	/* ...and before that: take no new requests. May be NULL. */
	void (*stop)(struct export *export);
};

/* Every export starts with this. */
struct export
{
	const struct export_ops *ops;
};

/* Each in its own file. */
extern const struct export_ops export_nbd;
extern const struct export_ops export_nbd_device;
extern const struct export_ops export_fuse;
extern const struct export_ops export_ublk;
extern const struct export_ops export_vhost_user_blk;
/* The table, ended by NULL. */
extern const struct export_ops *const exports[];
/* By name, or NULL. */
const struct export_ops *export_find(const char *name);

#endif
