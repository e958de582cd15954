/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection of a frontend. Its messages are handled one after another; while one waits for
 * requests to end nothing new is taken from the queues and no message is read. A connection that ended,
 * or was ended because of what came through it, stays until its last request has ended, for requests
 * have the guest's memory.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "export/vhost_user_inside.h"

enum {
	SPIN_NANOSECONDS = 64000,
	QUICK_LEAST = 4,
	QUICK_MOST = 4096,
	FORGIVEN = 16,
	ROUNDS = 64,   /* before others in the loop have their turn */
	MESSAGES = 64, /* the same */
};

void vhost_session_end(struct vhost_session *session, const char *why)
{
	if (session->ended)
		return;
	if (why)
		vhost_note(session->export, "the connection of a VMM was ended: %s", why);
	session->ended = true;
	session->waiting = false;
	loop_remove(session->export->loop, &session->socket);
	vhost_close_fds(session);
	cleanup_close(&session->socket.fd);
	session->socket.fd = -1;
	for (unsigned i = 0; i < VHOST_QUEUES; i++)
		if (session->queues[i].live)
			loop_remove(session->export->loop, &session->queues[i].kick);
}

static bool is_quiet(const struct vhost_session *session)
{
	return session->ended || session->waiting || session->export->stopped;
}

static void publish(struct vhost_session *session)
{
	for (unsigned i = 0; i < session->queue_count; i++)
		vhost_queue_publish(&session->queues[i]);
}

static void handle(struct vhost_session *session)
{
	struct ramet_error err = {0};
	session->waiting = false;
	session->socket.events = POLLIN;
	publish(session);
	if (vhost_handle(session, &err) < 0)
		vhost_session_end(session, err.message);
}

static void receive(struct loop_fd *self, short revents)
{
	struct vhost_session *session =
		(struct vhost_session *)((char *)self - offsetof(struct vhost_session, socket));
	struct ramet_error err = {0};
	for (unsigned i = 0; i < MESSAGES && !session->ended; i++) {
		int r = vhost_receive(session, &err);
		if (r == 0)
			return;
		if (r < 0) {
			vhost_session_end(session, r == -ENODATA ? NULL : err.message);
		} else if (vhost_must_wait(session)) {
			session->waiting = true;
			session->socket.events = 0;
			return;
		} else {
			handle(session);
		}
	}
}

/* ------------------------------------------------------------------------------------------- */

static uint64_t now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static bool take(struct vhost_session *session)
{
	bool any = false;
	for (unsigned i = 0; i < session->queue_count; i++) {
		struct vhost_queue *queue = &session->queues[i];
		if (queue->armed)
			continue;
		any |= vhost_queue_take(queue);
	}
	return any;
}

static bool arm(struct vhost_session *session)
{
	bool more = false;
	for (unsigned i = 0; i < session->queue_count; i++)
		more |= !vhost_queue_arm(&session->queues[i]);
	return more;
}

static bool is_active(const struct vhost_session *session)
{
	for (unsigned i = 0; i < session->queue_count; i++)
		if (session->queues[i].live && !session->queues[i].broken &&
			!session->queues[i].armed)
			return true;
	return false;
}

static void relax(void)
{
#ifdef __x86_64__
	__builtin_ia32_pause();
#endif
}

/* It was worth it. When that has often been so, what was in vain before is forgiven. */
static bool found(struct vhost_session *session)
{
	if (++session->quick % FORGIVEN == 0)
		session->quick_needed = MAX(session->quick_needed / 2, QUICK_LEAST);
	return true;
}

/* It was in vain: longer than before nothing is waited for. */
static void spin_less(struct vhost_session *session)
{
	session->spins = false;
	session->quick = 0;
	session->quick_needed = MIN(2 * session->quick_needed, QUICK_MOST);
}

static bool any_waits(struct vhost_session *session)
{
	for (unsigned i = 0; i < session->queue_count; i++)
		if (vhost_queue_waits(&session->queues[i]))
			return true;
	return false;
}

/* Wait for a guest that is known to come back quickly. */
static bool spin(struct vhost_session *session)
{
	uint64_t begin = now(), end = begin + SPIN_NANOSECONDS;
	session->idle_since = begin;
	if (!session->spins)
		return false;
	do {
		if (any_waits(session))
			return found(session);
		relax();
	} while (now() < end);
	spin_less(session);
	return false;
}

