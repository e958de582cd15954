/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of an attachment: its note, the server's figures and its log. */
#include <fcntl.h>
#include <string.h>

#include "api/attach.h"
#include "base/cleanup.h"
#include "base/fd.h"

enum { LOG_MOST = 1 << 20, LINES = 8, DEVICES_MOST = RAMET_CHAIN_MAX + 2 };

/* What the server says of its own life is no warning. */
static bool is_warning(const char *line, size_t length)
{
	static const char *const plain[] = {"Z " SERVER_SERVES, "Z " SERVER_ENDED};
	for (size_t i = 0; i < ARRAY_SIZE(plain); i++) {
		size_t n = strlen(plain[i]);
		if (length >= n && memcmp(line + length - n, plain[i], n) == 0)
			return false;
	}
	return length > 0;
}

/* The last lines of the log that are warnings. */
static int read_warnings(const char *log, struct text *warnings)
{
	_cleanup_free_ char *bytes = NULL;
	size_t length = 0, end, lines = 0;
	if (read_file(AT_FDCWD, log, LOG_MOST, &bytes, &length) < 0)
		return 0;
	size_t starts[LINES];
	for (end = length; end > 0 && lines < LINES;) {
		size_t start = end - 1;
		while (start > 0 && bytes[start - 1] != '\n')
			start--;
		if (is_warning(bytes + start, end - 1 - start))
			starts[lines++] = start;
		end = start;
	}
	while (lines > 0) {
		const char *line = bytes + starts[--lines];
		text_append_bytes(warnings, line, strcspn(line, "\n") + 1);
	}
	return warnings->failed ? -ENOMEM : 0;
}

static size_t read_figures(const char *folder, struct server_stats stats[static DEVICES_MOST])
{
	_cleanup_text_ struct text path = {0};
	_cleanup_free_ char *bytes = NULL;
	text_format(&path, "%s/figures", folder);
	if (path.failed || read_file(AT_FDCWD, path.data, SERVER_STATS_MAX, &bytes, NULL) < 0)
		return 0;
	return server_stats_read(bytes, stats, DEVICES_MOST);
}

static void add_figures(
	struct ramet_served_device *device, const struct server_stats *stats, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(stats[i].name, device->name) != 0)
			continue;
		device->size = stats[i].size;
		device->reads = stats[i].reads;
		device->bytes_asked = stats[i].asked;
		device->bytes_unique = stats[i].unique;
		device->bytes_hit = stats[i].hit;
		device->bytes_ahead = stats[i].ahead;
	}
}

/* What is told of a device, but for its figures. */
static struct ramet_served_device describe(const struct attachment_device *device)
{
	return (struct ramet_served_device){.name = device->name,
		.address = device->address ? device->address : "",
		.file = device->file ? device->file : "",
		.read_only = device->read_only,
		.lazy = device->lazy};
}

int attachment_tell(struct ramet_store *store, const char *name,
	const struct attachment *attachment, ramet_attachment_fn each, void *ctx,
	struct ramet_error *err)
{
	struct ramet_served_device devices[DEVICES_MOST];
	struct server_stats stats[DEVICES_MOST];
	_cleanup_text_ struct text folder = {0};
	_cleanup_text_ struct text log = {0};
	_cleanup_text_ struct text warnings = {0};
	bool serves = strcmp(attachment->kind, "path") != 0;
	text_format(&folder, "%s/forks/%s", store->root, name);
	text_append(&warnings, "");
	text_format(&log, serves ? "%s/forks/%s/log" : "", store->root, name);
	if (folder.failed || log.failed || (serves && read_warnings(log.data, &warnings) < 0))
		return error_memory(err);
	size_t known = serves ? read_figures(folder.data, stats) : 0;
	size_t count = MIN(attachment->devices.count, (size_t)DEVICES_MOST);
	for (size_t i = 0; i < count; i++) {
		devices[i] = describe(&attachment->devices.items[i]);
		add_figures(&devices[i], stats, known);
	}
	const struct ramet_attachment told = {.fork = name,
		.kind = attachment->kind,
		.pid = attachment->pid,
		.for_run = attachment->for_run,
		.devices = devices,
		.device_count = count,
		.log = log.data,
		.warnings = warnings.data};
	return each(ctx, &told);
}

/* Nothing serves it now: what the last server that there was said. */
static int tell_last(struct ramet_store *store, const struct store_fork *fork,
	ramet_attachment_fn each, void *ctx, struct ramet_error *err)
{
	struct server_stats stats[DEVICES_MOST];
	_cleanup_attachment_ struct attachment none = {.kind = strdup("")};
	if (!none.kind)
		return error_memory(err);
	size_t count = read_figures(fork->folder, stats);
	for (size_t i = 0; i < count; i++) {
		struct attachment_device *device = attachment_add(&none);
		if (!device || !(device->name = strdup(stats[i].name)))
			return error_memory(err);
		device->read_only = true;
		device->lazy = strcmp(device->name, "base") == 0 && fork->base_lazy;
	}
	return count ? attachment_tell(store, fork->name, &none, each, ctx, err) : 0;
}

int ramet_attachments(struct ramet_store *store, const char *name, ramet_attachment_fn each,
	void *ctx, struct ramet_error *err)
{
	_cleanup_fork_ struct store_fork fork = {0};
	_cleanup_attachment_ struct attachment attachment = {0};
	int r = store_fork_find(store, name, &fork, err);
	if (r < 0)
		return r;
	int state = attachment_find(store, name, &attachment, err);
	if (state < 0)
		return state;
	return state == ATTACHMENT_LIVES ? attachment_tell(store, name, &attachment, each, ctx, err)
					 : tell_last(store, &fork, each, ctx, err);
}
