/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A block device for VMMs by vhost-user: the VMM (the frontend) connects to a socket, hands over the
 * guest's memory and its virtqueues' events, and from then on guest and server deal with each other
 * without it.
 *
 * One VMM at a time has the device: a second one is refused as long as the first one's guest may be
 * running. A first one that has not started a queue yet gives way, since Firecracker, told of a drive
 * again, connects anew before it drops the old connection. A VMM that ended is followed by the next
 * one once the last of its requests has ended, so that none of them falls among the next one's.
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "export/vhost_user_guard.h"
#include "export/vhost_user_inside.h"

enum { NOTES_MOST = 100 };

void vhost_note(struct vhost_export *export, const char *format, ...)
{
	char sentence[1024];
	va_list arguments;
	if (!export->note || export->notes >= NOTES_MOST)
		return;
	va_start(arguments, format);
	vsnprintf(sentence, sizeof sentence, format, arguments);
	va_end(arguments);
	export->note(export->note_ctx, sentence);
	if (++export->notes == NOTES_MOST)
		export->note(
			export->note_ctx, "there were many notes about VMMs, more are left out");
}

/* It may be gone already, and the loop has not come to it, or to its last words, yet. */
static bool is_gone(const struct vhost_session *session)
{
	struct pollfd connection = {.fd = session->socket.fd};
	return session->ended || (poll(&connection, 1, 0) > 0 && connection.revents & POLLHUP);
}

static void take_over(struct vhost_export *export, int fd)
{
	if (vhost_session_new(export, fd, &export->session) < 0) {
		vhost_note(export, "a VMM was refused: there is not enough memory");
		close(fd);
	}
}

/* Nobody is taken while an old connection's requests end: the next one waits in the socket. */
static void accept_one(struct loop_fd *self, short revents)
{
	struct vhost_export *export =
		(struct vhost_export *)((char *)self - offsetof(struct vhost_export, listener));
	struct vhost_session *session = export->session;
	if (session && !session->ended && is_gone(session))
		vhost_session_end(session, NULL);
	if (session && session->ended && session->under_way) {
		self->events = 0;
		return;
	}
	int fd = accept4(self->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	if (session && !session->ended && vhost_session_started(session)) {
		vhost_note(export, "a second VMM was refused at %s: one has the device",
			export->socket.path);
		close(fd);
		return;
	}
	if (session)
		vhost_session_free(TAKE_PTR(export->session));
	take_over(export, fd);
}

static bool run(struct loop_hook *hook)
{
	struct vhost_export *export = (struct vhost_export *)((char *)hook -
							      offsetof(struct vhost_export, hook));
	bool over = false;
	if (!export->session)
		return false;
	bool more = vhost_session_run(export->session, &over);
	if (over) {
		vhost_session_free(TAKE_PTR(export->session));
		export->listener.events = export->stopped ? 0 : POLLIN;
	}
	return more;
}

static void export_stop(struct export *base)
{
	struct vhost_export *export = (struct vhost_export *)base;
	export->stopped = true;
	export->listener.events = 0;
	if (export->session)
		vhost_session_end(export->session, NULL);
}

static void export_close(struct export *base)
{
	struct vhost_export *export = (struct vhost_export *)base;
	if (export->session)
		vhost_session_free(export->session);
	loop_remove_hook(export->loop, &export->hook);
	loop_remove(export->loop, &export->listener);
	unix_socket_close(&export->socket);
	guard_end();
	free(export->description);
	free(export);
}

static int listen_at(struct vhost_export *export, const char *address,
	const struct export_user *user, struct ramet_error *err)
{
	if (asprintf(&export->description, "vhost-user-blk:%s", address) < 0)
		return error_memory(err);
	int r = unix_socket_listen(&export->socket, address, user, err);
	if (r < 0)
		return r;
	export->listener = (struct loop_fd){
		.fd = export->socket.fd, .events = POLLIN, .ready = accept_one};
	if (loop_add(export->loop, &export->listener) < 0) {
		unix_socket_close(&export->socket);
		return error_memory(err);
	}
	return 0;
}

static int export_open(
	const struct export_options *options, struct export **out, struct ramet_error *err)
{
	if (options->device_count != 1)
		return error_set(err, EINVAL, "a vhost-user-blk socket has one device, not %zu",
			options->device_count);
	_cleanup_free_ struct vhost_export *export = calloc(1, sizeof *export);
	if (!export)
		return error_memory(err);
	export->export.ops = &export_vhost_user_blk;
	export->loop = options->loop;
	export->device = options->devices[0];
	export->note = options->note;
	export->note_ctx = options->note_ctx;
	export->hook.run = run;
	int r = guard_begin();
	if (r < 0)
		return error_errno(err, -r, "cannot watch the memory of guests");
	r = listen_at(export, options->address, options->user, err);
	if (r < 0) {
		guard_end();
		free(export->description);
		return r;
	}
	loop_add_hook(export->loop, &export->hook);
	*out = &TAKE_PTR(export)->export;
	return 0;
}

static const char *export_describe(const struct export *export, size_t device)
{
	return ((const struct vhost_export *)export)->description;
}

/* mmap: of files, shared. The handler of SIGBUS lays zeros over a mapping, and returns. */
static const int syscalls[] = {SYS_accept4, SYS_recvmsg, SYS_recvfrom, SYS_sendmsg, SYS_sendto,
	SYS_fcntl, SYS_fstat, SYS_newfstatat, SYS_mmap, SYS_munmap, SYS_madvise, SYS_memfd_create,
	SYS_ftruncate, SYS_sched_getaffinity, SYS_rt_sigaction, SYS_rt_sigreturn, -1};

const struct export_ops export_vhost_user_blk = {
	.name = "vhost-user-blk",
	.summary = "a socket for Firecracker, QEMU and other VMMs (vhost-user)",
	.syscalls = syscalls,
	.open = export_open,
	.describe = export_describe,
	.close = export_close,
	.stop = export_stop,
};
