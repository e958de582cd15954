/* SPDX-License-Identifier: Apache-2.0 */
/* The server's loop: who is called, when, and who is not any more. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "export/loop.h"
#include "tests/unit/tap.h"

/* Something in a loop that remembers how often it was called, and ends the loop at the last one. */
struct caller {
	struct loop_fd fd;
	struct loop_hook hook;
	struct loop_timer timer;
	struct loop *loop;
	unsigned calls, last;
	struct loop_fd *other; /* is removed, or added, at the first call */
	bool adds;
	char *order, name;
};

static void called(struct caller *caller)
{
	if (caller->order)
		strncat(caller->order, (char[]){caller->name, '\0'}, 2);
	if (++caller->calls == caller->last)
		loop_stop(caller->loop, 7);
}

static void fd_ready(struct loop_fd *self, short revents)
{
	struct caller *caller = (struct caller *)self;
	CHECK(revents & POLLIN);
	if (caller->other && caller->calls == 0) {
		if (caller->adds)
			CHECK_EQ(loop_add(caller->loop, caller->other), 0);
		else
			loop_remove(caller->loop, caller->other);
	}
	called(caller);
}

static bool hook_run(struct loop_hook *self)
{
	called((struct caller *)((char *)self - offsetof(struct caller, hook)));
	return true;
}

static void timer_expired(struct loop_timer *self)
{
	called((struct caller *)((char *)self - offsetof(struct caller, timer)));
}

static struct caller caller_make(struct loop *loop, unsigned last)
{
	/* An eventfd that is readable all the time. */
	return (struct caller){.loop = loop,
		.last = last,
		.fd = {.fd = eventfd(1, EFD_CLOEXEC), .events = POLLIN, .ready = fd_ready},
		.hook = {.run = hook_run},
		.timer = {.expired = timer_expired}};
}

static struct loop *loop_make(void)
{
	struct loop *loop = NULL;
	struct ramet_error err = {0};
	CHECK_EQ(loop_new(&loop, &err), 0);
	return loop;
}

static void test_result(void)
{
	struct loop *loop = loop_make();
	struct caller one = caller_make(loop, 3);
	CHECK_EQ(loop_add(loop, &one.fd), 0);
	CHECK_EQ(loop_run(loop), 7);
	CHECK_EQ(one.calls, 3);
	/* It can be run again. */
	one.last = 5;
	CHECK_EQ(loop_run(loop), 7);
	CHECK_EQ(one.calls, 5);
	close(one.fd.fd);
	loop_free(loop);
}

static void test_removed(void)
{
	struct loop *loop = loop_make();
	struct caller one = caller_make(loop, 4), two = caller_make(loop, 0);
	one.other = &two.fd;
	CHECK_EQ(loop_add(loop, &one.fd), 0);
	CHECK_EQ(loop_add(loop, &two.fd), 0);
	loop_run(loop);
	/* Both were ready in the first turn. */
	CHECK_EQ(two.calls, 0);
	close(one.fd.fd);
	close(two.fd.fd);
	loop_free(loop);
}

static void test_added(void)
{
	struct loop *loop = loop_make();
	struct caller one = caller_make(loop, 100), many[70];
	CHECK_EQ(loop_add(loop, &one.fd), 0);
	for (size_t i = 0; i < 70; i++) {
		many[i] = caller_make(loop, 0);
		many[i].other = i + 1 < 70 ? &many[i + 1].fd : NULL;
		many[i].adds = true;
	}
	one.other = &many[0].fd;
	one.adds = true;
	loop_run(loop);
	/* Each added the next one when it was called first. */
	for (size_t i = 0; i < 70; i++) {
		CHECK(many[i].calls > 0);
		close(many[i].fd.fd);
	}
	close(one.fd.fd);
	loop_free(loop);
}

static void test_silent(void)
{
	struct loop *loop = loop_make();
	struct caller one = caller_make(loop, 0), two = caller_make(loop, 1);
	int ends[2];
	CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
	close(ends[1]);
	/* A pipe whose other end is gone: poll() tells of that without being asked. */
	close(one.fd.fd);
	one.fd.fd = ends[0];
	one.fd.events = 0;
	CHECK_EQ(loop_add(loop, &one.fd), 0);
	loop_set_timer(loop, &two.timer, 20);
	loop_run(loop);
	CHECK_EQ(one.calls, 0);
	close(ends[0]);
	close(two.fd.fd);
	loop_free(loop);
}

