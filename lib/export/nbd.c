/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The NBD export: a socket, and a connection for each client that comes. A client beyond the limit is
 * turned away at once rather than kept waiting, and told of in a note.
 */
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "export/nbd_inside.h"
#include "export/unix_socket.h"

#define BACKLOG     64
#define SEND_BUFFER (1 << 20) /* bytes that the kernel may take for a client at once */

struct nbd_export {
	struct export export; /* first */
	struct nbd_server server;
	struct unix_socket path;
	struct loop_fd listener;
	struct loop_timer pause;
	char **addresses;
	bool listed;
};

/* Where fds or memory have run out, asking again at once would be a busy loop. */
static void pause_over(struct loop_timer *timer)
{
	struct nbd_export *nbd = (struct nbd_export *)((char *)timer -
						       offsetof(struct nbd_export, pause));
	nbd->listener.events = POLLIN;
}

/* Replies go out at once. And a client whose host has vanished is noticed within two minutes: it would
 * keep its place for ever. */
static void set_tcp(int fd)
{
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &(int){1}, sizeof(int));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &(int){60}, sizeof(int));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &(int){10}, sizeof(int));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &(int){6}, sizeof(int));
}

static void come(struct loop_fd *listener, short revents)
{
	struct nbd_export *nbd = (struct nbd_export *)((char *)listener -
						       offsetof(struct nbd_export, listener));
	struct nbd_server *server = &nbd->server;
	int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
		nbd_server_note(server, "no NBD client can be served for now: %s", strerror(errno));
		listener->events = 0;
		loop_set_timer(server->loop, &nbd->pause, 1000);
	}
	if (fd < 0)
		return;
	if (server->connection_count >= NBD_CONNECTIONS && !nbd_server_make_room(server)) {
		nbd_server_note(server, "an NBD client was turned away: there are %u already",
			server->connection_count);
		close(fd);
		return;
	}
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &(int){SEND_BUFFER}, sizeof(int));
	if (!nbd->path.path)
		set_tcp(fd);
	if (nbd_server_adopt(server, fd, NULL) < 0)
		nbd_server_note(
			server, "an NBD client was turned away: there is not enough memory");
}

/* ------------------------------------------------------------------------------------------- */

static int listen_at(const struct addrinfo *info)
{
	_cleanup_close_ int fd = socket(info->ai_family,
		info->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, info->ai_protocol);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
	if (bind(fd, info->ai_addr, info->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	return TAKE_FD(fd);
}

/* HOST:PORT, [HOST]:PORT, or :PORT, which is every address of this host. */
static int listen_tcp(const char *address, struct ramet_error *err)
{
	const struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV,
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM};
	struct addrinfo *found;
	_cleanup_free_ char *host = strdup(address);
	if (!host)
		return error_memory(err);
	char *colon = strrchr(host, ':'), *name = host;
	*colon = '\0';
	size_t length = strlen(host);
	if (length >= 2 && host[0] == '[' && host[length - 1] == ']') {
		host[length - 1] = '\0';
		name++;
	}
	/* getaddrinfo(3) takes any number, and what is left of it as 16 bits. */
	uint64_t port;
	if (text_parse_uint(colon + 1, UINT16_MAX, &port) < 0)
		return error_set(err, EINVAL,
			"cannot listen at %s: a port is a number from 0 to %u; 0 is one that is free",
			address, UINT16_MAX);
	int r = getaddrinfo(*name ? name : NULL, colon + 1, &hints, &found);
	if (r != 0)
		return error_set(err, EINVAL, "cannot listen at %s: %s", address, gai_strerror(r));
	int fd = -EADDRNOTAVAIL;
	for (const struct addrinfo *info = found; info && fd < 0; info = info->ai_next)
		fd = listen_at(info);
	freeaddrinfo(found);
	if (fd < 0)
		return error_errno(err, -fd, "cannot listen at %s", address);
	return fd;
}

/* Bytes that mean something in a URI, or cannot stand in one, as %XX. */
static void append_escaped(struct text *uri, const char *string)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789-._~/";
	for (; *string; string++)
		if (strchr(plain, *string))
			text_append_bytes(uri, string, 1);
		else
			text_format(uri, "%%%02X", (unsigned char)*string);
}

