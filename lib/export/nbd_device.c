/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /dev/nbdN: the kernel is given one end of a pair of sockets, and the other end is served as any
 * NBD client is. Which N is free is the kernel's to know.
 *
 * A device outlives a server that was killed: requests fail once PATIENCE seconds have passed, and a
 * server that is started with the same address finds the device by its identity and gives it a new
 * socket, so that what is mounted from it works again. The page cache of a device belongs to those
 * who have it open: the kernel drops it with the last of them, and when a device is taken apart, so
 * the next disk's readers do not see this one's bytes.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/text.h"
#include "export/nbd_device.h"
#include "export/nbd_inside.h"
#include "export/nbd_netlink.h"
#include "export/nbd_protocol.h"

#define PATIENCE 5
/* What every image can be read with: a file system with blocks of 1 KiB does not mount from sectors of
 * 4 KiB, and requests are no smaller for it. */
#define BLOCK_SIZE     512
#define IDENTITY_BYTES 512

struct bound {
	char path[32]; /* /dev/nbdN */
	int index;     /* -1: none */
};

struct nbd_device_export {
	struct export export; /* first */
	struct nbd_server server;
	struct nbd_netlink netlink;
	struct bound *bound; /* for each device */
};

/* Whose device it is. Answers false where there is no address to tell it by. */
static bool identity_of(const char *address, const char *name, char identity[IDENTITY_BYTES])
{
	if (!address || !*address)
		return false;
	int n = snprintf(identity, IDENTITY_BYTES, "ramet:%s/%s", address, name);
	return n > 0 && n < IDENTITY_BYTES;
}

/* A file of /sys/block/nbdN without its newline. */
static char *read_fact(unsigned index, const char *name)
{
	char path[64], *content;
	snprintf(path, sizeof path, "/sys/block/nbd%u/%s", index, name);
	if (read_file(AT_FDCWD, path, 4096, &content, NULL) < 0)
		return NULL;
	content[strcspn(content, "\n")] = '\0';
	return content;
}

/* N of an entry of /sys/block called nbdN, or -1. */
static int index_of(const char *entry)
{
	uint64_t index;
	if (strncmp(entry, "nbd", 3) != 0 || text_parse_uint(entry + 3, INT32_MAX, &index) < 0)
		return -1;
	return (int)index;
}

/* The device of an identity, or -ENOENT. */
static int find_bound(const char *identity)
{
	int found = -ENOENT;
	DIR *blocks = opendir("/sys/block");
	if (!blocks)
		return found;
	for (const struct dirent *entry; found < 0 && (entry = readdir(blocks));) {
		int index = index_of(entry->d_name);
		if (index < 0)
			continue;
		_cleanup_free_ char *backend = read_fact((unsigned)index, "backend");
		if (backend && strcmp(backend, identity) == 0)
			found = index;
	}
	closedir(blocks);
	return found;
}

/* The process that serves a device, or 0 when there is none (any more). */
static pid_t server_of(unsigned index)
{
	_cleanup_free_ char *word = read_fact(index, "pid");
	uint64_t pid;
	if (!word || text_parse_uint(word, INT32_MAX, &pid) < 0 || pid == 0)
		return 0;
	return kill((pid_t)pid, 0) == 0 || errno == EPERM ? (pid_t)pid : 0;
}

/* ------------------------------------------------------------------------------------------- */

static int bind_socket(
	struct nbd_device_export *nbd, const struct nbd_binding *binding, struct ramet_error *err)
{
	int index = binding->identity ? find_bound(binding->identity) : -ENOENT;
	if (index < 0) {
		index = nbd_netlink_connect(&nbd->netlink, binding);
		if (index < 0)
			return error_errno(
				err, -index, "cannot connect a network block device (/dev/nbdN)");
		return index;
	}
	pid_t pid = server_of((unsigned)index);
	if (pid && pid != getpid())
		return error_set(err, EBUSY,
			"/dev/nbd%d is this disk already, served by process %d", index, (int)pid);
	int r = nbd_netlink_reconnect(&nbd->netlink, (unsigned)index, binding);
	if (r < 0)
		return error_errno(err, -r,
			"cannot take /dev/nbd%d over from a server that was killed", index);
	nbd_server_note(&nbd->server,
		"/dev/nbd%d was left by a server that was killed, and is served again", index);
	return index;
}

