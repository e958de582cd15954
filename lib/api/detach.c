/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <string.h>

#include "api/attach.h"
#include "base/cleanup.h"
#include "base/fd.h"

enum { LOG_MOST = 1 << 20, LINES = 8, DEVICES_MOST = RAMET_CHAIN_MAX + 2 };

int ramet_detach(struct ramet_store *store, const char *name, bool force, struct ramet_error *err)
{
	_cleanup_fork_ struct store_fork fork = {0};
	_cleanup_attachment_ struct attachment attachment = {0};
	int r = store_fork_find(store, name, &fork, err);
	if (r < 0)
		return r;
	int state = attachment_find(store, name, &attachment, err);
	if (state < 0 || state == ATTACHMENT_NONE)
		return state;
	if (state == ATTACHMENT_STARTS)
		return error_set(err, EBUSY, "fork %s is being attached just now", name);
	if (state == ATTACHMENT_LIVES && attachment.for_run && !force)
		return error_set(err, EBUSY,
			"fork %s is run, and its VM would get I/O errors; end the VM, or detach with "
			"--force",
			name);
	if (state == ATTACHMENT_LIVES)
		r = attachment_end(store, name, &attachment, err);
	return r < 0 ? r : attachment_sweep(store, name, err);
}

/* The last lines of the log, but for its own first and last words. */
static int read_warnings(const char *log, struct text *warnings)
{
	_cleanup_free_ char *bytes = NULL;
	size_t length = 0;
	if (read_file(AT_FDCWD, log, LOG_MOST, &bytes, &length) < 0)
		return 0;
	const char *at = bytes + length;
	for (int lines = 0; at > bytes && lines <= LINES; lines += at > bytes && at[-1] == '\n')
		at--;
	text_append(warnings, at);
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

int attachment_tell(struct ramet_store *store, const char *name,
	const struct attachment *attachment, ramet_attachment_fn each, void *ctx,
	struct ramet_error *err)
{
	struct ramet_served_device devices[DEVICES_MOST];
	struct server_stats stats[DEVICES_MOST];
	_cleanup_text_ struct text folder = {0};
	_cleanup_text_ struct text log = {0};
	_cleanup_text_ struct text warnings = {0};
	text_format(&folder, "%s/forks/%s", store->root, name);
	text_append(&warnings, "");
	if (attachment->pid)
		text_format(&log, "%s/forks/%s/log", store->root, name);
	if (folder.failed || log.failed || (log.length && read_warnings(log.data, &warnings) < 0))
		return error_memory(err);
	size_t known = attachment->pid ? read_figures(folder.data, stats) : 0;
	size_t count = MIN(attachment->devices.count, (size_t)DEVICES_MOST);
	for (size_t i = 0; i < count; i++) {
		const struct attachment_device *device = &attachment->devices.items[i];
		devices[i] = (struct ramet_served_device){.name = device->name,
			.address = device->address,
			.file = device->file,
			.read_only = device->read_only,
			.lazy = device->lazy};
		add_figures(&devices[i], stats, known);
	}
	const struct ramet_attachment told = {.fork = name,
		.kind = attachment->kind,
		.pid = attachment->pid,
		.for_run = attachment->for_run,
		.devices = devices,
		.device_count = count,
		.log = log.length ? log.data : "",
		.warnings = warnings.data};
	return each(ctx, &told);
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
	return state == ATTACHMENT_LIVES ? attachment_tell(store, name, &attachment, each, ctx, err)
					 : MIN(state, 0);
}
