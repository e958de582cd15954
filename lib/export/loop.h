/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's loop: one thread that waits for fds and for engines. Each turn runs the engines, then
 * the hooks, and waits only when neither has anything left to do.
 *
 * Everything here is called in the loop's thread.
 */
#ifndef EXPORT_LOOP_H
#define EXPORT_LOOP_H

#include <stdbool.h>

#include "base/error.h"
#include "block/engine.h"

struct loop;

/* An fd that is waited for. The caller's; stays where it is until it is removed. */
struct loop_fd {
	int fd;
	short events; /* as poll(2): may be changed at any time; 0: not waited for */
	/* revents is never 0. May remove itself and others, and add. */
	void (*ready)(struct loop_fd *self, short revents);
};

/* Called once a turn, after the engines ran and before the loop waits: to send what has gathered. */
struct loop_hook {
	/* true: there is more to do at once, do not wait. */
	bool (*run)(struct loop_hook *self);
	struct loop_hook *next; /* the loop's */
};

/* Called once, after so many milliseconds. */
struct loop_timer {
	void (*expired)(struct loop_timer *self);
	uint64_t at;             /* the loop's */
	struct loop_timer *next; /* the loop's */
};

int loop_new(struct loop **loop, struct ramet_error *err);
void loop_free(struct loop *loop);                   /* NULL is fine */
int loop_add(struct loop *loop, struct loop_fd *fd); /* -ENOMEM */
void loop_remove(struct loop *loop, struct loop_fd *fd);
int loop_add_engine(struct loop *loop, struct engine *engine); /* -ENOMEM */
void loop_remove_engine(struct loop *loop, struct engine *engine);
void loop_add_hook(struct loop *loop, struct loop_hook *hook);
void loop_remove_hook(struct loop *loop, struct loop_hook *hook);
/* Set, or set anew. */
void loop_set_timer(struct loop *loop, struct loop_timer *timer, unsigned milliseconds);
void loop_clear_timer(struct loop *loop, struct loop_timer *timer);
/* In a hook, or when a request is done: somebody was answered in this turn, and may ask on within microseconds. */
void loop_expect(struct loop *loop);

/* Until loop_stop(); its result is answered. */
int loop_run(struct loop *loop);
void loop_stop(struct loop *loop, int result);

#endif