static int bind_device(
	struct nbd_device_export *nbd, size_t which, const char *address, struct ramet_error *err)
{
	const struct export_device *device = &nbd->server.devices[which];
	const struct nbd_connection plain = {.server = &nbd->server};
	char identity[IDENTITY_BYTES];
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return error_errno(err, errno, "cannot make sockets for a network block device");
	_cleanup_close_ int kernels = pair[1];
	struct nbd_binding binding = {.size = device->device->size,
		.block_size = BLOCK_SIZE,
		.flags = nbd_export_flags(&plain, device),
		.patience = PATIENCE,
		.socket = kernels,
		.identity = identity_of(address, device->name, identity) ? identity : NULL};
	int r = nbd_server_adopt(&nbd->server, pair[0], device);
	if (r < 0)
		return error_memory(err);
	int index = bind_socket(nbd, &binding, err);
	if (index < 0)
		return index;
	nbd->bound[which].index = index;
	snprintf(nbd->bound[which].path, sizeof nbd->bound[which].path, "/dev/nbd%d", index);
	return 0;
}

/* The kernel let go of a device: somebody disconnected it. */
static void gone(struct nbd_server *server, struct nbd_connection *connection)
{
	nbd_server_note(server, "the kernel has let go of the network block device of %s",
		connection->device->name);
}

static void nbd_device_close(struct export *export)
{
	struct nbd_device_export *nbd = (struct nbd_device_export *)export;
	for (size_t i = 0; nbd->bound && i < nbd->server.device_count; i++)
		if (nbd->bound[i].index >= 0)
			nbd_netlink_disconnect(&nbd->netlink, (unsigned)nbd->bound[i].index);
	nbd_netlink_close(&nbd->netlink);
	nbd_server_finish(&nbd->server);
	free(nbd->bound);
	free(nbd);
}

static int bind_all(struct nbd_device_export *nbd, const struct export_options *options,
	struct ramet_error *err)
{
	nbd->bound = calloc(options->device_count, sizeof *nbd->bound);
	if (!nbd->bound)
		return error_memory(err);
	for (size_t i = 0; i < options->device_count; i++)
		nbd->bound[i].index = -1;
	int r = nbd_netlink_open(&nbd->netlink, err);
	for (size_t i = 0; r == 0 && i < options->device_count; i++)
		r = bind_device(nbd, i, options->address, err);
	return r;
}

static int nbd_device_open(
	const struct export_options *options, struct export **export, struct ramet_error *err)
{
	struct nbd_device_export *nbd = calloc(1, sizeof *nbd);
	if (!nbd)
		return error_memory(err);
	nbd->export.ops = &export_nbd_device;
	nbd->netlink = (struct nbd_netlink)NBD_NETLINK_NONE;
	nbd->server.gone = gone;
	int r = nbd_server_start(&nbd->server, options, err);
	if (r == 0)
		r = bind_all(nbd, options, err);
	if (r < 0) {
		nbd_device_close(&nbd->export);
		return r;
	}
	*export = &nbd->export;
	return 0;
}

static const char *nbd_device_describe(const struct export *export, size_t device)
{
	return ((const struct nbd_device_export *)export)->bound[device].path;
}

static void nbd_device_stop(struct export *export)
{
	nbd_server_stop(&((struct nbd_device_export *)export)->server);
}

int nbd_device_release(const char *address, const char *name, struct ramet_error *err)
{
	char identity[IDENTITY_BYTES];
	struct nbd_netlink netlink;
	int index = identity_of(address, name, identity) ? find_bound(identity) : -ENOENT;
	if (index == -ENOENT)
		return 0;
	pid_t pid = server_of((unsigned)index);
	if (pid)
		return error_set(err, EBUSY, "/dev/nbd%d is served by process %d", index, (int)pid);
	int r = nbd_netlink_open(&netlink, err);
	if (r < 0)
		return r;
	r = nbd_netlink_disconnect(&netlink, (unsigned)index);
	nbd_netlink_close(&netlink);
	return r < 0 ? error_errno(err, -r, "cannot disconnect /dev/nbd%d", index) : 0;
}

const struct export_ops export_nbd_device = {
	.name = "nbd-device",
	.many = true,
	.place = EXPORT_KERNEL_DEVICE,
	.summary = "a block device of this host's kernel, /dev/nbdN",
	.syscalls = (const int[]){SYS_recvmsg, SYS_sendmsg, SYS_sendto, SYS_recvfrom, SYS_mmap,
		SYS_munmap, SYS_preadv2, SYS_sendfile, SYS_mincore, -1},
	.open = nbd_device_open,
	.describe = nbd_device_describe,
	.stop = nbd_device_stop,
	.close = nbd_device_close,
};
