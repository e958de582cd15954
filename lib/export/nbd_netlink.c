/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Four messages do not need a library: a netlink header, a generic one, and attributes, of which some
 * hold others (linux/nbd-netlink.h; what each does is told by drivers/block/nbd.c). Each request asks
 * for an acknowledgement, so that its end is known whether or not there is an answer besides.
 */
#include "export/nbd_netlink.h"

#include <linux/genetlink.h>
#include <linux/nbd-netlink.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"

#define MESSAGE_BYTES 1024
#define ANSWER_BYTES  8192

/* The buffer is the header's: so it is aligned as one. */
union message {
	struct nlmsghdr header;
	uint8_t bytes[MESSAGE_BYTES];
};

static void message_begin(union message *message, uint16_t type, uint8_t command)
{
	memset(message, 0, sizeof *message);
	message->header.nlmsg_type = type;
	message->header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	message->header.nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN);
	struct genlmsghdr *generic = NLMSG_DATA(&message->header);
	generic->cmd = command;
	generic->version = 1;
}

/* What is put here is ours and bounded: it fits. */
static struct nlattr *put(union message *message, uint16_t type, const void *data, size_t length)
{
	struct nlattr *attribute = (struct nlattr *)(message->bytes +
						     NLMSG_ALIGN(message->header.nlmsg_len));
	attribute->nla_type = type;
	attribute->nla_len = (uint16_t)(NLA_HDRLEN + length);
	if (length)
		memcpy((uint8_t *)attribute + NLA_HDRLEN, data, length);
	message->header.nlmsg_len = NLMSG_ALIGN(message->header.nlmsg_len) +
				    NLA_ALIGN(attribute->nla_len);
	return attribute;
}

static void put32(union message *message, uint16_t type, uint32_t value)
{
	put(message, type, &value, sizeof value);
}

static void put64(union message *message, uint16_t type, uint64_t value)
{
	put(message, type, &value, sizeof value);
}

static struct nlattr *nest_begin(union message *message, uint16_t type)
{
	return put(message, type | NLA_F_NESTED, NULL, 0);
}

static void nest_end(union message *message, struct nlattr *nest)
{
	nest->nla_len = (uint16_t)(message->bytes + message->header.nlmsg_len - (uint8_t *)nest);
}

/* The attribute of a type in a message of the kernel's, with length bytes at least, or NULL. */
static const void *find(const struct nlmsghdr *header, uint16_t type, size_t length)
{
	const uint8_t *at = (const uint8_t *)header + NLMSG_LENGTH(GENL_HDRLEN);
	const uint8_t *end = (const uint8_t *)header + header->nlmsg_len;
	while (at + NLA_HDRLEN <= end) {
		const struct nlattr *attribute = (const struct nlattr *)at;
		if (attribute->nla_len < NLA_HDRLEN || at + attribute->nla_len > end)
			break;
		if ((attribute->nla_type & NLA_TYPE_MASK) == type &&
			attribute->nla_len >= NLA_HDRLEN + length)
			return at + NLA_HDRLEN;
		at += NLA_ALIGN(attribute->nla_len);
	}
	return NULL;
}

/* What an attribute of the answer is copied to, if it comes. */
struct wanted {
	uint16_t type;
	void *value;
	size_t length;
};

/* One datagram of answers. 1: there are more to come; 0 or -errno: that was the end. */
static int take_answers(const struct nbd_netlink *netlink, const struct wanted *wanted)
{
	static const int more = 1;
	union {
		struct nlmsghdr header;
		uint8_t bytes[ANSWER_BYTES];
	} answer;
	ssize_t n = recv(netlink->fd, &answer, sizeof answer, 0);
	if (n < 0)
		return errno == EINTR ? more : -errno;
	for (struct nlmsghdr *header = &answer.header; NLMSG_OK(header, (size_t)n);
		header = NLMSG_NEXT(header, n)) {
		if (header->nlmsg_seq != netlink->sequence)
			continue;
		if (header->nlmsg_type == NLMSG_ERROR)
			return ((const struct nlmsgerr *)NLMSG_DATA(header))->error;
		const void *value = wanted ? find(header, wanted->type, wanted->length) : NULL;
		if (value)
			memcpy(wanted->value, value, wanted->length);
	}
	return more;
}

