/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ramet-server ANSWER CONFIG: serves the drives of one fork by one export, in a process of its own, so
 * that whatever goes wrong in it is one VM's. ramet starts it; ANSWER and CONFIG are fds (see
 * export/server.h).
 *
 * Everything is opened first, clients cannot come before; then the server shuts itself in, says that it
 * serves, and stays until it gets SIGTERM, or until whoever holds the other end of life is gone and has
 * not let it live by itself.
 *
 * Ending takes a bounded time: a source that does not answer any more must not keep a fork attached.
 */
#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "server/inside.h"
#include "server/leave.h"

/* For what was written to be on its disk, and for reads under way. */
enum { END_SECONDS = 5, READS_SECONDS = 1, CONFIG_MOST = 16 << 20 };

static void stop(struct loop_fd *self, short revents)
{
	struct server *server = (struct server *)((char *)self - offsetof(struct server, signals));
	loop_stop(server->loop, 0);
}

/* Whoever started it is gone, or lets it live by itself: that is a byte. */
static void orphaned(struct loop_fd *self, short revents)
{
	struct server *server = (struct server *)((char *)self - offsetof(struct server, life));
	char byte;
	ssize_t n = read(self->fd, &byte, 1);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		loop_stop(server->loop, 0);
		return;
	}
	loop_remove(server->loop, self);
	close(self->fd);
}

/* What is kept of the files that were open. */
struct kept {
	const struct server_config *config;
	int answer;
};

static bool is_kept(const void *ctx, int fd)
{
	const struct kept *kept = ctx;
	const struct server_config *config = kept->config;
	bool ours = fd == kept->answer || fd == config->log || fd == config->stats ||
		    fd == config->life;
	for (size_t i = 0; i < config->locks.count; i++)
		ours = ours || fd == config->locks.items[i];
	for (size_t i = 0; i < config->devices.count; i++) {
		const struct server_device *device = &config->devices.items[i];
		ours = ours || fd == device->fd || fd == device->record || fd == device->replay;
		for (size_t root = 0; root < device->roots.count; root++)
			ours = ours || fd == device->roots.items[root];
	}
	return ours;
}

static int watch(struct server *server, struct ramet_error *err)
{
	sigset_t ends;
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGHUP);
	sigprocmask(SIG_SETMASK, &ends, NULL);
	server->signals = (struct loop_fd){
		.fd = signalfd(-1, &ends, SFD_CLOEXEC), .events = POLLIN, .ready = stop};
	server->life = (struct loop_fd){
		.fd = (int)server->config.life, .events = POLLIN, .ready = orphaned};
	if (server->signals.fd < 0)
		return error_errno(err, errno, "the server cannot wait for signals");
	int r = loop_add(server->loop, &server->signals);
	if (r == 0 && server->life.fd >= 0)
		r = loop_add(server->loop, &server->life);
	return r < 0 ? error_memory(err) : 0;
}

static int open_export(struct server *server, size_t first, size_t count, struct ramet_error *err)
{
	const char *address = server->served[first].given->address;
	server->user = (struct export_user){(uid_t)server->config.uid, (gid_t)server->config.gid};
	const struct export_options options = {.loop = server->loop,
		.devices = server->exported + first,
		.device_count = count,
		.address = address && *address ? address : NULL,
		.user = server->config.uid < 0 ? NULL : &server->user,
		.note = log_note,
		.note_ctx = &server->log};
	struct export *export = NULL;
	int r = server->ops->open(&options, &export, err);
	for (size_t i = 0; i < count && r == 0; i++) {
		server->served[first + i].export = export;
		server->served[first + i].index = i;
	}
	return r;
}

static int open_exports(struct server *server, struct ramet_error *err)
{
	size_t count = server->served_count;
	if (server->ops->many)
		return open_export(server, 0, count, err);
	int r = 0;
	for (size_t i = 0; i < count && r == 0; i++)
		r = open_export(server, i, 1, err);
	return r;
}

/* What was opened already is taken away again also when a later step fails. */
static void close_exports(struct server *server)
{
	for (size_t i = 0; i < server->served_count; i++)
		if (server->served[i].export && server->served[i].index == 0)
			server->ops->close(server->served[i].export);
}

static int open_all(struct server *server, struct ramet_error *err)
{
	server->ops = export_find(server->config.kind);
	if (!server->ops)
		return error_set(
			err, EOPNOTSUPP, "there is no export called %s", server->config.kind);
	int r = loop_new(&server->loop, err);
	if (r == 0)
		r = watch(server, err);
	if (r == 0)
		r = devices_open(server, err);
	if (r == 0)
		r = open_exports(server, err);
	return r;
}