/*
 * A guest that waits for each request adds the next one microseconds after the last was done: sleeping
 * and being woken takes longer than that, and a kick is an exit of the guest. So it is waited for, for
 * at most SPIN_NANOSECONDS, once it has come back soon several times in a row (within twice that, for
 * our own waking up is in what was measured). Each time that it does
 * not, twice as many are needed: where processors are scarce waiting keeps others from them, the guest
 * too, and so it becomes rare.
 */
static void judge_spinning(struct vhost_session *session)
{
	if (session->idle_since) {
		bool quick = now() - session->idle_since < 2 * SPIN_NANOSECONDS;
		session->quick = quick ? session->quick + 1 : 0;
		session->spins = session->may_spin && session->quick >= session->quick_needed;
	}
	session->idle_since = 0;
}

static void kicked(struct loop_fd *self, short revents)
{
	struct vhost_queue *queue = (struct vhost_queue *)((char *)self -
							   offsetof(struct vhost_queue, kick));
	uint64_t count;
	if (read(self->fd, &count, sizeof count) < 0 && errno != EAGAIN) {
		vhost_session_end(queue->session, "the kick of a queue cannot be read");
		return;
	}
	queue->armed = false;
	if (is_quiet(queue->session))
		return;
	judge_spinning(queue->session);
	vhost_queue_take(queue);
	vhost_queue_publish(queue);
}

/* What is being copied has ended soon. */
static bool await_copy(struct vhost_session *session)
{
	uint64_t end = now() + SPIN_NANOSECONDS;
	do {
		if (engine_ready(session->export->device.engine) || any_waits(session))
			return true;
		relax();
	} while (now() < end);
	return false;
}

static bool run_queues(struct vhost_session *session)
{
	struct engine *engine = session->export->device.engine;
	if (!is_active(session))
		return false;
	for (unsigned i = 0; i < ROUNDS; i++) {
		/* What is cached is done at once. */
		bool any = take(session) || engine_ready(engine);
		if (any)
			engine_run(engine);
		publish(session);
		if (any || (engine_copies(engine) && await_copy(session)))
			continue;
		if (session->under_way || !spin(session))
			return arm(session);
	}
	return true;
}

bool vhost_session_run(struct vhost_session *session, bool *over)
{
	publish(session);
	if (vhost_memory_lost(&session->memory))
		vhost_session_end(session, "the guest's memory vanished");
	*over = session->ended && session->under_way == 0;
	if (session->waiting && session->under_way == 0) {
		handle(session);
		return true;
	}
	return !is_quiet(session) && run_queues(session);
}

bool vhost_session_started(const struct vhost_session *session)
{
	for (unsigned i = 0; i < VHOST_QUEUES; i++)
		if (session->queues[i].live)
			return true;
	return false;
}

/* Alone on a CPU, whoever spins keeps the guest from what he waits for. */
static int cpus_count(void)
{
	cpu_set_t set;
	return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

int vhost_session_new(struct vhost_export *export, int fd, struct vhost_session **out)
{
	_cleanup_free_ struct vhost_session *session = calloc(1, sizeof *session);
	if (!session)
		return -ENOMEM;
	session->export = export;
	session->may_spin = cpus_count() > 1;
	session->quick_needed = QUICK_LEAST;
	session->socket = (struct loop_fd){.fd = fd, .events = POLLIN, .ready = receive};
	for (unsigned i = 0; i < VHOST_QUEUES; i++) {
		struct vhost_queue *queue = &session->queues[i];
		queue->session = session;
		queue->kick = (struct loop_fd){.fd = -1, .events = POLLIN, .ready = kicked};
		queue->call = queue->error = -1;
	}
	if (loop_add(export->loop, &session->socket) < 0)
		return -ENOMEM;
	*out = TAKE_PTR(session);
	return 0;
}

void vhost_session_free(struct vhost_session *session)
{
	vhost_session_end(session, NULL);
	for (unsigned i = 0; i < VHOST_QUEUES; i++)
		vhost_queue_reset(&session->queues[i]);
	vhost_memory_clear(&session->memory);
	vhost_unmap(&session->inflight);
	free(session);
}
