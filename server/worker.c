/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ramet-worker ANSWER ROOT NAME OUTPUT BANDWIDTH SOURCE...: `ramet materialize --background`, in a process of
 * its own that nobody waits for. ANSWER is an fd (export/server.h has the form of what it gets), the rest
 * are the words of the command line; OUTPUT may be empty.
 *
 * What can be checked before is, in the folder that ramet was started in, since names may be relative to
 * that. Then it leaves its terminal, answers, and works at the lowest priority. Those who want to know how
 * far it is find that in the store (lib/api/materializing.h).
 */
#include <inttypes.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "api/materialize_job.h"
#include "base/cleanup.h"
#include "export/server.h"
#include "server/leave.h"

static bool is_answer(const void *ctx, int fd)
{
	return fd == *(const int *)ctx;
}

static void put_job(const struct materialize_job *job, struct text *text)
{
	char pid[16], bytes[32];
	snprintf(pid, sizeof pid, "%d",
		(int)(job->already       ? 0
			: job->under_way ? job->other.pid
					 : getpid()));
	snprintf(bytes, sizeof bytes, "%" PRIu64, job->base.image_bytes);
	const char *const words[MATERIALIZE_WORDS] = {
		[MATERIALIZE_STATE] = job->already     ? "already"
				      : job->under_way ? "under way"
						       : "begun",
		[MATERIALIZE_PID] = pid,
		[MATERIALIZE_LAZY] = job->lazy,
		[MATERIALIZE_IMAGE] = job->already ? job->image.plain : job->path.data,
		[MATERIALIZE_FORMAT] = job->base.format->name,
		[MATERIALIZE_BYTES] = bytes,
	};
	for (size_t i = 0; i < MATERIALIZE_WORDS; i++)
		server_answer_write_address(words[i], text);
}

static void send_answer(int *fd, const struct text *text)
{
	/* Who started us may have gone: then the work is done all the same. */
	if (!text->failed)
		(void)write_full(*fd, text->data, text->length);
	cleanup_close(fd);
	*fd = -1;
}

/* What the C library says when it ends us goes where it is looked for. */
static void take_log(const struct materialize_jobs *jobs)
{
	for (size_t i = 0; i < jobs->count; i++) {
		if (jobs->items[i].work.lock < 0)
			continue;
		_cleanup_close_ int log = materializing_log(&jobs->items[i].work);
		if (log >= 0)
			dup2(log, STDERR_FILENO);
		return;
	}
}

static int begun(void *ctx, const struct materialize_jobs *jobs, struct ramet_error *err)
{
	int r = leave_terminal();
	if (r < 0)
		return error_errno(err, -r, "cannot leave the terminal");
	take_log(jobs);
	setpriority(PRIO_PROCESS, 0, 19);
	_cleanup_text_ struct text text = {0};
	server_answer_write(getpid(), &text);
	for (size_t i = 0; i < jobs->count; i++)
		put_job(&jobs->items[i], &text);
	send_answer(ctx, &text);
	return 0;
}

static int work(char **words, int *answer, struct ramet_error *err)
{
	struct ramet_materialize_options options = {.name = words[1],
		.output = *words[2] ? words[2] : NULL,
		.sources = (const char *const *)words + 4,
		.background = true};
	int r = text_parse_uint(words[3], UINT64_MAX, &options.bandwidth);
	if (r < 0)
		return error_set(err, -r, "'%s' is no bandwidth", words[3]);
	struct ramet_store *store = NULL;
	r = ramet_store_open(words[0], &store, err);
	if (r == 0)
		r = materialize_all(store, &options, begun, answer, err);
	ramet_store_close(store);
	return r;
}

int main(int argc, char **argv)
{
	uint64_t number;
	if (argc < 6 || text_parse_uint(argv[1], INT32_MAX, &number) < 0) {
		fprintf(stderr, "ramet-worker: 'ramet materialize' starts this program.\n");
		return 2;
	}
	int answer = (int)number;
	struct ramet_error err = {0};
	int r = leave_parent();
	if (r == 0) {
		leave_files(is_answer, &answer);
		r = work(argv + 2, &answer, &err);
	}
	if (r < 0 && answer >= 0) {
		_cleanup_text_ struct text text = {0};
		server_answer_write_failure(-r, *err.message ? err.message : strerror(-r), &text);
		send_answer(&answer, &text);
	}
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
