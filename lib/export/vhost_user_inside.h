/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the vhost-user-blk export share.
 *
 *   vhost_user.c           the export: the socket, and which frontend is served
 *   vhost_user_session.c   one connection: when its messages are handled, and its end
 *   vhost_user_socket.c    messages as bytes
 *   vhost_user_message.c   what each message does
 *   vhost_user_memory.c    the guest's memory;  vhost_user_guard.c  when it vanishes
 *   vhost_user_queue.c     a virtqueue;  vhost_user_chain.c  its descriptors
 *   vhost_user_inflight.c  what outlives a backend that is killed
 *   vhost_user_block.c     requests of a virtio block device
 */
#ifndef EXPORT_VHOST_USER_INSIDE_H
#define EXPORT_VHOST_USER_INSIDE_H

#include <sys/uio.h>

#include "export/export.h"
#include "export/unix_socket.h"
#include "export/vhost_user_memory.h"
#include "export/vhost_user_wire.h"

enum {
	VHOST_QUEUES = 64,
	VHOST_QUEUE_SIZE_MOST = 1024,
	VHOST_SEGMENTS = 1024, /* pieces of memory in one request: IOV_MAX */
	VHOST_SMALL_VECTOR = 4,
};

struct vhost_export {
	struct export export;
	struct loop *loop;
	struct loop_hook hook;
	struct export_device device;
	struct unix_socket socket;
	struct loop_fd listener;
	char *description;
	void (*note)(void *ctx, const char *sentence);
	void *note_ctx;
	unsigned notes;                /* told so far */
	struct vhost_session *session; /* NULL: nobody is connected */
	bool stopped;                  /* takes nothing new */
};

