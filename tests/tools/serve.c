/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serve [-r] [-n] [-u UID] KIND ADDRESS DEVICE: a device (test_device.h: a raw file, memory, or one
 * that misbehaves) by one of the exports, until SIGTERM or SIGINT, for tests and benches of the exports
 * alone. -r: read-only, -n: without io_uring, -u: for that user. "ready" is printed once clients can
 * come.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "export/export.h"
#include "test_device.h"

static struct loop *loop;
static struct export_user user;

static void stop(struct loop_fd *self, short revents)
{
	loop_stop(loop, 0);
}

static void note(void *ctx, const char *sentence)
{
	fprintf(stderr, "serve: %s\n", sentence);
}

static int fail(int code, const struct ramet_error *err)
{
	fprintf(stderr, "serve: %s\n", *err->message ? err->message : strerror(-code));
	return 1;
}

static int serve(const struct export_ops *ops, const char *address, struct block_device *device,
	const struct engine_options *engine_options)
{
	struct ramet_error err = {0};
	struct engine *engine = NULL;
	struct export *export = NULL;
	sigset_t ends;
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	signal(SIGPIPE, SIG_IGN);
	struct loop_fd signals = {
		.fd = signalfd(-1, &ends, SFD_CLOEXEC), .events = POLLIN, .ready = stop};
	int r = loop_new(&loop, &err);
	if (r == 0)
		r = engine_new(device, engine_options, &engine, &err);
	if (r == 0)
		r = loop_add_engine(loop, engine);
	if (r == 0)
		r = loop_add(loop, &signals);
	struct export_device served = {.name = "disk", .device = device, .engine = engine};
	struct export_options options = {.loop = loop,
		.devices = &served,
		.device_count = 1,
		.address = address,
		.user = user.uid ? &user : NULL,
		.note = note};
	if (r == 0)
		r = ops->open(&options, &export, &err);
	if (r < 0)
		return fail(r, &err);
	printf("ready %s\n", ops->describe(export, 0));
	fflush(stdout);
	r = loop_run(loop);
	if (ops->stop)
		ops->stop(export);
	engine_drain(engine);
	ops->close(export);
	engine_free(engine);
	loop_free(loop);
	return r < 0;
}

int main(int argc, char **argv)
{
	struct engine_options options = {0};
	bool read_only = false;
	for (int option; (option = getopt(argc, argv, "rnu:")) != -1;)
		switch (option) {
		case 'r':
			read_only = true;
			break;
		case 'n':
			options.no_ring = true;
			break;
		case 'u':
			user.uid = user.gid = (unsigned)strtoul(optarg, NULL, 10);
			break;
		default:
			return 2;
		}
	const struct export_ops *ops = argc - optind == 3 ? export_find(argv[optind]) : NULL;
	if (!ops) {
		fprintf(stderr, "usage: serve [-r] [-n] [-u UID] KIND ADDRESS DEVICE\n");
		return 2;
	}
	struct ramet_error err = {0};
	struct block_device *device;
	int r = test_device_open(argv[optind + 2], read_only, &device, &err);
	if (r < 0)
		return fail(r, &err);
	r = serve(ops, argv[optind + 1], device, &options);
	block_close(device);
	return r;
}
