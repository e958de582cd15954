/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker (server/worker.c) is given the very words that were given here, checks what there is to check,
 * and says that it began, or why it does not: so there is one way of making a plain file.
 */
#include <inttypes.h>
#include <string.h>

#include "api/helper.h"
#include "api/materialize_job.h"
#include "base/cleanup.h"
#include "export/server.h"

#define PROGRAM "ramet-worker"

/* ROOT NAME OUTPUT BANDWIDTH SOURCE...; ended by NULL. The caller frees the list. */
static const char **list_arguments(const struct ramet_store *store,
	const struct ramet_materialize_options *options, const char *bandwidth)
{
	size_t sources = 0;
	while (options->sources && options->sources[sources])
		sources++;
	const char **list = calloc(sources + 5, sizeof *list);
	if (!list)
		return NULL;
	list[0] = store->root;
	list[1] = options->name;
	list[2] = options->output ? options->output : "";
	list[3] = bandwidth;
	for (size_t i = 0; i < sources; i++)
		list[4 + i] = options->sources[i];
	return list;
}

static void tell(const struct ramet_materialize_options *options, char *const *words)
{
	const char *state = words[MATERIALIZE_STATE];
	const struct image_format *format = image_format_find(words[MATERIALIZE_FORMAT]);
	const struct ramet_materialized image = {
		.lazy = words[MATERIALIZE_LAZY],
		.image = words[MATERIALIZE_IMAGE],
		.format = format ? format->name : "",
		.already = strcmp(state, "already") == 0,
		.pid = (int)strtol(words[MATERIALIZE_PID], NULL, 10),
		.under_way = strcmp(state, "under way") == 0,
		.image_bytes = strtoull(words[MATERIALIZE_BYTES], NULL, 10),
		.digest = "",
	};
	if (options->done)
		options->done(options->done_ctx, &image);
}

int materialize_in_background(struct ramet_store *store,
	const struct ramet_materialize_options *options, struct ramet_error *err)
{
	char bandwidth[32];
	_cleanup_text_ struct text bytes = {0};
	_cleanup_server_answer_ struct server_answer answer = {0};
	if (!store)
		return error_set(err, EINVAL, "work in the background needs a store");
	if (options->output && !*options->output)
		return error_set(err, EINVAL, "the image's name is empty");
	snprintf(bandwidth, sizeof bandwidth, "%" PRIu64, options->bandwidth);
	const char **arguments = list_arguments(store, options, bandwidth);
	if (!arguments)
		return error_memory(err);
	int r = helper_start(PROGRAM, arguments, NULL, 0, &bytes, err);
	free(arguments);
	if (r == 0 && !bytes.length)
		r = error_set(err, EIO, PROGRAM " ended before it could begin");
	if (r == 0)
		r = server_answer_read(bytes.data, bytes.length, &answer, err);
	if (r < 0)
		return r;
	if (answer.addresses.count % MATERIALIZE_WORDS)
		return error_set(err, EPROTO, PROGRAM " is of another version of ramet");
	for (size_t i = 0; i < answer.addresses.count; i += MATERIALIZE_WORDS)
		tell(options, answer.addresses.items + i);
	return 0;
}
