/* SPDX-License-Identifier: Apache-2.0 */
/* An NBD client for tests: it says whatever it is told to, and nothing that it is told is checked. */
#ifndef TESTS_NBD_CLIENT_H
#define TESTS_NBD_CLIENT_H

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "export/nbd_protocol.h"

struct client {
	int fd;
};

static inline struct client client_connect(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct client client = {socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
	const struct timeval patience = {.tv_sec = 30};
	strcpy(address.sun_path, path);
	setsockopt(client.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	if (connect(client.fd, (struct sockaddr *)&address, sizeof address) < 0)
		perror("# connect");
	return client;
}

static inline void client_say(struct client *client, const void *bytes, size_t length)
{
	for (size_t said = 0; said < length;) {
		ssize_t n = send(
			client->fd, (const char *)bytes + said, length - said, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return;
		said += (size_t)n;
	}
}

/* false: the connection ended, or nothing came for thirty seconds. */
static inline bool client_hear(struct client *client, void *bytes, size_t length)
{
	for (size_t heard = 0; heard < length;) {
		ssize_t n = recv(client->fd, (char *)bytes + heard, length - heard, 0);
		/* A ring of another thread's may interrupt this one. */
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			printf("# %zu bytes of %zu came, then: %s\n", heard, length,
				n < 0 ? strerror(errno) : "the end");
			return false;
		}
		heard += (size_t)n;
	}
	return true;
}

/* The server has closed the connection, whatever it said before. */
static inline bool client_is_dropped(struct client *client)
{
	char bytes[4096];
	ssize_t n;
	do
		n = recv(client->fd, bytes, sizeof bytes, 0);
	while (n > 0 || (n < 0 && errno == EINTR));
	return n == 0 || errno == ECONNRESET;
}

static inline bool client_greet(struct client *client, uint32_t flags)
{
	uint8_t hello[18], answer[4];
	if (!client_hear(client, hello, sizeof hello) || nbd_get64(hello) != NBD_MAGIC)
		return false;
	nbd_put32(answer, flags);
	client_say(client, answer, sizeof answer);
	return true;
}

static inline void client_option(
	struct client *client, uint32_t option, const void *data, uint32_t length)
{
	uint8_t header[NBD_OPTION_HEADER];
	nbd_put32(nbd_put32(nbd_put64(header, NBD_OPTION_MAGIC), option), length);
	client_say(client, header, sizeof header);
	client_say(client, data, length);
}

/* The type of the next answer that is the last one of an option; 0 when there is none. */
static inline uint32_t client_answer(struct client *client)
{
	uint8_t header[NBD_OPTION_REPLY_HEADER], data[8192];
	uint32_t type;
	do {
		if (!client_hear(client, header, sizeof header) ||
			nbd_get64(header) != NBD_OPTION_REPLY_MAGIC ||
			nbd_get32(header + 16) > sizeof data)
			return 0;
		type = nbd_get32(header + 12);
		if (!client_hear(client, data, nbd_get32(header + 16)))
			return 0;
	} while (type != NBD_REP_ACK && !(type & UINT32_C(0x80000000)));
	return type;
}

static inline uint32_t client_ask(
	struct client *client, uint32_t option, const void *data, uint32_t length)
{
	client_option(client, option, data, length);
	return client_answer(client);
}

/* INFO or GO. */
static inline uint32_t client_name(struct client *client, uint32_t option, const char *name)
{
	uint8_t data[6000];
	size_t length = strlen(name);
	memcpy(nbd_put32(data, (uint32_t)length), name, length);
	nbd_put16(data + 4 + length, 0);
	return client_ask(client, option, data, (uint32_t)(4 + length + 2));
}

/* LIST_META_CONTEXT or SET_META_CONTEXT with one query. */
static inline uint32_t client_context(
	struct client *client, uint32_t option, const char *name, const char *query)
{
	uint8_t data[6000], *at;
	at = nbd_put32(data, (uint32_t)strlen(name));
	at = (uint8_t *)memcpy(at, name, strlen(name)) + strlen(name);
	at = nbd_put32(nbd_put32(at, 1), (uint32_t)strlen(query));
	at = (uint8_t *)memcpy(at, query, strlen(query)) + strlen(query);
	return client_ask(client, option, data, (uint32_t)(at - data));
}

struct asked {
	uint16_t command, flags;
	uint64_t offset;
	uint32_t length;
};

static inline void client_request(struct client *client, struct asked asked, uint64_t cookie)
{
	uint8_t header[NBD_REQUEST_HEADER], *at;
	at = nbd_put16(nbd_put32(header, NBD_REQUEST_MAGIC), asked.flags);
	at = nbd_put64(nbd_put64(nbd_put16(at, asked.command), cookie), asked.offset);
	nbd_put32(at, asked.length);
	client_say(client, header, sizeof header);
}

/* The error of the next simple reply, whose data go to bytes; -1 when it is none of this cookie. */
static inline int client_reply(struct client *client, uint64_t cookie, void *bytes, size_t length)
{
	uint8_t header[NBD_SIMPLE_HEADER];
	if (!client_hear(client, header, sizeof header) ||
		nbd_get32(header) != NBD_SIMPLE_REPLY_MAGIC || nbd_get64(header + 8) != cookie)
		return -1;
	int error = (int)nbd_get32(header + 4);
	if (error == 0 && length && !client_hear(client, bytes, length))
		return -1;
	return error;
}

static inline int client_do(struct client *client, struct asked asked, void *bytes)
{
	uint64_t cookie = asked.offset ^ UINT64_C(0x1234567890);
	client_request(client, asked, cookie);
	if (asked.command == NBD_CMD_WRITE)
		client_say(client, bytes, asked.length);
	return client_reply(
		client, cookie, bytes, asked.command == NBD_CMD_READ ? asked.length : 0);
}

#endif
