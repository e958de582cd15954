/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages come as a stream: a head that tells how long the rest is, fds with its first byte. What has
 * come is kept in the session until the message is whole, so a frontend that stops in the middle stops
 * nobody but itself.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "export/vhost_user_inside.h"

void vhost_close_fds(struct vhost_session *session)
{
	for (unsigned i = 0; i < session->fd_count; i++)
		cleanup_close(&session->fds[i]);
	session->fd_count = 0;
}

static void keep_fds(struct vhost_session *session, const struct cmsghdr *control)
{
	size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	for (size_t i = 0; i < count; i++) {
		int fd;
		memcpy(&fd, CMSG_DATA(control) + i * sizeof fd, sizeof fd);
		if (session->fd_count < VHOST_FDS)
			session->fds[session->fd_count++] = fd;
		else
			cleanup_close(&fd);
	}
}

static ssize_t receive_head(struct vhost_session *session, void *into, size_t length, bool *whole)
{
	union {
		struct cmsghdr header;
		uint8_t space[CMSG_SPACE(VHOST_FDS * sizeof(int))];
	} control;
	struct iovec part = {into, length};
	struct msghdr message = {.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof control};
	ssize_t n = recvmsg(session->socket.fd, &message, MSG_CMSG_CLOEXEC);
	*whole = n < 0 || !(message.msg_flags & MSG_CTRUNC);
	for (struct cmsghdr *c = n < 0 ? NULL : CMSG_FIRSTHDR(&message); c;
		c = CMSG_NXTHDR(&message, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
			keep_fds(session, c);
	return n;
}

static int check_head(const struct vhost_message *message, struct ramet_error *err)
{
	if ((message->flags & VHOST_VERSION_MASK) != VHOST_VERSION)
		return error_set(err, EPROTO, "a message is of version %u, not 1",
			message->flags & VHOST_VERSION_MASK);
	if (message->size > VHOST_PAYLOAD_MOST)
		return error_set(err, EPROTO, "message %u is too long: %u bytes", message->request,
			message->size);
	return 0;
}

/* One part, head or payload. 1: it is all there. */
static int receive_part(struct vhost_session *session, size_t end, struct ramet_error *err)
{
	struct vhost_message *message = &session->message;
	uint8_t *into = end == VHOST_HEAD
				? (uint8_t *)message + session->received
				: (uint8_t *)&message->payload + session->received - VHOST_HEAD;
	size_t length = end - session->received;
	bool whole = true;
	ssize_t n = end == VHOST_HEAD ? receive_head(session, into, length, &whole)
				      : recv(session->socket.fd, into, length, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0)
		return error_errno(err, errno, "the connection broke");
	if (n == 0 && session->received == 0)
		return -ENODATA;
	if (n == 0)
		return error_set(err, EPROTO, "the connection ended in the middle of a message");
	if (!whole)
		return error_set(err, EPROTO, "a message came with too many fds");
	session->received += (size_t)n;
	return session->received == end;
}

int vhost_receive(struct vhost_session *session, struct ramet_error *err)
{
	struct vhost_message *message = &session->message;
	int r = 1;
	if (session->received < VHOST_HEAD) {
		r = receive_part(session, VHOST_HEAD, err);
		if (r == 1) {
			int refused = check_head(message, err);
			r = refused < 0 ? refused : 1;
		}
	}
	if (r == 1 && session->received < VHOST_HEAD + message->size)
		r = receive_part(session, VHOST_HEAD + message->size, err);
	if (r == 1)
		session->received = 0;
	return r;
}

int vhost_reply(struct vhost_session *session, uint32_t size, int fd, struct ramet_error *err)
{
	struct vhost_message *reply = &session->message;
	union {
		struct cmsghdr header;
		uint8_t space[CMSG_SPACE(sizeof(int))];
	} control = {.header = {.cmsg_level = SOL_SOCKET,
			     .cmsg_type = SCM_RIGHTS,
			     .cmsg_len = CMSG_LEN(sizeof fd)}};
	struct iovec parts[] = {{reply, VHOST_HEAD}, {&reply->payload, size}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
	if (fd >= 0) {
		memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
		message.msg_control = &control;
		message.msg_controllen = sizeof control;
	}
	reply->flags = VHOST_VERSION | VHOST_REPLY;
	reply->size = size;
	ssize_t n = sendmsg(session->socket.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0 && errno != EAGAIN)
		return error_errno(err, errno, "the connection broke");
	if (n != VHOST_HEAD + (ssize_t)size)
		return error_set(err, EPROTO, "the answers to its messages are not read");
	return 0;
}