/* Tell the operator. What a guest or a frontend can cause is told so often, and no more. */
void vhost_note(struct vhost_export *export, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* ------------------------------------------------------------------------------------------- */

struct vhost_request {
	struct block_request block; /* first */
	struct vhost_queue *queue;
	struct vhost_request *next; /* of the free ones */
	uint8_t *state;             /* where the guest wants to find how it went */
	uint32_t type, written;
	uint16_t head;
	uint64_t end; /* of zeros that are being written */
	struct iovec small[VHOST_SMALL_VECTOR], *allocated;
};

struct vhost_queue {
	struct vhost_session *session;
	/* As the frontend set it up. */
	uint32_t size; /* 0: not yet */
	struct vhost_vring_address address;
	bool addressed, enabled;
	struct loop_fd kick;
	int call, error;
	/* While it is served. */
	bool live, broken, armed; /* armed: the guest kicks for what it adds */
	struct vring_descriptor *descriptors;
	struct vring_available *available;
	struct vring_used *used;
	uint16_t taken;     /* next of available */
	uint16_t done;      /* next of used */
	uint16_t published; /* of used, the guest knows */
	bool call_at_once;  /* where the guest wants to be called is not known yet */
	unsigned under_way;
	struct vhost_request *requests, *free;
	struct vring_inflight *inflight; /* NULL: nobody keeps it */
	uint16_t *batch;                 /* heads that are done and not published */
	uint64_t counter;
};

struct vhost_chain {
	struct iovec vector[VHOST_SEGMENTS]; /* what the guest wrote, and behind it what we may */
	unsigned readable, writable;         /* pieces */
	uint64_t readable_bytes, writable_bytes;
};

struct vhost_session {
	struct vhost_export *export;
	struct loop_fd socket;
	struct vhost_message message;
	size_t received; /* bytes of message */
	int fds[VHOST_FDS];
	unsigned fd_count;
	bool waiting; /* message is whole, and waits for requests to end */
	bool ended;
	bool told; /* that there are no flushes */
	uint64_t features, protocol;
	uint8_t status;
	struct vhost_memory memory;
	struct vhost_mapping inflight;
	struct vhost_wire_inflight inflight_shape;
	unsigned under_way;           /* requests of all queues */
	bool may_spin, spins;         /* wait for the guest before the loop does */
	unsigned quick, quick_needed; /* times in a row that the guest came back soon */
	uint64_t idle_since;          /* nanoseconds; 0: it is not */
	struct vhost_chain chain;     /* the one that is being taken */
	unsigned queue_count;         /* of queues, those that were ever named */
	struct vhost_queue queues[VHOST_QUEUES];
};

/* session.c */
int vhost_session_new(struct vhost_export *export, int fd, struct vhost_session **session);
/* Take nothing more from it. It goes when its last request has ended. why: NULL when that is known. */
void vhost_session_end(struct vhost_session *session, const char *why);
/* Once a turn. true: there is more to do. *over: it has gone. */
bool vhost_session_run(struct vhost_session *session, bool *over);
/* A queue of it has been started. */
bool vhost_session_started(const struct vhost_session *session);
void vhost_session_free(struct vhost_session *session);

/* socket.c: 1: session->message is whole; 0: not yet; -ENODATA: the frontend closed; or another
 * negative errno with its sentence. */
int vhost_receive(struct vhost_session *session, struct ramet_error *err);
/* Answer session->message with size bytes of its payload, and fd, if it is not -1. */
int vhost_reply(struct vhost_session *session, uint32_t size, int fd, struct ramet_error *err);
void vhost_close_fds(struct vhost_session *session);

/* message.c */
bool vhost_must_wait(const struct vhost_session *session);
/* Do what session->message says. */
int vhost_handle(struct vhost_session *session, struct ramet_error *err);

/* queue.c */
/* Whatever changed: serve it when all is there, or do not. Nothing of it is under way when it is to
 * stop. */
int vhost_queue_update(struct vhost_queue *queue, struct ramet_error *err);
void vhost_queue_stop(struct vhost_queue *queue);
/* Stop, and forget what the frontend set up. */
void vhost_queue_reset(struct vhost_queue *queue);
/* Look where the rings are, after memory or addresses changed. */
int vhost_queue_find(struct vhost_queue *queue, struct ramet_error *err);
/* Take what is available, or a part of it. Answers whether anything was. */
bool vhost_queue_take(struct vhost_queue *queue);
/* A request is done: written bytes of its memory are new. */
void vhost_queue_put(struct vhost_queue *queue, uint16_t head, uint32_t written);
/* Let the guest know what is done. */
void vhost_queue_publish(struct vhost_queue *queue);
/* Something is available. */
bool vhost_queue_waits(struct vhost_queue *queue);
/* Have the guest kick. false: there is something already. */
bool vhost_queue_arm(struct vhost_queue *queue);
/* The guest's rings make no sense. */
void vhost_queue_break(struct vhost_queue *queue, const char *why);
void vhost_queue_call(const struct vhost_queue *queue);

/* chain.c: NULL, or why it makes no sense. */
const char *vhost_chain_read(struct vhost_queue *queue, uint16_t head, struct vhost_chain *chain);

/* inflight.c */
int vhost_inflight_make(struct vhost_session *session, int *fd, struct ramet_error *err);
int vhost_inflight_take(struct vhost_session *session, int fd, struct ramet_error *err);
/* The queue starts: what was in flight begins again. */
int vhost_inflight_resume(struct vhost_queue *queue, struct ramet_error *err);
void vhost_inflight_begin(struct vhost_queue *queue, uint16_t head);
void vhost_inflight_put(struct vhost_queue *queue, uint16_t head);
void vhost_inflight_published(struct vhost_queue *queue, unsigned count);

/* block.c */
uint64_t vhost_block_features(const struct block_device *device);
void vhost_block_configuration(
	const struct block_device *device, struct virtio_blk_configuration *configuration);
/* A queue starts: an operator should know when the guest cannot make anything durable. */
void vhost_block_tell_flushes(struct vhost_session *session);
/* Begin the request that chain is: NULL, or why it makes no sense. */
const char *vhost_block_begin(struct vhost_queue *queue, uint16_t head, struct vhost_chain *chain);

#endif