static void answer(int fd, const struct server *server)
{
	_cleanup_text_ struct text text = {0};
	server_answer_write(getpid(), &text);
	for (size_t i = 0; i < server->served_count; i++) {
		const struct served *served = &server->served[i];
		server_answer_write_address(
			server->ops->describe(served->export, served->index), &text);
	}
	if (!text.failed)
		(void)write_full(fd, text.data, text.length);
	close(fd);
}

static int refuse(int fd, int code, const struct ramet_error *err)
{
	_cleanup_text_ struct text text = {0};
	server_answer_write_failure(-code, *err->message ? err->message : strerror(-code), &text);
	if (!text.failed)
		(void)write_full(fd, text.data, text.length);
	return EXIT_FAILURE;
}

/* Everything is let go of: locks, sockets, the mount. A thread that hangs in a source of FUSE or NFS
 * hangs in the kernel, and so its process stays, as something that has nothing any more. */
static void leave_all(int status) __attribute__((noreturn));
static void leave_all(int status)
{
	close_range(STDERR_FILENO + 1, ~0u, 0);
	_exit(status);
}

static struct server_log *last_log; /* NULL: nothing is being written any more */

/* Once it has rung there is nothing left to wait for. */
static void ring(int signal)
{
	if (last_log)
		log_last_words(last_log,
			"ends before what was written to the volume is all on its disk, which is slow: "
			"the kernel goes on with that");
	leave_all(EXIT_FAILURE);
}

static void end(struct server *server)
{
	for (size_t i = 0; i < server->served_count; i++)
		if (!server->served[i].device->read_only)
			last_log = &server->log;
	signal(SIGALRM, ring);
	alarm(END_SECONDS);
	for (size_t i = 0; i < server->served_count; i++) {
		struct served *served = &server->served[i];
		if (served->prefetch)
			prefetch_stop(served->prefetch);
		if (server->ops->stop && served->index == 0)
			server->ops->stop(served->export);
	}
	devices_end_writes(server);
	last_log = NULL;
	alarm(READS_SECONDS);
	devices_end_reads(server);
	close_exports(server);
	log_note(&server->log, SERVER_ENDED);
}

static int serve(struct server *server, int answer_fd)
{
	struct ramet_error err = {0};
	int r = open_all(server, &err);
	if (r == 0) {
		figures_start(server);
		log_note(&server->log, SERVER_SERVES);
		/* What opening needed is not needed any more. */
		malloc_trim(0);
		r = server_shut_in(server, &err);
	}
	if (r < 0) {
		close_exports(server);
		return refuse(answer_fd, r, &err);
	}
	answer(answer_fd, server);
	loop_run(server->loop);
	end(server);
	return EXIT_SUCCESS;
}

static int read_config(int fd, struct server_config *config)
{
	_cleanup_text_ struct text bytes = {0};
	char piece[4096];
	ssize_t n;
	while ((n = read_full(fd, piece, sizeof piece)) > 0 && bytes.length < CONFIG_MOST)
		text_append_bytes(&bytes, piece, (size_t)n);
	close(fd);
	if (n < 0 || bytes.failed)
		return n < 0 ? (int)n : -ENOMEM;
	return server_config_read(bytes.data ? bytes.data : "", bytes.length, config);
}

int main(int argc, char **argv)
{
	static struct server server = {.config = SERVER_CONFIG_NONE};
	uint64_t config, answer_fd;
	if (argc != 3 || text_parse_uint(argv[1], INT32_MAX, &answer_fd) < 0 ||
		text_parse_uint(argv[2], INT32_MAX, &config) < 0) {
		fprintf(stderr,
			"ramet-server: 'ramet attach' and 'ramet run' start this program.\n");
		return 2;
	}
	int r = leave_parent();
	mallopt(M_ARENA_MAX, 1);
	struct ramet_error err = {0};
	if (r == 0)
		r = read_config((int)config, &server.config);
	const struct kept kept = {&server.config, (int)answer_fd};
	if (r == 0)
		r = leave_files(is_kept, &kept);
	if (r == 0)
		r = leave_terminal();
	if (r < 0)
		return refuse((int)answer_fd, r, &err);
	log_open(&server.log, (int)server.config.log);
	/* Nothing is freed at the end: the process is what holds it. */
	leave_all(serve(&server, (int)answer_fd));
}