static void test_timers(void)
{
	struct loop *loop = loop_make();
	char order[16] = "";
	struct caller timers[4];
	const unsigned after[] = {30, 1, 15, 5};
	for (size_t i = 0; i < 4; i++) {
		timers[i] = caller_make(loop, i == 0);
		timers[i].order = order;
		timers[i].name = (char)('a' + i);
		loop_set_timer(loop, &timers[i].timer, after[i]);
		close(timers[i].fd.fd);
	}
	loop_clear_timer(loop, &timers[3].timer);
	/* Set anew: only the later time counts. */
	loop_set_timer(loop, &timers[1].timer, 20);
	loop_run(loop);
	CHECK_STR(order, "cba");
	loop_free(loop);
}

static void test_hooks(void)
{
	struct loop *loop = loop_make();
	struct caller one = caller_make(loop, 5), two = caller_make(loop, 0);
	loop_add_hook(loop, &one.hook);
	loop_add_hook(loop, &two.hook);
	/* Nothing else is there: without "there is more to do" this would wait for ever. */
	loop_run(loop);
	CHECK_EQ(one.calls, 5);
	CHECK(two.calls >= 4);
	loop_remove_hook(loop, &two.hook);
	unsigned before = two.calls;
	one.last = 8;
	loop_run(loop);
	CHECK_EQ(two.calls, before);
	close(one.fd.fd);
	close(two.fd.fd);
	loop_free(loop);
}

enum { ASKED = 3000 };

/* Answers each byte; the loop is told that there will be another one. */
struct server {
	struct loop_fd fd;
	struct loop_hook hook;
	struct loop *loop;
	unsigned answered;
	bool answers;
};

static void asked(struct loop_fd *self, short revents)
{
	struct server *server = (struct server *)self;
	char byte;
	CHECK_EQ(recv(self->fd, &byte, 1, MSG_DONTWAIT), 1);
	server->answers = true;
}

static bool answer(struct loop_hook *self)
{
	struct server *server = (struct server *)((char *)self - offsetof(struct server, hook));
	if (!server->answers)
		return false;
	server->answers = false;
	CHECK_EQ(send(server->fd.fd, "", 1, MSG_NOSIGNAL), 1);
	loop_expect(server->loop);
	if (++server->answered == ASKED)
		loop_stop(server->loop, 0);
	return false;
}

/* Soon most times, late now and then, and once so often that nobody waits for it any more. */
static void *ask(void *argument)
{
	int fd = *(int *)argument;
	char byte;
	for (unsigned i = 0; i < ASKED; i++) {
		if (i % 100 == 50 || i / 100 == 7)
			usleep(200);
		if (send(fd, "", 1, MSG_NOSIGNAL) != 1 || recv(fd, &byte, 1, 0) != 1)
			break;
	}
	return NULL;
}

static void test_expected(void)
{
	struct loop *loop = loop_make();
	struct server server = {.loop = loop, .fd.events = POLLIN, .fd.ready = asked};
	struct caller timer = caller_make(loop, 0);
	pthread_t client;
	int ends[2];
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	server.fd.fd = ends[0];
	server.hook.run = answer;
	CHECK_EQ(loop_add(loop, &server.fd), 0);
	loop_add_hook(loop, &server.hook);
	loop_set_timer(loop, &timer.timer, 1);
	CHECK_EQ(pthread_create(&client, NULL, ask, &ends[1]), 0);
	CHECK_EQ(loop_run(loop), 0);
	CHECK_EQ(server.answered, ASKED);
	CHECK_EQ(timer.calls, 1);
	close(ends[0]);
	CHECK_EQ(pthread_join(client, NULL), 0);
	close(ends[1]);
	close(timer.fd.fd);
	loop_free(loop);
}

TEST_MAIN({"a loop runs until it is stopped, and answers with what", test_result},
	{"what is removed is not called, in the same turn neither", test_removed},
	{"what is added while others are called is waited for", test_added},
	{"what waits for nothing is not told of a hang-up", test_silent},
	{"timers come in the order of their times", test_timers},
	{"a hook that has more to do keeps the loop from waiting", test_hooks},
	{"who is expected is heard, soon or late, and the timers beside", test_expected})