/* The address that the kernel gave: a port of 0 is one of its choice. */
static void append_authority(struct text *uri, int fd)
{
	struct sockaddr_storage bound;
	socklen_t length = sizeof bound;
	char host[NI_MAXHOST] = "", port[NI_MAXSERV] = "";
	if (getsockname(fd, (struct sockaddr *)&bound, &length) < 0)
		return;
	getnameinfo((const struct sockaddr *)&bound, length, host, sizeof host, port, sizeof port,
		NI_NUMERICHOST | NI_NUMERICSERV);
	text_format(uri, bound.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

static char *make_uri(const struct nbd_export *nbd, const char *name)
{
	_cleanup_text_ struct text uri = {0};
	_cleanup_free_ char *path = nbd->path.path ? realpath(nbd->path.path, NULL) : NULL;
	text_append(&uri, nbd->path.path ? "nbd+unix://" : "nbd://");
	if (!nbd->path.path)
		append_authority(&uri, nbd->listener.fd);
	text_append(&uri, "/");
	append_escaped(&uri, name);
	if (nbd->path.path) {
		text_append(&uri, "?socket=");
		append_escaped(&uri, path ? path : nbd->path.path);
	}
	return uri.failed ? NULL : TAKE_PTR(uri.data);
}

static int start_listening(
	struct nbd_export *nbd, const struct export_options *options, struct ramet_error *err)
{
	const char *address = options->address;
	nbd->listener = (struct loop_fd){.fd = -1, .events = POLLIN, .ready = come};
	nbd->pause.expired = pause_over;
	if (!address || !*address)
		return error_set(err, EINVAL, "NBD wants the path of a socket, or HOST:PORT");
	if (!strchr(address, '/') && strchr(address, ':')) {
		if (options->user)
			return error_set(err, EINVAL,
				"%s is open to every user of the hosts that reach it: only a socket in "
				"the file system can be one user's",
				address);
		int fd = listen_tcp(address, err);
		if (fd < 0)
			return fd;
		nbd->listener.fd = fd;
	} else {
		int r = unix_socket_listen(&nbd->path, address, options->user, err);
		if (r < 0)
			return r;
		nbd->listener.fd = nbd->path.fd;
	}
	if (loop_add(options->loop, &nbd->listener) < 0)
		return error_memory(err);
	nbd->listed = true;
	return 0;
}

static int describe_all(struct nbd_export *nbd, struct ramet_error *err)
{
	const struct nbd_server *server = &nbd->server;
	nbd->addresses = calloc(server->device_count, sizeof *nbd->addresses);
	for (size_t i = 0; nbd->addresses && i < server->device_count; i++) {
		nbd->addresses[i] = make_uri(nbd, server->devices[i].name);
		if (!nbd->addresses[i])
			return error_memory(err);
	}
	return nbd->addresses ? 0 : error_memory(err);
}

static void nbd_stop(struct export *export)
{
	struct nbd_export *nbd = (struct nbd_export *)export;
	if (nbd->listed)
		loop_remove(nbd->server.loop, &nbd->listener);
	nbd->listed = false;
	nbd_server_stop(&nbd->server);
}

static void nbd_close(struct export *export)
{
	struct nbd_export *nbd = (struct nbd_export *)export;
	nbd_stop(export);
	if (nbd->server.loop)
		loop_clear_timer(nbd->server.loop, &nbd->pause);
	for (size_t i = 0; nbd->addresses && i < nbd->server.device_count; i++)
		free(nbd->addresses[i]);
	free(nbd->addresses);
	nbd_server_finish(&nbd->server);
	if (nbd->path.path)
		unix_socket_close(&nbd->path);
	else
		cleanup_close(&nbd->listener.fd);
	free(nbd);
}

static int nbd_open(
	const struct export_options *options, struct export **export, struct ramet_error *err)
{
	struct nbd_export *nbd = calloc(1, sizeof *nbd);
	if (!nbd)
		return error_memory(err);
	nbd->export.ops = &export_nbd;
	nbd->path = (struct unix_socket)UNIX_SOCKET_NONE;
	nbd->listener.fd = -1;
	int r = nbd_server_start(&nbd->server, options, err);
	if (r == 0)
		r = start_listening(nbd, options, err);
	if (r == 0)
		r = describe_all(nbd, err);
	if (r < 0) {
		nbd_close(&nbd->export);
		return r;
	}
	*export = &nbd->export;
	return 0;
}

static const char *nbd_describe(const struct export *export, size_t device)
{
	return ((const struct nbd_export *)export)->addresses[device];
}

const struct export_ops export_nbd = {
	.name = "nbd",
	.many = true,
	.summary = "network block device, at a Unix socket or HOST:PORT",
	.syscalls = (const int[]){SYS_accept4, SYS_recvmsg, SYS_sendmsg, SYS_setsockopt, SYS_mmap,
		SYS_munmap, SYS_preadv2, SYS_sendfile, SYS_mincore, -1},
	.open = nbd_open,
	.describe = nbd_describe,
	.stop = nbd_stop,
	.close = nbd_close,
};