static int ask(struct nbd_netlink *netlink, union message *message, const struct wanted *wanted)
{
	message->header.nlmsg_seq = ++netlink->sequence;
	if (send(netlink->fd, message, message->header.nlmsg_len, MSG_NOSIGNAL) < 0)
		return -errno;
	int r;
	do
		r = take_answers(netlink, wanted);
	while (r > 0);
	return r;
}

int nbd_netlink_open(struct nbd_netlink *netlink, struct ramet_error *err)
{
	union message message;
	const struct wanted family = {
		CTRL_ATTR_FAMILY_ID, &netlink->family, sizeof netlink->family};
	*netlink = (struct nbd_netlink)NBD_NETLINK_NONE;
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	if (fd < 0)
		return error_errno(
			err, errno, "cannot speak to the kernel's network block devices");
	netlink->fd = fd;
	message_begin(&message, GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
	put(&message, CTRL_ATTR_FAMILY_NAME, NBD_GENL_FAMILY_NAME, sizeof NBD_GENL_FAMILY_NAME);
	int r = ask(netlink, &message, &family);
	netlink->fd = -1;
	if (r == -ENOENT)
		return error_set(err, ENODEV,
			"this kernel has no network block devices, or has not loaded them: "
			"'modprobe nbd' does, where there is such a module");
	if (r < 0)
		return error_errno(err, -r, "cannot speak to the kernel's network block devices");
	netlink->fd = TAKE_FD(fd);
	return 0;
}

void nbd_netlink_close(struct nbd_netlink *netlink)
{
	cleanup_close(&netlink->fd);
	*netlink = (struct nbd_netlink)NBD_NETLINK_NONE;
}

static void put_binding(union message *message, const struct nbd_binding *binding)
{
	put64(message, NBD_ATTR_SIZE_BYTES, binding->size);
	put64(message, NBD_ATTR_BLOCK_SIZE_BYTES, binding->block_size);
	put64(message, NBD_ATTR_SERVER_FLAGS, binding->flags);
	put64(message, NBD_ATTR_DEAD_CONN_TIMEOUT, binding->patience);
	if (binding->identity)
		put(message, NBD_ATTR_BACKEND_IDENTIFIER, binding->identity,
			strlen(binding->identity) + 1);
	struct nlattr *sockets = nest_begin(message, NBD_ATTR_SOCKETS);
	struct nlattr *item = nest_begin(message, NBD_SOCK_ITEM);
	put32(message, NBD_SOCK_FD, (uint32_t)binding->socket);
	nest_end(message, item);
	nest_end(message, sockets);
}

int nbd_netlink_connect(struct nbd_netlink *netlink, const struct nbd_binding *binding)
{
	union message message;
	uint32_t index = UINT32_MAX;
	const struct wanted wanted = {NBD_ATTR_INDEX, &index, sizeof index};
	message_begin(&message, netlink->family, NBD_CMD_CONNECT);
	put_binding(&message, binding);
	int r = ask(netlink, &message, &wanted);
	if (r < 0)
		return r;
	return index > INT32_MAX ? -EPROTO : (int)index;
}

int nbd_netlink_reconnect(
	struct nbd_netlink *netlink, unsigned index, const struct nbd_binding *binding)
{
	union message message;
	message_begin(&message, netlink->family, NBD_CMD_RECONFIGURE);
	put32(&message, NBD_ATTR_INDEX, index);
	put_binding(&message, binding);
	return ask(netlink, &message, NULL);
}

int nbd_netlink_disconnect(struct nbd_netlink *netlink, unsigned index)
{
	union message message;
	message_begin(&message, netlink->family, NBD_CMD_DISCONNECT);
	put32(&message, NBD_ATTR_INDEX, index);
	return ask(netlink, &message, NULL);
}
