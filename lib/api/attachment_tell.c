/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of an attachment: its note, the server's figures and its log. */
#include <fcntl.h>
#include <string.h>

#include "api/attach.h"
#include "api/figures.h"
#include "base/cleanup.h"
#include "base/fd.h"

enum { LOG_MOST = 1 << 20, LINES = 8 };

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

static void add_last(struct ramet_served_device *device, const struct server_stats *stats)
{
	device->size = stats->size;
	device->reads = stats->reads;
	device->bytes_asked = stats->asked;
	device->bytes_unique = stats->unique;
	device->bytes_hit = stats->hit;
	device->bytes_ahead = stats->ahead;
}

static void add_ever(struct ramet_served_device *device, const struct figures_sum *sum)
{
	const struct server_stats *stats = &sum->stats;
	device->size = stats->size;
	device->ever.attachments = sum->attachments;
	device->ever.reads = stats->reads;
	device->ever.bytes_asked = stats->asked;
	device->ever.bytes_unique = stats->unique;
	device->ever.bytes_hit = stats->hit;
	device->ever.bytes_ahead = stats->ahead;
}

static void add_figures(struct ramet_served_device *device, const struct figures *figures)
{
	for (size_t i = 0; i < figures->ever_count; i++)
		if (strcmp(figures->ever[i].stats.name, device->name) == 0)
			add_ever(device, &figures->ever[i]);
	for (size_t i = 0; i < figures->last_count; i++)
		if (strcmp(figures->last[i].name, device->name) == 0)
			add_last(device, &figures->last[i]);
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

static int tell(struct ramet_store *store, const char *name, const struct attachment *attachment,
	const struct figures *figures, ramet_attachment_fn each, void *ctx, struct ramet_error *err)
{
	struct ramet_served_device devices[FIGURES_MOST];
	_cleanup_text_ struct text log = {0};
	_cleanup_text_ struct text warnings = {0};
	bool serves = strcmp(attachment->kind, "path") != 0;
	text_append(&warnings, "");
	text_format(&log, serves ? "%s/forks/%s/log" : "", store->root, name);
	if (log.failed || (serves && read_warnings(log.data, &warnings) < 0))
		return error_memory(err);
	size_t count = MIN(attachment->devices.count, (size_t)FIGURES_MOST);
	for (size_t i = 0; i < count; i++) {
		devices[i] = describe(&attachment->devices.items[i]);
		if (serves)
			add_figures(&devices[i], figures);
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

/* The caller frees it; NULL without memory. */
static struct figures *get_figures(struct ramet_store *store, const char *name)
{
	_cleanup_text_ struct text folder = {0};
	struct figures *figures = malloc(sizeof *figures);
	text_format(&folder, "%s/forks/%s", store->root, name);
	if (!figures || folder.failed) {
		free(figures);
		return NULL;
	}
	figures_read(folder.data, figures);
	return figures;
}

int attachment_tell(struct ramet_store *store, const char *name,
	const struct attachment *attachment, ramet_attachment_fn each, void *ctx,
	struct ramet_error *err)
{
	_cleanup_free_ struct figures *figures = get_figures(store, name);
	return figures ? tell(store, name, attachment, figures, each, ctx, err) : error_memory(err);
}

/* Nothing serves it now: what the servers that there were said. */
static int tell_last(struct ramet_store *store, const struct store_fork *fork,
	ramet_attachment_fn each, void *ctx, struct ramet_error *err)
{
	_cleanup_attachment_ struct attachment none = {.kind = strdup("")};
	_cleanup_free_ struct figures *figures = get_figures(store, fork->name);
	if (!none.kind || !figures)
		return error_memory(err);
	for (size_t i = 0; i < figures->ever_count; i++) {
		struct attachment_device *device = attachment_add(&none);
		if (!device || !(device->name = strdup(figures->ever[i].stats.name)))
			return error_memory(err);
		device->read_only = true;
		device->lazy = strcmp(device->name, "base") == 0 && fork->base_lazy;
	}
	return none.devices.count ? tell(store, fork->name, &none, figures, each, ctx, err) : 0;
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
